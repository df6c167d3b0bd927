//! A PostgreSQL and a RabbitMQ of a test's or a fault run's own, which may be killed without asking anybody.

mod broker;
mod installed;
mod mounts;
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
use tempfile::TempDir;
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

use crate::Servers;
use mounts::Bound;

pub use broker::Broker;
pub use installed::Installed;
pub use mounts::{Disk, can_mount, enter_own_mounts};
pub use postgres::Postgres;

/// How long a server may take to start. A killed node of a RabbitMQ 4.0.5 cluster was seen to take 45 s on a machine with
/// two cores and nothing else to do, and more than 120 s at a load of 25.
const START: Duration = Duration::from_secs(300);

/// What servers a run wants.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where RabbitMQ is. With [`Installed::Below`] the process needs mounts of its own: [`enter_own_mounts`].
    pub rabbitmq: Installed,
    /// The same of PostgreSQL.
    pub postgres: Installed,
    /// How many nodes of RabbitMQ.
    pub nodes: usize,
    /// Whether their disks are to be filled: then they are small ones of their own.
    pub small_disks: bool,
}

/// Both, and the directory that they live in. Dropped, they are killed and the directory is gone.
pub struct Own {
    /// The database.
    pub postgres: Postgres,
    /// The broker.
    pub rabbitmq: Broker,
    /// End after the servers.
    _bound: Vec<Bound>,
    disks: Option<[Disk; 2]>,
    _directory: TempDir,
}

impl Own {
    /// Makes both and starts them.
    pub async fn start(wanted: &Wanted) -> Self {
        let directory = tempfile::Builder::new().prefix("orderflow-faults-").tempdir().expect("a directory");
        // PostgreSQL runs as another user when we are root, who has to get through here.
        let through = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(directory.path(), through).expect("our own directory");
        let disks =
            wanted.small_disks.then(|| ["database", "broker"].map(|name| Disk::mount(&directory.path().join(name))));
        let on = |number: usize| disks.as_ref().map_or(directory.path(), |disks| disks[number].path());
        // After the disks, which have to be seen there too; once, where both servers are in the same place.
        let mut roots: Vec<_> = [&wanted.rabbitmq, &wanted.postgres].into_iter().filter_map(Installed::root).collect();
        roots.dedup();
        let bound = roots.into_iter().map(|root| Bound::below(root, directory.path())).collect();
        let mut postgres = Postgres::create(&on(0).join("postgres"), &wanted.postgres).await;
        let mut rabbitmq = Broker::create(&on(1).join("rabbitmq"), &wanted.rabbitmq, wanted.nodes);
        tokio::join!(postgres.start(), rabbitmq.start());
        postgres.make_role().await;
        Self { postgres, rabbitmq, _bound: bound, disks, _directory: directory }
    }

    /// What PostgreSQL writes to, of a run that fills it.
    pub fn database_disk(&self) -> &Disk {
        &self.disks.as_ref().expect("the run wanted small disks")[0]
    }

    /// What RabbitMQ writes to, of a run that fills it.
    pub fn broker_disk(&self) -> &Disk {
        &self.disks.as_ref().expect("the run wanted small disks")[1]
    }

    /// How tests and operators reach them.
    #[must_use]
    pub fn servers(&self) -> Servers {
        let password = |name: &str| (name.to_owned(), random_password());
        Servers {
            database_url: self.postgres.url(),
            amqp_admin_url: self.rabbitmq.first().url(),
            management_url: self.rabbitmq.first().management_url(),
            settings: ["AMQP_WEB_PASSWORD", "AMQP_WORKER_PASSWORD", "AMQP_VIEWER_PASSWORD", "AMQP_INSPECTOR_PASSWORD"]
                .map(password)
                .to_vec(),
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
