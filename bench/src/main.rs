//! Measures the whole flow: how many orders a second are accepted, and how many a second one worker brings to
//! `shipped`, with batches and without, in turn.

mod cpu;

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use clap::Parser;
use orderflow_tests::{Shop, VISA};
use serde::Serialize;

/// Measures accepted orders/s over HTTP, and orders/s from `payment.order-created` to `shipped` with one worker.
#[derive(Debug, Parser)]
struct Arguments {
    /// Orders in each round
    #[arg(long, default_value_t = 10_000)]
    orders: usize,
    /// Rounds for each batch size, taken in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Batch sizes to compare
    #[arg(long, value_delimiter = ',', default_value = "256,1")]
    batch_sizes: Vec<usize>,
    /// Where the results go
    #[arg(long, default_value = "bench/out")]
    out: PathBuf,
}

/// Nothing but the lines by which the processes' addresses are known: what a log costs is not measured here.
const LOG: (&str, &str) = ("RUST_LOG", "warn,orderflow::web::server=info,orderflow_worker::process=info");

/// One round.
#[derive(Debug, Clone, Serialize)]
struct Round {
    batch_size: usize,
    orders: usize,
    accepted_per_second: f64,
    shipped_per_second: f64,
    /// Shares of the processor time that was used while the worker worked.
    cpu_shares: BTreeMap<&'static str, f64>,
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        for batch_size in &arguments.batch_sizes {
            let measured = measure(*batch_size, arguments.orders).await;
            println!(
                "round {round}, BATCH_SIZE {batch_size}: accepted {:.0}/s, shipped {:.0}/s, processor {}",
                measured.accepted_per_second,
                measured.shipped_per_second,
                shares(&measured.cpu_shares)
            );
            rounds.push(measured);
        }
    }
    println!();
    for batch_size in &arguments.batch_sizes {
        let of = |figure: fn(&Round) -> f64| {
            median(rounds.iter().filter(|round| round.batch_size == *batch_size).map(figure).collect())
        };
        println!("BATCH_SIZE {batch_size}: median {:.0} orders/s shipped", of(|round| round.shipped_per_second));
    }
    println!(
        "accepted over HTTP: median {:.0} orders/s",
        median(rounds.iter().map(|one| one.accepted_per_second).collect())
    );
    fs::create_dir_all(&arguments.out)?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let path = arguments.out.join(format!("flow-{seconds}.json"));
    fs::write(&path, serde_json::to_string_pretty(&rounds)?)?;
    println!("written: {}", path.display());
    Ok(())
}

async fn measure(batch_size: usize, orders: usize) -> Round {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&[LOG]).await;
    let begin = Instant::now();
    web.orders(orders, "MUG-BLUE", VISA).await;
    let accepted_per_second = per_second(orders, begin);
    shop.until_published().await;
    let batch = batch_size.to_string();
    let (begin, before) = (Instant::now(), cpu::seconds());
    shop.start_worker_with(&[], &[("BATCH_SIZE", &batch), LOG]).await;
    shop.until_orders("shipped", i64::try_from(orders).unwrap_or(i64::MAX)).await;
    let shipped_per_second = per_second(orders, begin);
    let after = cpu::seconds();
    shop.close().await;
    let used: BTreeMap<_, _> =
        after.into_iter().map(|(name, seconds)| (name, seconds - before.get(name).unwrap_or(&0.0))).collect();
    let all: f64 = used.values().sum();
    let cpu_shares = used.into_iter().map(|(name, seconds)| (name, seconds / all)).collect();
    Round { batch_size, orders, accepted_per_second, shipped_per_second, cpu_shares }
}

fn per_second(count: usize, begin: Instant) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / begin.elapsed().as_secs_f64()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn shares(shares: &BTreeMap<&str, f64>) -> String {
    let texts: Vec<_> = shares.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
    texts.join(", ")
}
