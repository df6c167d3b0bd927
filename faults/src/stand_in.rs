//! What the processes that stand in for other companies have in common.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

/// How one runs.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where it listens; port 0 is a free one, which it logs
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The file that it writes everything down in before it answers, and reads back when it starts
    #[arg(long)]
    pub ledger: PathBuf,
    /// What a fault strikes follows from it
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Serves until it is told to end; says so where it cannot.
pub fn run(name: &str, options: &Options, serve: impl FnOnce(&Options) -> io::Result<()>) -> ExitCode {
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orderflow-faults: the {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
