//! The programs accept the addresses of hosted servers in docs/INSTALLING.md.

use std::fs;

use orderflow_service::config::{AdminConfig, DatabaseConfig, Source};
use orderflow_tests::Authority;
use url::Url;

use super::deployment::read;

/// Returns the rows of the table that begins with this column, each as its cells.
fn rows(first: &str) -> Vec<Vec<String>> {
    let page = read("docs/INSTALLING.md");
    let table = page.split(&format!("\n| {first} | ")).nth(1).unwrap_or_else(|| panic!("no table of {first}"));
    let lines = table.lines().skip(2).take_while(|line| line.starts_with("| "));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    lines.map(cells).collect()
}

/// Returns the text between two backticks.
fn code(cell: &str) -> &str {
    cell.split('`').nth(1).unwrap_or_else(|| panic!("no code in {cell:?}"))
}

fn source(settings: &[(&str, &str)]) -> Source {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn addresses_of_hosted_databases_are_accepted_and_encrypted() {
    let rows = rows("PostgreSQL");
    assert!(rows.len() >= 8, "{rows:?}");
    // The page says to put the provider's CA next to the settings.
    let etc = tempfile::tempdir().expect("a directory");
    for row in rows {
        let url = code(&row[1]);
        if let Some((_, file)) = url.split_once("sslrootcert=/etc/orderflow/") {
            let ca = Authority::new("Provider");
            fs::write(etc.path().join(file), ca.certificate()).expect("it can be written");
        }
        let url = url.replace("/etc/orderflow", &etc.path().display().to_string());
        let source = source(&[("DATABASE_URL", &url)]);
        let read = DatabaseConfig::read(&source);
        assert!(source.finish(read).is_ok(), "{}: {:?}", row[0], source.finish(Some(())));
        assert_eq!(source.in_clear(), [], "{}", row[0]);
    }
}

#[test]
fn addresses_of_hosted_brokers_and_their_management_apis_are_accepted() {
    let rows = rows("RabbitMQ | `AMQP_ADMIN_URL`");
    assert!(rows.len() >= 2, "{rows:?}");
    for row in rows {
        let (url, management) = (code(&row[1]), row[2].split('`').nth(1).unwrap_or_default());
        let source = source(&[("AMQP_ADMIN_URL", url), ("RABBITMQ_MANAGEMENT_URL", management)]);
        let read = AdminConfig::read(&source);
        let admin = source.finish(read).unwrap_or_else(|error| panic!("{}: {error:?}", row[0]));
        let host = Url::parse(url).expect("a URL").host_str().expect("a host").to_owned();
        assert_eq!((admin.management_url.scheme(), admin.management_url.host_str()), ("https", Some(host.as_str())));
        let port = admin.management_url.port_or_known_default();
        assert_eq!(port, Some(if management.is_empty() { 15671 } else { 443 }), "{}", row[0]);
        assert_eq!(source.in_clear(), [], "{}", row[0]);
    }
}
