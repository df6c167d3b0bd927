//! A PostgreSQL and a RabbitMQ of a test's or a fault run's own, which may be killed without asking anybody.

mod broker;
mod installed;
mod mounts;
mod postgres;
mod rabbitmq;
mod server;

use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use crate::Servers;
use mounts::Bound;

pub use broker::Broker;
pub use installed::Installed;
pub use mounts::{Disk, can_mount, enter_own_mounts};
pub use postgres::Postgres;
pub use server::{free_port, random_password};

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
