//! Everything that `make bench` measures. The contestants take turns in every round, so that a machine whose speed
//! drifts affects all of them alike.

use std::{fs, io, path::PathBuf, time::Instant};

use clap::Args;
use orderflow_tests::{Shop, VISA};
use serde_json::json;

use crate::{
    accept,
    ceiling::{self, Messages},
    cpu,
    figures::{Figures, mebibytes, per_second},
    latency,
    observe::QUIET,
    peers::{self, Peer},
    plots,
};

/// Options of the whole suite.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Number of rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Orders per round for Orderflow and for the broker alone; contestants without batches get a fifth of them
    #[arg(long, default_value_t = 10_000)]
    orders: usize,
    /// Duration of each latency measurement, in seconds
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Orders in the backlog when memory is measured
    #[arg(long, default_value_t = 100_000)]
    waiting: usize,
    /// Runs one short round, to check that everything works
    #[arg(long)]
    quick: bool,
    /// Leaves out the other frameworks
    #[arg(long)]
    without_peers: bool,
    /// Directory for the results
    #[arg(long, default_value = "bench/out")]
    out: PathBuf,
}

impl Arguments {
    fn shortened(self) -> Self {
        if self.quick { Self { rounds: 1, orders: 2_000, seconds: 5, waiting: 2_000, ..self } } else { self }
    }

    /// Returns the duration of one measurement of accepted orders, in seconds.
    fn accepting(&self) -> u32 {
        self.seconds.div_ceil(3)
    }
}

/// The loads at which latency is measured, as shares of Orderflow's maximum throughput, and the names of their figures.
const LOADS: [(f64, [&str; 3]); 4] = [
    (0.1, ["p50_ms_10", "p99_ms_10", "accept_p99_ms_10"]),
    (0.3, ["p50_ms_30", "p99_ms_30", "accept_p99_ms_30"]),
    (0.5, ["p50_ms_50", "p99_ms_50", "accept_p99_ms_50"]),
    (0.7, ["p50_ms_70", "p99_ms_70", "accept_p99_ms_70"]),
];

/// Measures everything and writes `summary.json`, `rounds.csv` and the charts.
///
/// # Errors
/// Fails if the results cannot be written.
pub async fn run(arguments: Arguments) -> io::Result<()> {
    let arguments = arguments.shortened();
    let mut figures = Figures::default();
    let messages = Messages::of_an_order().await;
    for round in 1..=arguments.rounds {
        println!("round {round} of {}", arguments.rounds);
        figures.begin_round(round);
        measure_throughput(&mut figures, &arguments, &messages).await;
    }
    for round in 1..=arguments.rounds.div_ceil(2) {
        println!("latency and memory, {round} of {}", arguments.rounds.div_ceil(2));
        figures.begin_round(round);
        measure_latency(&mut figures, arguments.seconds).await;
        measure_memory(&mut figures, arguments.waiting).await;
    }
    write(&figures, &arguments)
}

async fn measure_throughput(figures: &mut Figures, arguments: &Arguments, messages: &Messages) {
    let (orders, fewer) = (arguments.orders, arguments.orders / 5);
    let ours = drain(orders, "256", 1).await;
    figures.add("drain", ours.shipped);
    for (name, milliseconds) in &ours.cpu_milliseconds {
        figures.add(name, *milliseconds);
    }
    figures.add("broker_ceiling", ceiling::drain(messages, orders).await);
    figures.ratio("drain_vs_broker_ceiling", "drain", "broker_ceiling");
    figures.add("http", while_orders_come_in(orders).await);
    figures.ratio("http_vs_broker_ceiling", "http", "broker_ceiling");
    figures.add("single", drain(fewer, "1", 1).await.shipped);
    for (workers, rate, ratio) in [(2, "drain_2_workers", "scale_2_workers"), (4, "drain_4_workers", "scale_4_workers")]
    {
        figures.add(rate, drain(orders, "256", workers).await.shipped);
        figures.ratio(ratio, rate, "drain");
    }
    if let Some(rate) = accept::over_http(arguments.accepting()).await {
        figures.add("accept", rate);
    }
    if let Some(rate) = accept::by_postgres_alone(arguments.accepting()).await {
        figures.add("pgbench", rate);
    }
    figures.ratio("accept_vs_pgbench", "accept", "pgbench");
    if arguments.without_peers {
        return;
    }
    for peer in Peer::ALL {
        if let Some(rate) = peers::measure(peer, fewer).await {
            figures.add(peer.as_str(), rate);
        }
    }
    for (name, ours, peer) in [
        ("vs_nestjs", "drain", "nestjs"),
        ("vs_faststream", "drain", "faststream"),
        ("vs_dbos", "drain", "dbos"),
        ("single_vs_nestjs", "single", "nestjs"),
    ] {
        figures.ratio(name, ours, peer);
    }
}

