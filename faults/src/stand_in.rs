//! The common part of the processes that stand in for other companies' servers.

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

/// The options of such a process.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The address to listen on; port 0 selects a free port, which is logged
    #[arg(long, default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// The file in which everything is recorded before an answer, and which is read at startup
    #[arg(long)]
    pub ledger: PathBuf,
    /// Seeds the choice of requests that a fault strikes
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// Serves until the process is terminated; reports an error if it cannot.
pub fn run(name: &str, options: &Options, serve: impl FnOnce(&Options) -> io::Result<()>) -> ExitCode {
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orderflow-faults: the {name}: {error}");
            ExitCode::FAILURE
        }
    }
}
