//! A PostgreSQL and a RabbitMQ of a run's own, which may be killed without asking anybody.

mod postgres;
mod rabbitmq;

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use orderflow_tests::Servers;
use tempfile::TempDir;
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

pub use postgres::Postgres;
pub use rabbitmq::RabbitMq;

/// How long a server may take to start: far longer than it takes on a busy machine.
const START: Duration = Duration::from_secs(120);

/// Both, and the directory that they live in. Dropped, they are killed and the directory is gone.
pub struct Own {
    /// The database.
    pub postgres: Postgres,
    /// The broker.
    pub rabbitmq: RabbitMq,
    _directory: TempDir,
}

impl Own {
    /// Makes both and starts them.
    pub async fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("orderflow-faults-").tempdir().expect("a directory");
        // PostgreSQL runs as another user when we are root, who has to get through here.
        let through = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(directory.path(), through).expect("our own directory");
        let mut postgres = Postgres::create(&directory.path().join("postgres")).await;
        let mut rabbitmq = RabbitMq::create(&directory.path().join("rabbitmq"));
        tokio::join!(postgres.start(), rabbitmq.start());
        postgres.make_role().await;
        Self { postgres, rabbitmq, _directory: directory }
    }

    /// How tests and operators reach them.
    #[must_use]
    pub fn servers(&self) -> Servers {
        let password = |name: &str| (name.to_owned(), random_password());
        Servers {
            database_url: self.postgres.url(),
            amqp_admin_url: self.rabbitmq.url(),
            management_url: self.rabbitmq.management_url(),
            settings: ["AMQP_WEB_PASSWORD", "AMQP_WORKER_PASSWORD", "AMQP_VIEWER_PASSWORD"].map(password).to_vec(),
        }
    }
}

/// A port that nobody has at this moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

/// Something nobody guesses.
pub fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Signals a process and all that it has started: each server leads a group of its own.
fn signal_group(leader: &Child, signal: Signal) {
    if let Some(id) = leader.id() {
        // It may have ended by itself meanwhile.
        let _ = killpg(Pid::from_raw(i32::try_from(id).expect("a process id")), signal);
    }
}

/// Waits until a server answers.
async fn until_ready(what: &str, log: &Path, mut ready: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + START;
    while !ready().await {
        assert!(
            Instant::now() < deadline,
            "{what} was not ready within {START:?}: {}",
            std::fs::read_to_string(log).unwrap_or_default()
        );
        sleep(Duration::from_millis(200)).await;
    }
}
