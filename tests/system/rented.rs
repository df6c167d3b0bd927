//! The programs accept the addresses of hosted servers in docs/INSTALLING.md, and its containers use them.

use std::{fs, process::Command};

use orderflow_service::config::{AdminConfig, DatabaseConfig, Source};
use orderflow_tests::{Authority, project::read};
use orderflow_worker::roster;
use url::Url;
use yaml_serde::Value;

use super::{
    backup::blocks,
    deployment::{environment, programs},
};

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

/// Writes the override of docs/INSTALLING.md, and compares it with docker-compose.yml.
#[test]
fn override_for_compose_replaces_every_address_of_its_own_servers() {
    let folder = tempfile::tempdir().expect("a directory");
    let services = format!("services='{}'\n", roster().names().join(" "));
    let commands = services + &blocks("Rented services").concat().replace("docker compose up --detach --build", "");
    let bash = Command::new("bash").args(["-euc", &commands]).current_dir(folder.path()).output();
    let bash = bash.expect("bash can be run");
    assert!(bash.status.success(), "{bash:?}");
    let file = fs::read_to_string(folder.path().join("docker-compose.override.yml")).expect("it is written");
    // These tags are Docker Compose's own.
    let file = file.replace("!override ", "").replace("!reset ", "");
    let mut file: Value = yaml_serde::from_str(&file).expect("it is YAML");
    file.apply_merge().expect("inherited values are mappings");
    // The scheme, the user and the variable of the password.
    let user = |url: &str| url.replace("amqp://", "amqps://").split_once("_PASSWORD").map(|(user, _)| user.to_owned());
    for (name, program) in programs() {
        for (setting, url) in environment(&program) {
            if ["@postgres:", "@rabbitmq:", "//rabbitmq:"].iter().any(|host| url.contains(host)) {
                let rented = file["services"][name.as_str()]["environment"][setting.as_str()].as_str();
                assert_eq!(rented.map(user), Some(user(&url)), "{name}: {setting}");
            }
        }
    }
}
