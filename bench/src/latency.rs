//! How soon an order that was accepted is shipped, at a steady rate of orders.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use orderflow_tests::{Shop, VISA, Web};
use tokio::task::JoinSet;

use crate::observe::QUIET;

/// When an order's last change is committed: a deferred trigger runs when COMMIT begins, so what the commit itself takes is left out,
/// a few milliseconds. The table is not logged, so that noting costs the database next to nothing.
const NOTE_SHIPPED: [&str; 4] = [
    "CREATE SCHEMA bench",
    "CREATE UNLOGGED TABLE bench.shipped (order_id uuid PRIMARY KEY, at timestamptz)",
    "CREATE FUNCTION bench.shipped() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN INSERT INTO bench.shipped VALUES (NEW.id, clock_timestamp()); RETURN NULL; END $$",
    "CREATE CONSTRAINT TRIGGER shipped AFTER UPDATE ON orders.orders DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW WHEN (NEW.status = 'shipped') EXECUTE FUNCTION bench.shipped()",
];

/// Orders before those that count: connections are made and statements prepared with them.
const WARM_UP: usize = 100;

/// At which rate.
#[derive(Debug, Clone, Copy, Args)]
pub struct Arguments {
    /// Orders a second
    #[arg(long, default_value_t = 100.0)]
    rate: f64,
    /// How long orders are placed
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

/// Measures and prints.
pub async fn run(Arguments { rate, seconds }: Arguments) -> std::io::Result<()> {
    let Latency { shipped_p50, shipped_p99, accepted_p99 } = measure(rate, seconds).await;
    println!(
        "{rate} orders/s: accepted after {accepted_p99:.1} ms (p99), shipped after {shipped_p50:.1} ms (median) and \
         {shipped_p99:.1} ms (p99)"
    );
    Ok(())
}

/// Milliseconds, of all orders of a run.
#[derive(Debug, Clone, Copy)]
pub struct Latency {
    /// Median from the answer 202 to shipped.
    pub shipped_p50: f64,
    /// 99th percentile of the same.
    pub shipped_p99: f64,
    /// 99th percentile from the request to the answer.
    pub accepted_p99: f64,
}

/// Places orders at this rate a second for so long, whether or not earlier ones are answered, with one front end and one worker.
///
/// # Panics
/// When an order is refused or does not ship.
pub async fn measure(rate: f64, seconds: u32) -> Latency {
    let mut shop = Shop::open().await;
    for statement in NOTE_SHIPPED {
        shop.execute(statement).await;
    }
    let web = Arc::new(shop.start_web_with(&QUIET).await);
    shop.start_worker_with(&[], &QUIET).await;
    web.orders(WARM_UP, "MUG-BLUE", VISA).await;
    shop.until_orders("shipped", i64::try_from(WARM_UP).unwrap_or(i64::MAX)).await;

    let placed = place(&web, rate, seconds).await;
    let all = i64::try_from(placed.len() + WARM_UP).unwrap_or(i64::MAX);
    shop.until_orders("shipped", all).await;
    shop.execute("CREATE TABLE bench.placed (order_id uuid, answered timestamptz)").await;
    for rows in placed.chunks(1_000) {
        let rows: Vec<_> =
            rows.iter().map(|one| format!("('{}', to_timestamp({}))", one.order, one.answered)).collect();
        shop.execute(&format!("INSERT INTO bench.placed VALUES {}", rows.join(","))).await;
    }
    let shipped = async |share: &str| {
        let query = format!(
            "SELECT (1e6 * extract(epoch FROM percentile_disc({share}) WITHIN GROUP (ORDER BY at - answered)))::bigint
             FROM bench.placed JOIN bench.shipped USING (order_id)"
        );
        milliseconds(shop.number(&query).await)
    };
    let (shipped_p50, shipped_p99) = (shipped("0.5").await, shipped("0.99").await);
    let mut accepted: Vec<f64> = placed.iter().map(|one| one.took.as_secs_f64() * 1e3).collect();
    accepted.sort_by(f64::total_cmp);
    let accepted_p99 = accepted.get(accepted.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    Latency { shipped_p50, shipped_p99, accepted_p99 }
}

struct Placed {
    order: String,
    /// Seconds since 1970.
    answered: f64,
    took: Duration,
}

async fn place(web: &Arc<Web>, rate: f64, seconds: u32) -> Vec<Placed> {
    let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
    let until = Instant::now() + Duration::from_secs(seconds.into());
    let mut placing = JoinSet::new();
    while Instant::now() < until {
        ticks.tick().await;
        let web = Arc::clone(web);
        placing.spawn(async move {
            let begin = Instant::now();
            let order = web.order("MUG-BLUE", 1, VISA).await.id.to_string();
            let answered = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
            Placed { order, answered, took: begin.elapsed() }
        });
    }
    placing.join_all().await
}

fn milliseconds(micros: i64) -> f64 {
    i32::try_from(micros).map_or(f64::NAN, f64::from) / 1e3
}
