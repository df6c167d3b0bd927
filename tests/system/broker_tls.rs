//! RabbitMQ and its management API over TLS, with the test's own certificates.

use std::fs;

use orderflow_tests::{
    Authority, Issued, Shop, VISA, log_in,
    own::{Own, Wanted},
    run, until,
};
use reqwest::Method;
use tempfile::TempDir;

use crate::commands::{ended, with};

/// Starts a RabbitMQ with TLS ports that present this certificate, in addition to its plaintext ports.
pub async fn showing(certificate: &Issued) -> Own {
    let mut own = Own::start(&Wanted { nodes: 1, ..Wanted::default() }).await;
    let node = own.rabbitmq.node(0);
    node.stop().await;
    node.encrypt(certificate);
    node.start().await;
    own
}

pub fn file(directory: &TempDir, content: &str) -> String {
    let path = directory.path().join("ca.pem");
    fs::write(&path, content).expect("a directory of our own");
    path.display().to_string()
}

/// An order ships while front end, worker and commands all connect to RabbitMQ over TLS.
#[tokio::test(flavor = "multi_thread")]
async fn orders_ship_and_commands_work_over_tls_with_an_own_ca() {
    let (ours, directory) = (Authority::new("Ours"), TempDir::new().expect("a directory"));
    let own = showing(&ours.server(&["localhost"])).await;
    let trusted = file(&directory, ours.certificate());
    let mut shop = Shop::open_on(own.servers(), "200ms,1s").await;
    let [amqp, management] = own.rabbitmq.first().encrypted_urls("localhost");
    let of = |user: &str| {
        let mut url = log_in(amqp.clone(), user, &shop.servers.password(user));
        url.set_path(shop.name());
        url.to_string()
    };
    let (web_url, worker_url) = (of("orderflow-web"), of("orderflow-worker"));
    let mut admin = amqp.clone();
    admin.set_path(shop.name());
    let operator = |ca: &str| {
        let encrypted =
            [("AMQP_ADMIN_URL", admin.as_str()), ("RABBITMQ_MANAGEMENT_URL", management.as_str()), ("TLS_CA", ca)];
        with(shop.operator_settings(), &encrypted)
    };
    let (operator, stranger) = (operator(&trusted), operator(""));

    let web = shop.start_web_with(&[("AMQP_URL", &web_url), ("TLS_CA", &trusted)]).await;
    shop.start_worker_with(&[], &[("AMQP_URL", &worker_url), ("TLS_CA", &trusted)]).await;
    web.order("MUG-BLUE", 1, VISA).await;
    shop.until_orders("shipped", 1).await;
    // The management API lists connections a few seconds later.
    until("all connections are listed", async || {
        let connections = shop.manage(Method::GET, "vhosts/{vhost}/connections").await;
        let connections = connections.as_array().expect("a list");
        let are_encrypted = connections.iter().all(|one| one["ssl"] == true);
        if connections.len() >= 2 && are_encrypted { Ok(()) } else { Err(connections.clone()) }
    })
    .await;

    ended(&run("orderflow", &["topology", "check"], &operator).await, 0, &[]);
    ended(&run("orderflow", &["dlq", "list"], &operator).await, 0, &[]);
    let doctor = run("orderflow", &["doctor"], &operator).await;
    let names = "the server's certificate names its host and is issued by one of the CAs that this system or";
    ended(
        &doctor,
        0,
        &[&format!("AMQP_ADMIN_URL to localhost: TLS; {names}"), "RABBITMQ_MANAGEMENT_URL to localhost: TLS"],
    );

    // Without `TLS_CA` the CA is not trusted.
    let says = ["the TLS handshake", "not issued by a CA that is trusted here", "TLS_CA"];
    ended(&run("orderflow", &["topology", "check"], &stranger).await, 3, &says);
    ended(&run("orderflow", &["dlq", "list"], &stranger).await, 3, &says);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_certificate_of_rabbitmq_is_refused_and_named() {
    let (ours, directory) = (Authority::new("Ours"), TempDir::new().expect("a directory"));
    let trusted = file(&directory, ours.certificate());
    let own = showing(&ours.server(&["other.example"])).await;
    for (certificate, why) in [
        (None, "for another host: it names"),
        (Some(ours.expired(&["localhost"])), "has expired"),
        (Some(Authority::new("Ours").server(&["localhost"])), "not issued by a CA"),
    ] {
        if let Some(certificate) = certificate {
            own.rabbitmq.first().renew(&certificate).await;
        }
        let [amqp, management] = own.rabbitmq.first().encrypted_urls("localhost");
        let settings = with(
            Vec::new(),
            &[
                ("DATABASE_URL", own.postgres.url().as_str()),
                ("AMQP_ADMIN_URL", amqp.as_str()),
                ("RABBITMQ_MANAGEMENT_URL", management.as_str()),
                ("TLS_CA", &trusted),
            ],
        );
        ended(&run("orderflow", &["topology", "check"], &settings).await, 3, &["the TLS handshake failed", why]);
        ended(&run("orderflow", &["dlq", "list"], &settings).await, 3, &["TLS", why]);
    }
}

/// Every program reads the file when it starts.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_ca_is_named_at_start() {
    let directory = TempDir::new().expect("a directory");
    let empty = file(&directory, "");
    for (path, why) in [("/no/such/ca.pem", "cannot be read"), (empty.as_str(), "has no certificate")] {
        let refused =
            run("orderflow", &["config"], &with(Vec::new(), &[("TLS_CA", path), ("AMQP_URL", "amqps://u:p@h/v")]))
                .await;
        ended(&refused, 2, &["TLS_CA", "expected a file of certificates", why]);
    }
}