struct Drained {
    shipped: f64,
    /// Processor time per order of each program, by figure name.
    cpu_milliseconds: Vec<(&'static str, f64)>,
}

/// The figures of processor time per order, and the program that each belongs to.
const PROCESSORS: [(&str, &str); 4] = [
    ("cpu_ms_worker", "worker"),
    ("cpu_ms_front_end", "front end"),
    ("cpu_ms_broker", "broker"),
    ("cpu_ms_database", "database"),
];

/// Measures how many orders per second this many workers ship from a backlog. The clock starts when the first worker
/// consumes, as in the measurements of the other frameworks.
async fn drain(orders: usize, batch_size: &str, workers: usize) -> Drained {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&QUIET).await;
    web.orders(orders, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    let before = cpu::seconds();
    let settings = [QUIET[0], ("BATCH_SIZE", batch_size)];
    shop.start_worker_with(&[], &settings).await;
    let begin = Instant::now();
    for _ in 1..workers {
        shop.start_worker_with(&[], &settings).await;
    }
    shop.until_orders("shipped", i64::try_from(orders).unwrap_or(i64::MAX)).await;
    let shipped = per_second(orders, begin);
    let used = cpu::seconds();
    shop.close().await;
    let of = |program: &str| used.get(program).unwrap_or(&0.0) - before.get(program).unwrap_or(&0.0);
    let an_order = |seconds: f64| 1e3 * seconds / f64::from(u32::try_from(orders).unwrap_or(u32::MAX));
    let cpu_milliseconds = PROCESSORS.map(|(name, program)| (name, an_order(of(program)))).to_vec();
    Drained { shipped, cpu_milliseconds }
}

/// Measures orders per second from the first one placed to the last one shipped, with the worker running from the
/// start.
async fn while_orders_come_in(orders: usize) -> f64 {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&QUIET).await;
    shop.start_worker_with(&[], &QUIET).await;
    let begin = Instant::now();
    web.orders(orders, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", i64::try_from(orders).unwrap_or(i64::MAX)).await;
    let rate = per_second(orders, begin);
    shop.close().await;
    rate
}

async fn measure_latency(figures: &mut Figures, seconds: u32) {
    let Some(maximum) = figures.median("http") else { return };
    for (load, [p50, p99, accepted]) in LOADS {
        let latency = latency::measure(maximum * load, seconds).await;
        figures.add(p50, latency.shipped_p50);
        figures.add(p99, latency.shipped_p99);
        figures.add(accepted, latency.accepted_p99);
    }
}

/// Measures the peak memory of front end and worker in MiB, with a backlog of this many orders in RabbitMQ.
async fn measure_memory(figures: &mut Figures, waiting: usize) {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&QUIET).await;
    web.orders(waiting, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    figures.add("rss_mib_web", mebibytes(shop.webs(), "VmHWM"));
    shop.start_worker_with(&[], &QUIET).await;
    shop.until_orders("shipped", i64::try_from(waiting / 10).unwrap_or(i64::MAX)).await;
    figures.add("rss_mib_worker", mebibytes(shop.workers(), "VmHWM"));
}

fn write(figures: &Figures, arguments: &Arguments) -> io::Result<()> {
    fs::create_dir_all(&arguments.out)?;
    let summary = figures.summary();
    figures.print();
    let path = arguments.out.join("summary.json");
    let whole = json!({ "rounds": arguments.rounds, "orders": arguments.orders, "figures": summary });
    fs::write(&path, serde_json::to_string_pretty(&whole)?)?;
    fs::write(arguments.out.join("rounds.csv"), figures.csv())?;
    plots::draw(figures, &arguments.out)?;
    println!("\nwritten: {}", path.display());
    Ok(())
}
