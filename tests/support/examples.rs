//! The services in examples/, added to a shop as an operator would.

use std::{fs, path::PathBuf};

use diesel_async::SimpleAsyncConnection as _;
use url::Url;

use crate::{Shop, log_in, own, process::run, project::root};

/// A service in examples/, with its name and registration.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The name.
    pub name: &'static str,
    takes: &'static str,
    publishes: &'static [&'static str],
}

/// Books points for shipped orders. Its program is `loyalty`.
pub const LOYALTY: Example =
    Example { name: "loyalty", takes: "shipment.created", publishes: &["loyalty.points-booked"] };

/// Judges orders. Its program is written in Python.
pub const FRAUD_CHECK: Example = Example { name: "fraud-check", takes: "order.created", publishes: &[] };

/// The password of every user and role created here: their servers do not outlive the tests.
const PASSWORD: &str = "for this test alone";

impl Example {
    /// Registers the service with the shop, and creates its queues and its RabbitMQ user.
    ///
    /// # Panics
    /// Panics if a command fails.
    pub async fn register(self, shop: &Shop) {
        let mut arguments = vec!["service", "register", self.name, "--event", self.takes, "--tracks", "inbox"];
        arguments.extend(self.publishes.iter().flat_map(|event| ["--publishes", event]));
        let mut settings = shop.operator_settings();
        // A user belongs to the whole broker, so every test gives it the same password.
        let variable = format!("AMQP_{}_PASSWORD", self.name.replace('-', "_").to_uppercase());
        settings.push((variable, PASSWORD.to_owned()));
        for arguments in [arguments.as_slice(), &["topology", "apply"]] {
            let ended = run("orderflow", arguments, &settings).await;
            assert_eq!(ended.code, Some(0), "orderflow {arguments:?}: {} {}", ended.out, ended.err);
        }
    }

    /// Returns the URL with which its RabbitMQ user logs in.
    #[must_use]
    pub fn broker_url(self, shop: &Shop) -> Url {
        log_in(shop.broker_url("orderflow-worker"), &format!("orderflow-{}", self.name), PASSWORD)
    }
}

/// Creates the tables of `fraud-check`, and a role that may only use them and call `messaging.claim`. Returns the URL
/// with which the role logs in. A role belongs to the whole server, so the server must be the caller's own.
///
/// # Panics
/// Panics if the database refuses it.
pub async fn make_fraud_check_role(shop: &Shop, postgres: &own::Postgres) -> Url {
    let role = FRAUD_CHECK.name;
    let schema = fs::read_to_string(root().join("examples/fraud-check/schema.sql")).expect("it is there");
    postgres.as_superuser(&format!("CREATE ROLE \"{role}\" LOGIN PASSWORD '{PASSWORD}'")).await;
    shop.database().await.batch_execute(&schema).await.expect("it can be created");
    for grant in [
        "USAGE ON SCHEMA messaging, fraud_check",
        "EXECUTE ON FUNCTION messaging.claim",
        "SELECT, INSERT ON fraud_check.verdicts",
    ] {
        shop.execute(&format!("GRANT {grant} TO \"{role}\"")).await;
    }
    log_in(shop.database_url(), role, PASSWORD)
}

/// Returns how to start `fraud-check`: the Python with its packages, and the path of its program.
///
/// # Panics
/// Panics if the packages are not installed.
#[must_use]
pub fn fraud_check() -> (PathBuf, String) {
    let python = root().join(".dev/tools/fraud-check/bin/python");
    assert!(
        python.exists(),
        "the packages of examples/fraud-check are not installed: run `make test`, which installs them"
    );
    (python, root().join("examples/fraud-check/fraud_check.py").display().to_string())
}
