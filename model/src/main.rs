//! `orderflow-model`: explores every path that an order can take.

use std::io;

use clap::Parser;
use orderflow_model::{Safeguard, order::OrderModel, stock::StockModel};
use stateright::{Checker as _, Model as _, report::WriteReporter};

/// Explores every path that an order can take through the protocol, with crashes anywhere, and reports whether one of
/// them violates a property.
#[derive(Debug, Parser)]
#[command(name = "orderflow-model", version)]
struct Arguments {
    /// Leaves this safeguard out, to show a path to the harm that it prevents
    #[arg(long, value_enum)]
    without: Option<Safeguard>,
    /// Maximum number of crashes and losses
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
