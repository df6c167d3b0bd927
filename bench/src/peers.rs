//! The same flow in other frameworks: `bench/peers`.

use std::{path::Path, process::Stdio};

use serde::Deserialize;
use tokio::process::Command;

/// A program that processes the same flow of orders as ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// NestJS with golevelup's RabbitMQ module, and pg.
    Nestjs,
    /// FastStream with asyncpg.
    Faststream,
    /// Workflows of DBOS on PostgreSQL.
    Dbos,
}

impl Peer {
    /// Every peer.
    pub const ALL: [Self; 3] = [Self::Nestjs, Self::Faststream, Self::Dbos];

    /// Returns the name of its directory below `bench/peers`, which is also its figure's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nestjs => "nestjs",
            Self::Faststream => "faststream",
            Self::Dbos => "dbos",
        }
    }
}

#[derive(Deserialize)]
struct Measured {
    orders_per_second: f64,
}

/// Returns the orders per second that a peer ships from a full first queue. Prints why and returns `None` if the peer
/// is not installed, fails, or ends with a wrong result.
pub async fn measure(peer: Peer, orders: usize) -> Option<f64> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/measure.sh");
    let arguments = [peer.as_str().to_owned(), orders.to_string()];
    let done = Command::new(script).args(arguments).stderr(Stdio::inherit()).output().await;
    let output = match done {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            println!("  {} is left out: it ended with {}", peer.as_str(), output.status);
            return None;
        }
        Err(error) => {
            println!("  {} is left out: {error}", peer.as_str());
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output);
    let measured: Option<Measured> = text.lines().next_back().and_then(|line| serde_json::from_str(line).ok());
    measured.map(|measured| measured.orders_per_second)
}
