//! The services in examples/, added to a shop as an operator adds them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use diesel_async::SimpleAsyncConnection as _;
use url::Url;

use crate::{Shop, own, process::run};

/// A service in examples/: what it is called, and how it is registered.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// Its name.
    pub name: &'static str,
    takes: &'static str,
    publishes: &'static [&'static str],
}

/// Books points for orders that have shipped. Its program is `loyalty`.
pub const LOYALTY: Example =
    Example { name: "loyalty", takes: "shipment.created", publishes: &["loyalty.points-booked"] };

/// Judges orders. Its program is Python.
pub const FRAUD_CHECK: Example = Example { name: "fraud-check", takes: "order.created", publishes: &[] };

/// The password of every user and role made here: their servers are thrown away.
const PASSWORD: &str = "for this test alone";

impl Example {
    /// Registers it at the shop, and makes its queues and its user of RabbitMQ.
    ///
    /// # Panics
    /// When that fails.
    pub async fn register(self, shop: &Shop) {
        let mut arguments = vec!["service", "register", self.name, "--event", self.takes, "--tracks", "inbox"];
        arguments.extend(self.publishes.iter().flat_map(|event| ["--publishes", event]));
        let mut settings = shop.operator_settings();
        // Users are the whole broker's, so that every test gives it the same password.
        let variable = format!("AMQP_{}_PASSWORD", self.name.replace('-', "_").to_uppercase());
        settings.push((variable, PASSWORD.to_owned()));
        for arguments in [arguments.as_slice(), &["topology", "apply"]] {
            let ended = run("orderflow", arguments, &settings).await;
            assert_eq!(ended.code, Some(0), "orderflow {arguments:?}: {} {}", ended.out, ended.err);
        }
    }

    /// Returns how its user of RabbitMQ logs in.
    #[must_use]
    pub fn broker_url(self, shop: &Shop) -> Url {
        log_in(shop.broker_url("orderflow-worker"), &format!("orderflow-{}", self.name))
    }
}

/// Makes the tables of `fraud-check` and a role that may use them, call `messaging.claim`, and nothing else. Returns how it logs
/// in. A role belongs to the whole server, so the server has to be the caller's own.
///
/// # Panics
/// When the database refuses it.
pub async fn make_fraud_check_role(shop: &Shop, postgres: &own::Postgres) -> Url {
    let role = FRAUD_CHECK.name;
    let schema = fs::read_to_string(root().join("examples/fraud-check/schema.sql")).expect("it is there");
    postgres.as_superuser(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD '{PASSWORD}'")).await;
    shop.database().await.batch_execute(&schema).await.expect("it can be made");
    for grant in [
        "USAGE ON SCHEMA messaging, fraud_check",
        "EXECUTE ON FUNCTION messaging.claim",
        "SELECT, INSERT ON fraud_check.verdicts",
    ] {
        shop.execute(&format!("GRANT {grant} TO \"{role}\"")).await;
    }
    log_in(shop.database_url(), role)
}

/// How `fraud-check` is started: Python with what the service needs, and its program.
///
/// # Panics
/// When what it needs is not installed.
#[must_use]
pub fn fraud_check() -> (PathBuf, String) {
    let python = root().join(".dev/tools/fraud-check/bin/python");
    assert!(python.exists(), "what examples/fraud-check needs is not installed: `make test` does it");
    (python, root().join("examples/fraud-check/fraud_check.py").display().to_string())
}

fn log_in(mut url: Url, user: &str) -> Url {
    url.set_username(user).and_then(|()| url.set_password(Some(PASSWORD))).expect("it has a host");
    url
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the project")
}
