//! What both servers need: a port, a password, a signal, and an end to waiting for them.

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

/// How long a server may take to start. A killed node of a RabbitMQ 4.0.5 cluster was seen to take 45 s on a machine with
/// two cores and nothing else to do, and more than 120 s at a load of 25.
const START: Duration = Duration::from_secs(300);

/// Ports below those that Linux gives to outgoing connections (32768 and up, ip(7)): one of these could take a port between our
/// choice and the server's start.
const PORTS: std::ops::Range<u16> = 10_000..30_000;

/// The ports that this process has chosen: a server needs seconds until it listens, and another one must not choose its port meanwhile.
static CHOSEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// Returns a port that nobody listens at, and never the same one twice.
///
/// # Panics
/// When none is found.
pub fn free_port() -> u16 {
    let mut chosen = CHOSEN.lock().unwrap_or_else(PoisonError::into_inner);
    let is_free = |port: &u16| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], *port))).is_ok();
    let mut random = std::iter::repeat_with(|| rand::rng().random_range(PORTS)).take(1_000);
    let port = random.find(|port| !chosen.contains(port) && is_free(port)).expect("a free port");
    chosen.insert(port);
    port
}

/// Something nobody guesses.
pub fn random_password() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Signals a process and all that it has started: each server leads a group of its own.
pub fn signal_group(leader: &Child, signal: Signal) {
    if let Some(id) = leader.id() {
        // It may have ended by itself meanwhile.
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
