//! A run's own mail server: a process that records every mail before it accepts it.

mod process;
mod serve;

use std::io;

pub use process::MailServer;
pub use serve::Mode;

use self::serve::AcceptedMail;
use crate::{journal::Journal, stand_in::Options};

/// Serves until the process is terminated.
pub fn run(options: &Options) -> io::Result<()> {
    let (ledger, _) = Journal::open::<AcceptedMail>(&options.ledger)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve::serve(options.listen, ledger, options.seed))
}
