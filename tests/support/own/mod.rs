//! A test's or fault run's own PostgreSQL and RabbitMQ, which it may kill without affecting others.

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
pub use server::{free_address, free_port, random_password};

/// The servers that a run needs.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Where RabbitMQ is installed. With [`Installed::Below`] the process needs mounts of its own:
    /// [`enter_own_mounts`].
    pub rabbitmq: Installed,
    /// Where PostgreSQL is installed.
    pub postgres: Installed,
    /// The number of RabbitMQ nodes.
    pub nodes: usize,
    /// Whether the run fills the servers' disks: each server then gets a small disk of its own.
    pub small_disks: bool,
}

/// Both servers and their directory. Dropping this kills the servers and removes the directory.
pub struct Own {
    /// The database.
    pub postgres: Postgres,
    /// The broker.
    pub rabbitmq: Broker,
    /// Declared after the servers so that it is dropped after them.
    _bound: Vec<Bound>,
    disks: Option<[Disk; 2]>,
    _directory: TempDir,
}

impl Own {
    /// Creates both servers and starts them.
    pub async fn start(wanted: &Wanted) -> Self {
        let directory = tempfile::Builder::new().prefix("orderflow-faults-").tempdir().expect("a directory");
        // When we are root, PostgreSQL runs as another user, who must be able to traverse this directory.
        let through = std::fs::Permissions::from_mode(0o711);
        std::fs::set_permissions(directory.path(), through).expect("our own directory");
        let disks =
            wanted.small_disks.then(|| ["database", "broker"].map(|name| Disk::mount(&directory.path().join(name))));
        let on = |number: usize| disks.as_ref().map_or(directory.path(), |disks| disks[number].path());
        // After the disks, which must be visible there too. Only once if both servers are in the same root.
        let mut roots: Vec<_> = [&wanted.rabbitmq, &wanted.postgres].into_iter().filter_map(Installed::root).collect();
        roots.dedup();
        let bound = roots.into_iter().map(|root| Bound::below(root, directory.path())).collect();
        let mut postgres = Postgres::create(&on(0).join("postgres"), &wanted.postgres).await;
        let mut rabbitmq = Broker::create(&on(1).join("rabbitmq"), &wanted.rabbitmq, wanted.nodes);
        tokio::join!(postgres.start(), rabbitmq.start());
        postgres.make_role().await;
        Self { postgres, rabbitmq, _bound: bound, disks, _directory: directory }
    }

    /// PostgreSQL's disk, in a run that fills it.
    pub fn database_disk(&self) -> &Disk {
        &self.disks.as_ref().expect("the run wanted small disks")[0]
    }

    /// RabbitMQ's disk, in a run that fills it.
    pub fn broker_disk(&self) -> &Disk {
        &self.disks.as_ref().expect("the run wanted small disks")[1]
    }

    /// Returns the URLs and passwords by which tests and operators reach the servers.
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
