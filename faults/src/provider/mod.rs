//! A payment provider that speaks as much of Stripe's API as Orderflow uses.
//!
//! Nothing of Orderflow is in it: it is the other side, and what it has written down is what the checks believe.

mod answer;
mod books;
mod faults;
mod intents;
mod objects;
mod refunds;
mod serve;

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use crate::journal::Journal;

/// How it runs.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where it listens; port 0 is a free one, which it logs
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The file that it writes everything down in before it answers, and reads back when it starts
    #[arg(long)]
    ledger: PathBuf,
    /// Which calls a fault strikes follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Serves until it is told to end.
pub fn run(options: &Options) -> ExitCode {
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orderflow-faults: the provider: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> io::Result<()> {
    let (ledger, entries) = Journal::open(&options.ledger)?;
    let books = entries.into_iter().collect();
    let provider = serve::Provider::new(books, ledger, options.seed);
    actix_web::rt::System::new().block_on(serve::serve(options.listen, provider))
}
