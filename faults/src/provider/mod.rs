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

use std::io;

use crate::{journal::Journal, stand_in::Options};

/// Serves until it is told to end.
pub fn run(options: &Options) -> io::Result<()> {
    let (ledger, entries) = Journal::open(&options.ledger)?;
    let books = entries.into_iter().collect();
    let provider = serve::Provider::new(books, ledger, options.seed);
    actix_web::rt::System::new().block_on(serve::serve(options.listen, provider))
}
