//! A mail server of a run's own: a process that writes every mail down before it says that it took it.

mod process;
mod serve;

use std::io;

use serde::{Deserialize, Serialize};

pub use process::MailServer;

use crate::{journal::Journal, stand_in::Options};

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
pub fn run(options: &Options) -> io::Result<()> {
    let (ledger, _) = Journal::open::<Taken>(&options.ledger)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve::serve(options.listen, ledger, options.seed))
}
