//! Doctor's findings on certificates that expire soon and on servers that are not verified.

use orderflow_tests::{Authority, run};
use tempfile::TempDir;

use crate::{
    broker_tls::{file, showing},
    commands::{NOWHERE, ended, settings, with},
};

/// The front end's own certificate and those of the servers.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_certificates_that_expire_within_three_weeks() {
    let (ours, directory) = (Authority::new("Ours"), TempDir::new().expect("a directory"));
    let trusted = file(&directory, ours.certificate());
    let own = showing(&ours.ending(&["localhost"], 10)).await;
    let shop = ours.ending(&["shop.example"], 25);
    let [certificate, key] = [("shop.pem", &shop.certificate), ("shop.key", &shop.key)].map(|(name, text)| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    });
    let [amqp, management] = own.rabbitmq.first().encrypted_urls("localhost");
    let given = settings(&[
        ("DATABASE_URL", own.postgres.url().as_str()),
        ("AMQP_ADMIN_URL", amqp.as_str()),
        ("RABBITMQ_MANAGEMENT_URL", management.as_str()),
        ("TLS_CA", &trusted),
        ("TLS_CERTIFICATE", &certificate),
        ("TLS_KEY", &key),
    ]);
    let last_day = |days| (chrono::Utc::now() + chrono::TimeDelta::days(days)).format("%Y-%m-%d").to_string();
    let port = |url: &url::Url| url.port().expect("a port");
    let found = run("orderflow", &["doctor"], &given).await;
    ended(
        &found,
        1,
        &[
            &format!("localhost:{} (AMQP_ADMIN_URL) ends on {}", port(&amqp), last_day(10)),
            &format!("localhost:{} (RABBITMQ_MANAGEMENT_URL) ends on {}", port(&management), last_day(10)),
            "renew it there",
            &format!("TLS_CERTIFICATE is valid until {}", last_day(25)),
        ],
    );
}

/// 192.0.2.1 is reserved for documentation (RFC 5737), so nothing answers there.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_reports_an_encrypted_but_unverified_database() {
    let says = "the identity of 192.0.2.1 is not verified, since sslmode=require only encrypts";
    let doctor = async |parameters: &str, more: &[(&str, &str)]| {
        let url = format!("postgres://orderflow:hush@192.0.2.1/orderflow?connect_timeout=1&{parameters}");
        let broker = format!("amqp://orderflow-ops:hush@{NOWHERE}/orderflow");
        let given = with(settings(&[("DATABASE_URL", &url), ("AMQP_ADMIN_URL", &broker)]), more);
        let ended = run("orderflow", &["doctor"], &given).await;
        ended.out.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let found = doctor("sslmode=require", &[]).await;
    assert!(found.contains(says) && found.contains("sslmode=verify-full"), "{found}");
    assert!(!doctor("sslmode=verify-full", &[]).await.contains(says));
    // The server proves that it knows the password's verifier.
    assert!(!doctor("sslmode=require&channel_binding=require", &[]).await.contains(says));
    // `PLAINTEXT_HOSTS` names the host, so the network is trusted.
    assert!(!doctor("sslmode=require", &[("PLAINTEXT_HOSTS", "192.0.2.1")]).await.contains(says));
}
