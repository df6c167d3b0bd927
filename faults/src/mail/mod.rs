//! A mail server of a run's own: a process that writes every mail down before it says that it took it.

mod process;
mod serve;

use std::io;

pub use process::MailServer;
pub use serve::Mode;

use self::serve::Taken;
use crate::{journal::Journal, stand_in::Options};

/// Serves until it is told to end.
pub fn run(options: &Options) -> io::Result<()> {
    let (ledger, _) = Journal::open::<Taken>(&options.ledger)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve::serve(options.listen, ledger, options.seed))
}
