//! A RabbitMQ of one node or a cluster.

use std::{
    fs::{self},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Stdio,
};

use futures::future::join_all;
use nix::sys::signal::Signal;
use tokio::process::Child;

use super::{
    installed::Installed,
    rabbitmq::{Common, RabbitMq},
    server::{free_port, random_password, signal_group},
};

/// The nodes, and the port mapper by which they find each other.
pub struct Broker {
    common: Common,
    nodes: Vec<RabbitMq>,
    epmd: Option<Child>,
}

impl Broker {
    /// Prepares this many blank nodes in this directory, which must not exist yet.
    pub fn create(directory: &Path, installed: &Installed, nodes: usize) -> Self {
        let home = directory.join("home");
        fs::create_dir_all(&home).expect("a directory of our own");
        let cookie = home.join(".erlang.cookie");
        fs::write(&cookie, random_password()).expect("a file of our own");
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400)).expect("our own file");
        let common = Common { installed: installed.clone(), home, epmd_port: free_port(), password: random_password() };
        let nodes: Vec<_> =
            (1..=nodes.max(1)).map(|number| RabbitMq::create(&directory.join(number.to_string()), &common)).collect();
        let names: Vec<_> = nodes.iter().map(RabbitMq::name).collect();
        for node in &nodes {
            node.configure(&names);
        }
        Self { common, nodes, epmd: None }
    }

    /// Starts all nodes concurrently, since those of a cluster wait for each other, and waits until they answer.
    pub async fn start(&mut self) {
        if self.epmd.is_none() {
            self.epmd = Some(self.start_epmd());
        }
        join_all(self.nodes.iter_mut().map(RabbitMq::start)).await;
    }

    fn start_epmd(&self) -> Child {
        // In the foreground, so that it ends with us; the one that Erlang starts automatically runs for ever.
        let port = self.common.epmd_port.to_string();
        let mut epmd = self.common.command("epmd");
        epmd.args(["-address", "127.0.0.1", "-port", &port]).stdout(Stdio::null()).stderr(Stdio::null());
        epmd.spawn().expect("epmd can be started")
    }

    /// Returns the node that operators and checks use.
    pub fn first(&self) -> &RabbitMq {
        &self.nodes[0]
    }

    /// Returns one of the nodes; `which` may exceed their number and wraps around.
    pub fn node(&mut self, which: usize) -> &mut RabbitMq {
        let nodes = self.nodes.len();
        &mut self.nodes[which % nodes]
    }

    /// Returns all nodes.
    pub fn nodes(&mut self) -> &mut [RabbitMq] {
        &mut self.nodes
    }

    /// Returns the URL of each node, as administrator.
    pub fn urls(&self) -> Vec<url::Url> {
        self.nodes.iter().map(RabbitMq::url).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(epmd) = &self.epmd {
            signal_group(epmd, Signal::SIGKILL);
        }
    }
}
