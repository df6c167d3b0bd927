//! A run's own PostgreSQL.

use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::Stdio,
};

use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use nix::{sys::signal::Signal, unistd::Uid};
use tokio::process::{Child, Command};
use url::Url;

use super::{
    super::certificates::Issued,
    installed::Installed,
    server::{free_port, random_password, signal_group, until_ready},
};

/// The user that Debian's package creates; PostgreSQL refuses to run as root.
const USER: &str = "postgres";

/// The role that owns the product's databases.
const ROLE: &str = "orderflow";

/// The server, running or not.
pub struct Postgres {
    installed: Installed,
    /// The directory of its programs, as a path inside the Debian installation that has them.
    programs: PathBuf,
    directory: PathBuf,
    port: u16,
    superuser_password: String,
    role_password: String,
    process: Option<Child>,
}

impl Postgres {
    /// Creates an empty database cluster in this directory, which must not exist yet.
    pub async fn create(directory: &Path, installed: &Installed) -> Self {
        fs::create_dir(directory).expect("a directory of our own");
        let postgres = Self {
            installed: installed.clone(),
            programs: programs(installed),
            directory: directory.to_owned(),
            port: free_port(),
            superuser_password: random_password(),
            role_password: random_password(),
            process: None,
        };
        let password_file = directory.join("password");
        fs::write(&password_file, &postgres.superuser_password).expect("a file of our own");
        if let Some((user, group)) = postgres.other_user() {
            for path in [directory, &password_file] {
                chown(path, Some(user), Some(group)).expect("root may give files away");
            }
        }
        let made = postgres
            .command("initdb")
            .args(["--auth=scram-sha-256", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("--pgdata")
            .arg(postgres.data())
            .output()
            .await
            .expect("initdb can be started");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        fs::remove_file(password_file).expect("our own file");
        postgres
    }

    /// Starts the server, durable as in production, and waits until it answers. After a kill it recovers first.
    pub async fn start(&mut self) {
        let url = self.superuser_url();
        let log = self.log();
        until_ready("PostgreSQL", &log, async || {
            // The server exits immediately while its predecessor's last processes still run: start it again.
            let ended = self.process.as_mut().is_none_or(|process| matches!(process.try_wait(), Ok(Some(_))));
            if ended {
                self.process = Some(self.spawn());
            }
            AsyncPgConnection::establish(url.as_str()).await.is_ok()
        })
        .await;
    }

    fn spawn(&self) -> Child {
        let log = File::options().create(true).append(true).open(self.log()).expect("a log of our own");
        let port = self.port.to_string();
        self.command("postgres")
            .arg("-D")
            .arg(self.data())
            .args(["-p", &port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "max_connections=200", "-c", "shared_buffers=128MB", "-c", "max_wal_size=1GB"])
            .args(["-c", "timezone=UTC", "-c", "log_timezone=UTC", "-c", "log_lock_waits=on"])
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("PostgreSQL can be started")
    }

    /// Creates the product's role, which may create databases and roles. Call it once.
    pub async fn make_role(&self) {
        let sql = format!("CREATE ROLE {ROLE} LOGIN CREATEDB CREATEROLE PASSWORD '{}'", self.role_password);
        self.as_superuser(&sql).await;
        self.as_superuser(&format!("CREATE DATABASE {ROLE} OWNER {ROLE}")).await;
    }

    /// Runs statements as the superuser.
    pub async fn as_superuser(&self, sql: &str) {
        let mut connection =
            AsyncPgConnection::establish(self.superuser_url().as_str()).await.expect("it can be reached");
        connection.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Turns TLS on with this certificate for new connections. `clients` is the CA of client certificates; `rules` are
    /// lines of `pg_hba.conf` that precede all others.
    pub async fn encrypt(&self, server: &Issued, clients: &str, rules: &str) {
        let rest = "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
        for (name, content) in [
            ("server.crt", &server.certificate),
            ("server.key", &server.key),
            ("clients.crt", &clients.to_owned()),
            ("pg_hba.conf", &format!("{rules}\n{rest}")),
        ] {
            let path = self.data().join(name);
            fs::write(&path, content).expect("a directory of our own");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("our own file");
            if let Some((user, group)) = self.other_user() {
                chown(&path, Some(user), Some(group)).expect("root may give files away");
            }
        }
        for setting in ["ssl = on", "ssl_ca_file = 'clients.crt'"] {
            self.as_superuser(&format!("ALTER SYSTEM SET {setting}")).await;
        }
        self.as_superuser("SELECT pg_reload_conf()").await;
    }

    /// Returns the server's port on this machine.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Stops the server without a checkpoint, as `pg_ctl stop -m immediate` does; it recovers at the next start.
    pub async fn stop_immediately(&mut self) {
        self.end(Signal::SIGQUIT).await;
    }

    /// Kills every process of the server without warning.
    pub async fn kill(&mut self) {
        self.end(Signal::SIGKILL).await;
    }

    async fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            signal_group(&process, signal);
            drop(process.wait().await);
        }
    }

    /// Returns the URL for the product's role and its own database, from which others are created.
    #[must_use]
    pub fn url(&self) -> Url {
        self.url_of(ROLE, &self.role_password, ROLE)
    }

    fn superuser_url(&self) -> Url {
        self.url_of("postgres", &self.superuser_password, "postgres")
    }

    fn url_of(&self, user: &str, password: &str, database: &str) -> Url {
        format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", self.port).parse().expect("a URL")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.installed.command(self.programs.join(program), self.other_user());
        // Our variables could point it to another server, and its user may be unable to enter our directory.
        command.env_clear().env("LANG", "C.UTF-8").env("PATH", "/usr/bin:/bin").current_dir("/");
        command.stdin(Stdio::null()).process_group(0).kill_on_drop(true);
        command
    }

    /// Returns the user and group that the server runs as, if not ours.
    fn other_user(&self) -> Option<(u32, u32)> {
        Uid::effective().is_root().then(|| self.installed.ids_of(USER))
    }

    /// Returns the server's version, such as `15.14`.
    pub async fn version(&self) -> String {
        let printed = self.command("postgres").arg("--version").output().await.expect("it can be started");
        let printed = String::from_utf8_lossy(&printed.stdout).into_owned();
        printed.split_whitespace().nth(2).unwrap_or_default().to_owned()
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    fn log(&self) -> PathBuf {
        self.directory.with_extension("log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            signal_group(process, Signal::SIGKILL);
        }
    }
}

/// Returns the directory of the newest installed version's programs.
fn programs(installed: &Installed) -> PathBuf {
    let versions = fs::read_dir(installed.at("/usr/lib/postgresql"))
        .expect("PostgreSQL is installed: run this with `make faults`");
    let newest = versions
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .max()
        .expect("a version of PostgreSQL");
    format!("/usr/lib/postgresql/{newest}/bin").into()
}
