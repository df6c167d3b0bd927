//! A run's own RabbitMQ.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::process::{Child, Command};
use url::Url;

use super::{
    super::{certificates::Issued, client::plaintext},
    installed::Installed,
    server::{free_port, signal_group, until_ready},
};

/// Avoids the wrappers in /usr/sbin, which switch to another user and that user's files.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// The administrator that a blank node creates.
const ADMIN: &str = "orderflow-admin";

/// Every node's base configuration; the same file as in production.
const CONFIGURATION: &str = include_str!("../../../rabbitmq/rabbitmq.conf");

/// Binds Erlang's ports to loopback.
const LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1}";

/// How long an orderly stop may take before the node is killed.
const STOP: Duration = Duration::from_secs(60);

/// How long an operator's command may take. When its memory limit is lowered, RabbitMQ 4 first collects garbage, which
/// took a minute on a busy machine.
const CONTROL: Duration = Duration::from_secs(240);

/// The settings that the nodes of one cluster share.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) installed: Installed,
    /// Contains the cookie by which nodes and tools authenticate each other.
    pub(super) home: PathBuf,
    pub(super) epmd_port: u16,
    pub(super) password: String,
}

/// A node, running or not.
pub struct RabbitMq {
    common: Common,
    directory: PathBuf,
    amqp_port: u16,
    management_port: u16,
    distribution_port: u16,
    /// The TLS ports of AMQP and of the management API, if TLS is on.
    encrypted_ports: Option<[u16; 2]>,
    process: Option<Child>,
}

impl RabbitMq {
    /// Prepares a blank node in this directory, which must not exist yet.
    pub(super) fn create(directory: &Path, common: &Common) -> Self {
        let node = Self {
            common: common.clone(),
            directory: directory.to_owned(),
            amqp_port: free_port(),
            management_port: free_port(),
            distribution_port: free_port(),
            encrypted_ports: None,
            process: None,
        };
        for part in ["data", "log"] {
            fs::create_dir_all(directory.join(part)).expect("a directory of our own");
        }
        for (name, content) in [
            ("enabled_plugins", "[rabbitmq_management].\n"),
            // Empty files of our own: otherwise the server would read those of the machine.
            ("rabbitmq-env.conf", ""),
            ("advanced.config", "[].\n"),
        ] {
            fs::write(directory.join(name), content).expect("a file of our own");
        }
        node
    }

    /// Returns the node's name in the cluster.
    pub(super) fn name(&self) -> String {
        format!("faults-{}@localhost", self.amqp_port)
    }

    /// Writes the node's configuration, which names all nodes of the cluster.
    pub(super) fn configure(&self, nodes: &[String]) {
        let mut text = format!(
            "{CONFIGURATION}
listeners.tcp.default = 127.0.0.1:{}
management.tcp.ip = 127.0.0.1
management.tcp.port = {}
default_vhost = orderflow
default_user = {ADMIN}
default_pass = {}
default_user_tags.administrator = true
raft.wal_max_size_bytes = 64000000
disk_free_limit.absolute = 500MB
",
            self.amqp_port, self.management_port, self.common.password
        );
        if nodes.len() > 1 {
            text.push_str("cluster_formation.peer_discovery_backend = classic_config\n");
            for (number, node) in nodes.iter().enumerate() {
                text.push_str(&format!("cluster_formation.classic_config.nodes.{} = {node}\n", number + 1));
            }
        }
        fs::write(self.directory.join("rabbitmq.conf"), text).expect("a file of our own");
    }

    /// Makes AMQP and the management API listen with this certificate too, from the next start on. Their plaintext
    /// ports stay open.
    pub fn encrypt(&mut self, server: &Issued) {
        let ports = [free_port(), free_port()];
        let [certificate, key] = server.write(&self.directory, "server");
        let path = self.directory.join("rabbitmq.conf");
        let before = fs::read_to_string(&path).expect("it is configured");
        let before = before.split("listeners.ssl").next().unwrap_or_default();
        let text = format!(
            "{before}
listeners.ssl.default = 127.0.0.1:{}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
management.ssl.ip = 127.0.0.1
management.ssl.port = {}
management.ssl.certfile = {certificate}
management.ssl.keyfile = {key}
",
            ports[0],
            ports[1],
            certificate = certificate.display(),
            key = key.display(),
        );
        fs::write(path, text).expect("a file of our own");
        self.encrypted_ports = Some(ports);
    }

