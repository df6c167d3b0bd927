//! Helpers for both servers: ports, passwords, signals, and waiting with a time-out.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rand::RngExt as _;
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

/// How long a server may take to start. Measured: a killed node of a RabbitMQ 4.0.5 cluster took 45 s on an idle
/// machine with two cores, and more than 120 s at a load of 25.
const START: Duration = Duration::from_secs(300);

/// Ports below Linux's range for outgoing connections (32768 and up, ip(7)): an outgoing connection could take the port
/// between our choice and the server's start.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// The ports that this process has chosen. A server takes seconds until it listens; until then no other server may get
/// the same port.
static CHOSEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Returns a port that nothing listens on, and never the same port twice.
///
/// # Panics
/// Panics if no port is free.
pub fn free_port() -> u16 {
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_free = |port: &u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok();
    let mut random = std::iter::repeat_with(|| rand::rng().random_range(PORTS)).take(1_000);
    let port = random.find(|port| !chosen.contains(port) && is_free(port)).expect("a free port");
    chosen.insert(port);
    port
}

/// Returns an address of this machine that nothing listens on, with a port of [`free_port`].
///
/// # Panics
/// Panics if no port is free.
#[must_use]
pub fn free_address() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

/// Returns an unguessable password.
pub fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Signals a process and all its descendants: each server leads a process group of its own.
pub fn signal_group(leader: &Child, signal: Signal) {
    if let Some(id) = leader.id() {
        // It may have ended in the meantime.
        let _ = killpg(Pid::from_raw(i32::try_from(id).expect("a process id")), signal);
    }
}

/// Waits until a server answers.
pub async fn until_ready(what: &str, log: &Path, mut ready: impl AsyncFnMut() -> bool) {
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
