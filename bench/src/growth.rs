//! Compares the cost of an order in databases of different sizes.

use std::{io, path::PathBuf, time::Instant};

use clap::Args;
use orderflow_tests::{Shop, VISA, history, until};

use crate::{
    cpu,
    figures::{Figures, per_second},
    load::{note_shipped, until_shipped},
    observe::QUIET,
    plots,
};

/// Options of `growth`.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Orders in each database, the smallest first; a million orders need 6 GB of disk
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 1_000_000])]
    sizes: Vec<i64>,
    /// Orders in each round
    #[arg(long, default_value_t = 5_000)]
    orders: usize,
    /// Rounds for each database, taken in turn
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where to write the chart
    #[arg(long, default_value = "bench/out")]
    out: PathBuf,
}

/// Measures the databases in turn, prints the figures and draws `growth.svg`.
pub async fn run(arguments: Arguments) -> io::Result<()> {
    let mut figures = Figures::default();
    let mut shops = Vec::new();
    for size in arguments.sizes {
        shops.push((size, filled(size).await));
    }
    for round in 1..=arguments.rounds {
        println!("round {round} of {}", arguments.rounds);
        figures.begin_round(round);
        for (size, shop) in &mut shops {
            let (shipped, milliseconds) = drain(shop, arguments.orders).await;
            figures.add(&rate(*size), shipped);
            figures.add(&cost(*size), milliseconds);
        }
        if let [(smallest, _), .., (largest, _)] = shops[..] {
            // The ratio is inverted because the cost is seconds per order, and the figures are orders per second.
            figures.ratio("cost_growth", &rate(smallest), &rate(largest));
            figures.ratio("cpu_growth", &cost(largest), &cost(smallest));
        }
    }
    figures.print();
    let bar = |(size, _): &(i64, Shop)| Some((format!("{size} orders in the database"), figures.median(&rate(*size))?));
    plots::growth(&arguments.out, &shops.iter().filter_map(bar).collect::<Vec<_>>())
}

/// Returns the name of the figure for the orders shipped per second beside this many orders.
fn rate(size: i64) -> String {
    format!("drain_{size}")
}

/// Returns the name of the figure for the processor time per order beside this many orders.
fn cost(size: i64) -> String {
    format!("cpu_ms_{size}")
}

/// Opens a shop whose database has the history of this many orders.
async fn filled(orders: i64) -> Shop {
    let shop = Shop::open().await;
    let begin = Instant::now();
    history::write(&shop, orders).await;
    note_shipped(&shop).await;
    let mebibytes = shop.number("SELECT pg_database_size(current_database()) >> 20").await;
    println!("{orders} orders, {mebibytes} MiB, filled in {:.0} s", begin.elapsed().as_secs_f64());
    shop
}

/// Returns the orders per second that one worker ships from a full queue, and the processor time per order of all
/// programs together, in milliseconds.
async fn drain(shop: &mut Shop, orders: usize) -> (f64, f64) {
    shop.execute("TRUNCATE bench.shipped").await;
    let web = shop.start_web_with(&QUIET).await;
    web.orders(orders, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    let before: f64 = cpu::seconds().values().sum();
    shop.start_worker_with(&[], &QUIET).await;
    let begin = Instant::now();
    until_shipped(shop, orders).await;
    let rate = per_second(orders, begin);
    let used = cpu::seconds().values().sum::<f64>() - before;
    until_mailed(shop, orders).await;
    for process in shop.workers().drain(..).collect::<Vec<_>>() {
        process.stop().await;
    }
    for process in shop.webs().drain(..).collect::<Vec<_>>() {
        process.stop().await;
    }
    (rate, 1e3 * used / f64::from(u32::try_from(orders).unwrap_or(u32::MAX)))
}

/// Waits until the mails about shipment are sent, the last step of an order, so that no work of this round is left for
/// the next one.
async fn until_mailed(shop: &Shop, orders: usize) {
    let query = "SELECT count(*) FROM bench.shipped JOIN email.mails USING (order_id) WHERE kind = 'shipped' AND sent_at IS NOT NULL";
    let wanted = i64::try_from(orders).unwrap_or(i64::MAX);
    until("every mail is sent", async || {
        let count = shop.number(query).await;
        if count >= wanted { Ok(()) } else { Err(count) }
    })
    .await;
}
