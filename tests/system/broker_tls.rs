//! RabbitMQ and its management API over TLS, with the test's own certificates.

use std::fs;

use orderflow_tests::{
    Authority, Issued,
    own::{Own, Wanted},
    run,
};
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
