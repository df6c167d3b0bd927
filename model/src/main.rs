//! `orderflow-model`: walks through every way that an order can take.

use std::io;

use clap::Parser;
use orderflow_model::{Safeguard, order::OrderModel, stock::StockModel};
use stateright::{Checker as _, Model as _, report::WriteReporter};

/// Walks through every way that an order can take through the protocol, with crashes anywhere, and says whether one of
/// them ends badly.
#[derive(Debug, Parser)]
#[command(name = "orderflow-model", version)]
struct Arguments {
    /// Leave this safeguard out, and see a way to the harm that it is there against
    #[arg(long, value_enum)]
    without: Option<Safeguard>,
    /// Crashes and losses on the way, at most
    #[arg(long, default_value_t = 2)]
    faults: u8,
}

fn main() {
    let Arguments { without, faults } = Arguments::parse();
    let out = &mut io::stdout();
    let mut report = WriteReporter::new(out);
    OrderModel { faults, without }.checker().spawn_bfs().join_and_report(&mut report);
    StockModel { without }.checker().spawn_bfs().join_and_report(&mut report);
}
