//! Compares variants of a setting: orders accepted per second over HTTP, and shipped per second by one worker from a
//! full queue.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::PathBuf,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use clap::{Args, ValueEnum};
use orderflow_tests::{Child, Shop, VISA, examples::LOYALTY, roles, run as run_program};
use serde::Serialize;

use crate::{
    cpu,
    figures::{median, per_second},
    observe::{Observed, Sink},
};

/// Measures orders accepted per second over HTTP, and orders per second from `payment.order-created` to `shipped` with
/// one worker.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Orders in each round
    #[arg(long, default_value_t = 10_000)]
    orders: usize,
    /// Rounds for each batch size, taken in turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Batch sizes to compare
    #[arg(long, value_delimiter = ',', default_value = "256,1")]
    batch_sizes: Vec<usize>,
    /// Cost of observability: levels to compare, in turn
    #[arg(long, value_delimiter = ',', default_value = "off")]
    observed: Vec<Observed>,
    /// Cost of an additional service: without or with examples/loyalty, which publishes one event per order
    #[arg(long, value_delimiter = ',', default_value = "off")]
    loyalty: Vec<Switch>,
    /// Cost of one PostgreSQL role per process, with row security: without or with roles
    #[arg(long, value_delimiter = ',', default_value = "off")]
    roles: Vec<Switch>,
    /// Directory for the results
    #[arg(long, default_value = "bench/out")]
    out: PathBuf,
}

/// Whether something is part of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Switch {
    /// Without it.
    Off,
    /// With it.
    On,
}

/// One combination of the compared options.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct Variant {
    batch_size: usize,
    observed: Observed,
    loyalty: Switch,
    roles: Switch,
}

impl fmt::Display for Variant {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { batch_size, observed, loyalty, roles } = self;
        write!(to, "BATCH_SIZE {batch_size}, observed {observed:?}, loyalty {loyalty:?}, roles {roles:?}")
    }
}

/// The figures of one variant in one round.
#[derive(Debug, Clone, Serialize)]
struct Round {
    #[serde(flatten)]
    variant: Variant,
    orders: usize,
    accepted_per_second: f64,
    shipped_per_second: f64,
    /// Processor time of all programs while the worker ran. On a shared machine it varies less than the rates.
    cpu_milliseconds_per_order: f64,
    /// Each program's share of that processor time.
    cpu_shares: BTreeMap<&'static str, f64>,
    /// The size of the exported traces, in bytes.
    traced_bytes: u64,
}

/// Measures each variant in turn and writes all rounds below `out`.
pub async fn run(arguments: Arguments) -> std::io::Result<()> {
    let mut rounds = Vec::new();
    for round in 1..=arguments.rounds {
        for variant in variants(&arguments) {
            let measured = measure(variant, arguments.orders).await?;
            println!(
                "round {round}, {variant}: accepted {:.0}/s, shipped {:.0}/s, \
                 processor {}, traces {} KiB",
                measured.accepted_per_second,
                measured.shipped_per_second,
                shares(&measured.cpu_shares),
                measured.traced_bytes / 1024,
            );
            rounds.push(measured);
        }
    }
    println!();
    for variant in variants(&arguments) {
        let of = |figure: fn(&Round) -> f64| {
            let same = rounds.iter().filter(|round| round.variant == variant);
            median(same.map(figure).collect())
        };
        println!(
            "{variant}: median {:.0} orders/s accepted, {:.0} orders/s shipped, {:.2} ms of processor time an order",
            of(|round| round.accepted_per_second),
            of(|round| round.shipped_per_second),
            of(|round| round.cpu_milliseconds_per_order)
        );
    }
    fs::create_dir_all(&arguments.out)?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let path = arguments.out.join(format!("flow-{seconds}.json"));
    fs::write(&path, serde_json::to_string_pretty(&rounds)?)?;
    println!("written: {}", path.display());
    Ok(())
}

/// Returns the variants in the order in which they are measured.
fn variants(arguments: &Arguments) -> Vec<Variant> {
    let mut all = Vec::new();
    for batch_size in arguments.batch_sizes.iter().copied() {
        for observed in arguments.observed.iter().copied() {
            for loyalty in arguments.loyalty.iter().copied() {
                all.extend(arguments.roles.iter().map(|roles| Variant {
                    batch_size,
                    observed,
                    loyalty,
                    roles: *roles,
                }));
            }
        }
    }
    all
}

/// Registers examples/loyalty with the shop and starts it.
async fn start_loyalty(shop: &mut Shop, settings: &[(&str, &str)]) {
    LOYALTY.register(shop).await;
    let mut all = shop.settings("orderflow-worker");
    all.push(("AMQP_URL".to_owned(), LOYALTY.broker_url(shop).to_string()));
    all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let migrated = run_program("loyalty", &["migrate"], &all).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.err);
    shop.workers().push(Child::start("loyalty", &[], &all));
}

async fn measure(variant: Variant, orders: usize) -> std::io::Result<Round> {
    let Variant { batch_size, observed, loyalty, roles } = variant;
    let mut shop = Shop::open().await;
    let collector = Sink::start()?;
    let settings = observed.settings(&collector);
    let mut settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let urls = [roles::database_as(&shop, "web"), roles::database_as(&shop, "worker")];
    let [for_web, for_worker] = urls.each_ref().map(|url| ("DATABASE_URL", url.as_str()));
    if roles == Switch::On {
        roles::make(&shop, &[]).await;
        settings.push(for_web);
    }
    let web = shop.start_web_with(&settings).await;
    let operators = shop.webs()[0].logged_address("at").await;
    let mut asking: Vec<_> = observed.ask(operators).into_iter().collect();
    let begin = Instant::now();
    web.orders(orders, "MUG-BLUE", VISA).await;
    let accepted_per_second = per_second(orders, begin);
    shop.until_published().await;
    let batch = batch_size.to_string();
    settings.push(("BATCH_SIZE", &batch));
    if roles == Switch::On {
        settings.push(for_worker);
    }
    if loyalty == Switch::On {
        start_loyalty(&mut shop, &settings).await;
    }
    let (begin, before) = (Instant::now(), cpu::seconds());
    shop.start_worker_with(&[], &settings).await;
    asking.extend(observed.ask(shop.workers().last_mut().expect("it is started").address().await));
    shop.until_orders("shipped", i64::try_from(orders).unwrap_or(i64::MAX)).await;
    let shipped_per_second = per_second(orders, begin);
    let after = cpu::seconds();
    asking.iter().for_each(tokio::task::JoinHandle::abort);
    roles::close(shop).await;
    let used: BTreeMap<_, _> =
        after.into_iter().map(|(name, seconds)| (name, seconds - before.get(name).unwrap_or(&0.0))).collect();
    let all: f64 = used.values().sum();
    let cpu_shares = used.into_iter().map(|(name, seconds)| (name, seconds / all)).collect();
    let cpu_milliseconds_per_order = 1_000.0 * all / f64::from(u32::try_from(orders).unwrap_or(u32::MAX));
    let traced_bytes = collector.taken();
    Ok(Round {
        variant,
        orders,
        accepted_per_second,
        shipped_per_second,
        cpu_milliseconds_per_order,
        cpu_shares,
        traced_bytes,
    })
}

fn shares(shares: &BTreeMap<&str, f64>) -> String {
    let texts: Vec<_> = shares.iter().map(|(name, share)| format!("{name} {:.0} %", share * 100.0)).collect();
    texts.join(", ")
}
