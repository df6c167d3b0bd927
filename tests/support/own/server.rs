//! What both servers need: a port, a password, a signal, and an end to waiting for them.

use std::{
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use tokio::{
    process::Child,
    time::{Instant, sleep},
};

/// How long a server may take to start. A killed node of a RabbitMQ 4.0.5 cluster was seen to take 45 s on a machine with
/// two cores and nothing else to do, and more than 120 s at a load of 25.
const START: Duration = Duration::from_secs(300);

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
