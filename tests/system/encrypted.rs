//! The demo's orders with every connection encrypted and every server verified: PostgreSQL, RabbitMQ and its management
//! API, the mail server, and the front end. Running programs follow a replaced CA.

use std::{fs, net::SocketAddr};

use diesel_async::AsyncConnection as _;
use orderflow_service::store::Connection;
use orderflow_tests::{Authority, Child, Issued, Shop, SmtpSink, Web, own::Own, run, until};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;
use url::Url;

use crate::{
    admin::{Operators, operator_tokens},
    broker_tls::{file, showing},
    commands::{ended, with},
    connections::close_connections,
    demo_orders::{message_ids, place_demo_orders},
    parts::until_ready,
};

/// Returns the database's URL, with the server verified.
fn database(shop: &Shop, trusted: &str) -> Url {
    let mut url = shop.database_url();
    url.set_host(Some("localhost")).expect("a host");
    url.set_query(Some(&format!("hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={trusted}")));
    url
}

/// Makes PostgreSQL present this certificate and refuse the product's role without TLS.
async fn encrypt_database(shop: &Shop, own: &Own, issued: &Issued, trusted: &str) {
    own.postgres.encrypt(issued, Authority::new("nobody").certificate(), "hostnossl all orderflow all reject").await;
    let (verified, mut clear) = (database(shop, trusted), shop.database_url());
    clear.set_query(Some("sslmode=disable"));
    // PostgreSQL reloads its files a moment later.
    until("PostgreSQL presents the certificate", async || {
        Connection::establish(verified.as_str()).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    assert!(Connection::establish(clear.as_str()).await.is_err(), "PostgreSQL accepts a connection in clear");
}

/// Returns the settings that lead to these servers, for a process with this user of RabbitMQ.
fn addresses(shop: &Shop, own: &Own, sink: &SmtpSink, trusted: &str, user: &str) -> Vec<(&'static str, String)> {
    let [mut admin, management] = own.rabbitmq.first().encrypted_urls("localhost");
    admin.set_path(shop.name());
    let mut broker = admin.clone();
    broker.set_username(user).expect("it has a host");
    broker.set_password(Some(&shop.servers.password(user))).expect("it has a host");
    let mail_port = sink.url.rsplit_once(':').expect("a port").1;
    vec![
        ("DATABASE_URL", database(shop, trusted).to_string()),
        ("AMQP_URL", broker.to_string()),
        ("AMQP_ADMIN_URL", admin.to_string()),
        ("RABBITMQ_MANAGEMENT_URL", management.to_string()),
        ("MAIL", "smtp".to_owned()),
        ("SMTP_URL", format!("smtp://shop:hush@localhost:{mail_port}?tls=required")),
        ("TLS_CA", trusted.to_owned()),
        ("PUBLIC_URL", "https://localhost".to_owned()),
    ]
}

fn borrowed<'a>(settings: &'a [(&'static str, String)]) -> Vec<(&'static str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// Starts a part of the front end with TLS. Returns its address, which its log has in this field, and a client.
async fn serve(
    shop: &mut Shop,
    (part, field): (&str, &str),
    settings: &[(&str, &str)],
    authority: &Authority,
) -> (SocketAddr, Web) {
    let settings = with(shop.settings("orderflow-web"), settings);
    let mut child = Child::start("orderflow", &["serve", part], &settings);
    let address = child.logged_address(field).await;
    shop.webs().push(child);
    let web = Web::encrypted(address.port(), authority);
    until_ready(&web).await;
    (address, web)
}

/// Waits until the console reads everything about the queues, for which each request connects to the management API.
async fn until_queues_are_shown(operators: &Operators) {
    until("the console shows all figures of the queues", async || {
        let unavailable = operators.get("/admin/queues").await["unavailable"].clone();
        if unavailable == json!([]) { Ok(()) } else { Err(unavailable) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_orders_end_as_planned_with_every_connection_encrypted() {
    let (ours, directory) = (Authority::new("Ours"), TempDir::new().expect("a directory"));
    let (trusted, issued) = (file(&directory, ours.certificate()), ours.server(&["localhost"]));
    let own = showing(&issued).await;
    let mut shop = Shop::open_on(own.servers(), "200ms,1s").await;
    encrypt_database(&shop, &own, &issued, &trusted).await;
    let sink = SmtpSink::start(0).await;
    sink.offer_starttls_with(&issued);
    let [certificate, key] = issued.write(directory.path(), "shop").map(|path| path.display().to_string());
    let mut front_end = addresses(&shop, &own, &sink, &trusted, "orderflow-web");
    front_end.extend([("TLS_CERTIFICATE", certificate), ("TLS_KEY", key), ("OPERATOR_TOKENS", operator_tokens())]);
    let worker = addresses(&shop, &own, &sink, &trusted, "orderflow-worker");

    let (_, web) = serve(&mut shop, ("shop", "address"), &borrowed(&front_end), &ours).await;
    let (address, console) = serve(&mut shop, ("console", "at"), &borrowed(&front_end), &ours).await;
    shop.start_worker_with(&[], &borrowed(&worker)).await;
    let planned = place_demo_orders(&shop, &web).await;
    assert_eq!(message_ids(sink.mails()), planned);
    let heard = sink.heard();
    assert!(heard.iter().all(|(line, encrypted)| *encrypted || !line.starts_with("MAIL")), "{heard:?}");

    // The console uses all three: the database, the management API and, for dead letters, AMQP.
    let operators = Operators { address, web: console };
    assert_eq!(operators.get("/admin/orders").await["items"].as_array().map(Vec::len), Some(3));
    until_queues_are_shown(&operators).await;
    operators.get("/admin/dead-letters").await;
    // The management API lists connections a few seconds later.
    until("all connections are listed", async || {
        let connections = shop.manage(Method::GET, "vhosts/{vhost}/connections").await;
        let connections = connections.as_array().expect("a list");
        let are_encrypted = connections.iter().all(|one| one["ssl"] == true);
        // Three of the worker and two of the shop.
        if connections.len() >= 5 && are_encrypted { Ok(()) } else { Err(connections.clone()) }
    })
    .await;

    let operator = with(shop.operator_settings(), &borrowed(&front_end));
    ended(&run("orderflow", &["topology", "check"], &operator).await, 0, &[]);
    ended(&run("orderflow", &["dlq", "list"], &operator).await, 0, &[]);
    let doctor = run("orderflow", &["doctor"], &operator).await;
    let verified = "TLS; the server's certificate names its host and is issued by one of the CAs that this system or";
    let others = ["AMQP_ADMIN_URL", "RABBITMQ_MANAGEMENT_URL", "SMTP_URL"]
        .map(|setting| format!("{setting} to localhost: {verified} {trusted} trusts"));
    let of_database = "DATABASE_URL: TLS 1.3; the server's certificate names its host and is issued by one of";
    ended(
        &doctor,
        0,
        &[&format!("{of_database} {trusted}"), &others[0], &others[1], &others[2], "LISTEN and OPS_LISTEN: TLS"],
    );

    // Without `TLS_CA` the CA is not trusted.
    let stranger = with(operator, &[("TLS_CA", "")]);
    let says = ["the TLS handshake", "not issued by a CA that is trusted here", "TLS_CA"];
    ended(&run("orderflow", &["topology", "check"], &stranger).await, 3, &says);
    ended(&run("orderflow", &["dlq", "list"], &stranger).await, 3, &says);

    // Another CA replaces ours. No program is restarted, and every connection is a new one.
    let theirs = Authority::new("Theirs");
    let issued = theirs.server(&["localhost"]);
    fs::write(&trusted, theirs.certificate()).expect("a file of our own");
    own.rabbitmq.first().renew(&issued).await;
    sink.offer_starttls_with(&issued);
    encrypt_database(&shop, &own, &issued, &trusted).await;
    close_connections(&shop).await;
    let sessions = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'orderflow%'";
    assert!(shop.number(sessions).await > 0);
    until_ready(&web).await;
    let again = place_demo_orders(&shop, &web).await;
    assert_eq!(message_ids(sink.mails().split_off(planned.len())), again);
    until_queues_are_shown(&operators).await;
    shop.close().await;
}
