//! A mail server of a run's own: a process that writes every mail down before it says that it took it.

mod process;
mod serve;

use std::{io, net::SocketAddr, path::PathBuf, process::ExitCode};

use serde::{Deserialize, Serialize};

pub use process::MailServer;

use crate::journal::Journal;

/// How it runs.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where it listens; port 0 is a free one, which it logs
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The file that it writes every mail down in before it says that it took it
    #[arg(long)]
    ledger: PathBuf,
    /// Which mails a fault strikes follows from it
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A mail that was taken: one line of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Without the angle brackets.
    pub message_id: String,
    /// Whom the envelope names.
    pub to: String,
}

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Mode {
    /// All is well.
    #[default]
    None,
    /// 421 instead of a greeting.
    Refuse,
    /// 451 for the recipient.
    Greylist,
    /// The mail is not taken, and no answer comes.
    HangBefore,
    /// The mail is taken, and no answer comes.
    HangAfter,
    /// The mail is taken, and the answer is 451.
    ErrorAfter,
}

/// Serves until it is told to end.
pub fn run(options: &Options) -> ExitCode {
    match start(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orderflow-faults: the mail server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Options) -> io::Result<()> {
    let (ledger, _) = Journal::open::<Taken>(&options.ledger)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve::serve(options.listen, ledger, options.seed))
}