    /// Replaces the certificate of a node that runs with one. New connections get it at once: Erlang's cache of files
    /// is cleared.
    pub async fn renew(&self, server: &Issued) {
        server.write(&self.directory, "server");
        self.control(&["eval", "ssl:clear_pem_cache()."]).await;
    }

    /// Returns the TLS URLs of AMQP (as administrator) and of the management API, both with this host name.
    ///
    /// # Panics
    /// Panics if TLS is off.
    #[must_use]
    pub fn encrypted_urls(&self, host: &str) -> [Url; 2] {
        let [amqp, management] = self.encrypted_ports.expect("it was encrypted");
        let amqp = format!("amqps://{ADMIN}:{}@{host}:{amqp}/orderflow", self.common.password);
        [amqp, format!("https://{host}:{management}/")].map(|url| url.parse().expect("a URL"))
    }

    /// Starts the node and waits until it answers.
    pub async fn start(&mut self) {
        self.process = Some(self.spawn());
        let url = format!("{}api/health/checks/port-listener/{}", self.management_url(), self.amqp_port);
        let client = plaintext().build().expect("a client");
        let password = self.common.password.clone();
        let log = self.directory.join("log/startup.log");
        until_ready("RabbitMQ", &log, async || {
            let asked = client.get(&url).basic_auth(ADMIN, Some(&password)).timeout(Duration::from_secs(5)).send();
            asked.await.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.directory.join("log/startup.log"));
        let log = log.expect("a log of our own");
        self.command(&format!("{PROGRAMS}/rabbitmq-server"))
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("RabbitMQ can be started")
    }

    /// Stops the node as an operator would.
    pub async fn stop(&mut self) {
        let id = fs::read_to_string(self.pid_file()).ok().and_then(|text| text.trim().parse().ok());
        let Some(mut process) = self.process.take() else { return };
        if let Some(id) = id {
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
        if tokio::time::timeout(STOP, process.wait()).await.is_err() {
            signal_group(&process, Signal::SIGKILL);
            drop(process.wait().await);
        }
    }

    /// Kills every process of the node without warning.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            signal_group(&process, Signal::SIGKILL);
            drop(process.wait().await);
        }
    }

    /// Runs `rabbitmqctl` on the node.
    pub async fn control(&self, arguments: &[&str]) {
        self.ask(arguments).await;
    }

    /// Returns the node's RabbitMQ version.
    pub async fn version(&self) -> String {
        self.ask(&["version"]).await.trim().to_owned()
    }

    async fn ask(&self, arguments: &[&str]) -> String {
        let done = self.command(&format!("{PROGRAMS}/rabbitmqctl")).args(arguments).output();
        let done = tokio::time::timeout(CONTROL, done).await.expect("rabbitmqctl ends").expect("it can be started");
        assert!(done.status.success(), "rabbitmqctl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    }

    /// Returns the node's URL as administrator, in the first virtual host.
    #[must_use]
    pub fn url(&self) -> Url {
        format!("amqp://{ADMIN}:{}@127.0.0.1:{}/orderflow", self.common.password, self.amqp_port)
            .parse()
            .expect("a URL")
    }

    /// Returns the URL of the management API.
    #[must_use]
    pub fn management_url(&self) -> Url {
        format!("http://127.0.0.1:{}/", self.management_port).parse().expect("a URL")
    }

    fn pid_file(&self) -> PathBuf {
        self.directory.join("node.pid")
    }

    /// Returns a command with the settings that server and rabbitmqctl must agree on, and no other environment
    /// variables.
    fn command(&self, program: &str) -> Command {
        let path = |name: &str| self.directory.join(name);
        let mut command = self.common.command(program);
        command
            .env("RABBITMQ_NODENAME", self.name())
            .env("RABBITMQ_CONF_ENV_FILE", path("rabbitmq-env.conf"))
            .env("RABBITMQ_CONFIG_FILE", path("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", path("advanced.config"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", path("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", path("data"))
            .env("RABBITMQ_LOG_BASE", path("log"))
            .env("RABBITMQ_PID_FILE", self.pid_file())
            .env("ERL_CRASH_DUMP", path("log/erl_crash.dump"))
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CTL_ERL_ARGS", LOOPBACK)
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", LOOPBACK);
        command
    }
}

impl Common {
    /// Returns a command whose only environment variables are those that all nodes and tools must agree on.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = self.installed.command(program, None);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.home)
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .current_dir("/")
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            signal_group(process, Signal::SIGKILL);
        }
    }
}
