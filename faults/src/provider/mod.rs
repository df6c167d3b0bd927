//! A payment provider with the part of Stripe's API that Orderflow uses.
//!
//! It shares no code with Orderflow: its ledger is the independent reference for the checks.

mod answer;
mod books;
mod faults;
mod intents;
mod objects;
mod refunds;
mod serve;

use std::io;

use crate::{journal::Journal, stand_in::Options};

/// Serves until the process is terminated.
pub fn run(options: &Options) -> io::Result<()> {
    let (ledger, entries) = Journal::open(&options.ledger)?;
    let books = entries.into_iter().collect();
    let provider = serve::Provider::new(books, ledger, options.seed);
    actix_web::rt::System::new().block_on(serve::serve(options.listen, provider))
}
