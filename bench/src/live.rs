//! The cost and delay of live updates. One front end serves many idle watchers, whose orders do not change. Meanwhile
//! orders are placed at a steady rate, and each is watched until it is final.
//!
//! The delay of a status change runs from the start of its COMMIT, recorded by a database trigger, until its watcher
//! receives the message. Both run on the same machine, so by the same clock. The commit itself counts as delay too.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use futures::StreamExt as _;
use orderflow_tests::{Order, Said, Scrape, Shop, VISA, Watcher, Web, memory};
use serde::Serialize;
use tokio::task::JoinSet;

use crate::{cpu, observe::QUIET};

/// Measures how soon watchers are notified, and how much watching costs.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Watchers of orders that do not change
    #[arg(long, default_value_t = 5_000)]
    watchers: usize,
    /// Orders per second, each with its own watcher
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Duration in seconds for which orders are placed
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// Directory for the results
    #[arg(long, default_value = "bench/out")]
    out: PathBuf,
}

/// The figures of a run. Processor shares are relative to one core.
#[derive(Debug, Serialize)]
struct Measured {
    watchers: usize,
    rate: u32,
    moves: i64,
    median_ms: f64,
    p99_ms: f64,
    worst_ms: f64,
    bytes_per_watcher: u64,
    mean_look_ms: f64,
    idle_database_share: f64,
    idle_front_end_share: f64,
    busy_database_share: f64,
    busy_front_end_share: f64,
}

/// Records when each status change is committed. A deferred trigger runs when COMMIT begins.
const NOTE_MOVES: [&str; 5] = [
    "CREATE SCHEMA bench",
    "CREATE TABLE bench.moves (order_id uuid, version integer, at timestamptz)",
    "CREATE TABLE bench.notified (order_id uuid, version integer, since timestamptz, at timestamptz)",
    "CREATE FUNCTION bench.moved() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN INSERT INTO bench.moves VALUES (NEW.id, NEW.version, clock_timestamp()); RETURN NULL; END $$",
    "CREATE CONSTRAINT TRIGGER moved AFTER UPDATE ON orders.orders DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW EXECUTE FUNCTION bench.moved()",
];

/// The first queues of an order. They are purged before the worker starts, so that the idle watchers' orders never
/// change.
const FIRST_QUEUES: [&str; 2] = ["payment.order-created", "email.order-created"];

/// How long to measure with idle watchers only.
const IDLE: Duration = Duration::from_secs(10);

/// The maximum number of concurrent handshakes.
const AT_ONCE: usize = 64;

/// Measures, prints the figures and writes them below `out`.
pub async fn run(arguments: Arguments) -> std::io::Result<()> {
    let mut shop = Shop::open().await;
    for statement in NOTE_MOVES {
        shop.execute(statement).await;
    }
    let places = (arguments.watchers * 2).max(1_000).to_string();
    let web = Arc::new(shop.start_web_with(&[QUIET[0], ("LIVE_WATCHERS", &places)]).await);
    let still = web.orders(arguments.watchers, "MUG-BLUE", VISA).await;
    shop.until_published().await;
    for queue in FIRST_QUEUES {
        shop.manage(reqwest::Method::DELETE, &format!("queues/{{vhost}}/{queue}/contents")).await;
    }
    shop.start_worker_with(&[], &QUIET).await;

    let front_end = shop.webs()[0].id();
    let before = memory(front_end, "RssAnon").unwrap_or_default();
    let connecting = still.iter().map(|order| web.watch(order, None));
    let sockets: Vec<Watcher> = futures::stream::iter(connecting).buffer_unordered(AT_ONCE).collect().await;
    let mut waiting: JoinSet<()> = sockets.into_iter().map(wait).collect();
    let database = backends(&shop).await;
    let used = || (cpu::of(&database), cpu::of(&[front_end]));
    let idle = share(&used, tokio::time::sleep(IDLE)).await;
    let bytes = (memory(front_end, "RssAnon").unwrap_or_default().saturating_sub(before)) * 1024;
    let bytes_per_watcher = bytes / u64::try_from(arguments.watchers.max(1)).unwrap_or(1);

    let mut notified = Vec::new();
    let busy = share(&used, async { notified = place(&web, arguments.rate, arguments.seconds).await }).await;
    let operators = shop.webs()[0].logged_address("at").await;
    let scrape = Scrape::of(operators).await;
    let look = |what: &str| scrape.sum(&format!("orderflow_live_look_seconds_{what}"), &[]);
    for rows in notified.chunks(1_000) {
        shop.execute(&format!("INSERT INTO bench.notified VALUES {}", rows.join(","))).await;
    }
    let micros = |what: &str| {
        format!(
            "SELECT coalesce(round(({what} (ORDER BY extract(epoch FROM notified.at - moves.at)))::numeric * 1e6), 0)
             FROM bench.notified JOIN bench.moves USING (order_id, version) WHERE moves.at > notified.since"
        )
    };
    let at =
        async |share: &str| milliseconds(shop.number(&micros(&format!("percentile_disc({share}) WITHIN GROUP"))).await);
    let measured = Measured {
        watchers: arguments.watchers,
        rate: arguments.rate,
        moves: shop
            .number("SELECT count(*) FROM bench.notified JOIN bench.moves USING (order_id, version) WHERE moves.at > notified.since")
            .await,
        median_ms: at("0.5").await,
        p99_ms: at("0.99").await,
        worst_ms: at("1").await,
        bytes_per_watcher,
        mean_look_ms: look("sum") / look("count") * 1e3,
        idle_database_share: idle.0,
        idle_front_end_share: idle.1,
        busy_database_share: busy.0,
        busy_front_end_share: busy.1,
    };
    println!("{measured:#?}");
    waiting.abort_all();
    while waiting.join_next().await.is_some() {}
    fs::create_dir_all(&arguments.out)?;
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let path = arguments.out.join(format!("live-{seconds}.json"));
    fs::write(&path, serde_json::to_string_pretty(&measured)?)?;
    println!("written: {}", path.display());
    Ok(())
}

/// Returns the ids of the PostgreSQL processes that serve the front end. Those of workers have another application
/// name.
async fn backends(shop: &Shop) -> Vec<u32> {
    let mine = "FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'orderflow %'";
    let mut found = Vec::new();
    for place in 0..shop.number(&format!("SELECT count(*) {mine}")).await {
        let pid = shop.number(&format!("SELECT pid {mine} ORDER BY pid OFFSET {place} LIMIT 1")).await;
        found.extend(u32::try_from(pid));
    }
    found
}

/// Runs `work` and returns the shares of a core that were used meanwhile: by the database for the front end, and by the
/// front end itself.
async fn share(used: &impl Fn() -> (f64, f64), work: impl Future<Output = ()>) -> (f64, f64) {
    let (began, before) = (Instant::now(), used());
    work.await;
    let (after, took) = (used(), began.elapsed().as_secs_f64());
    ((after.0 - before.0) / took, (after.1 - before.1) / took)
}

/// Reads messages, mostly pings, until the socket is closed.
async fn wait(mut socket: Watcher) {
    while !matches!(socket.said().await, Said::Closed(_)) {}
}

/// Places this many orders per second and watches each until it is final. Returns the notifications of all watchers as
/// rows for `bench.notified`.
async fn place(web: &Arc<Web>, rate: u32, seconds: u32) -> Vec<String> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    let mut following = JoinSet::new();
    for _ in 0..rate * seconds {
        ticks.tick().await;
        let web = Arc::clone(web);
        following.spawn(async move {
            let order = web.order("MUG-BLUE", 1, VISA).await;
            let socket = web.watch(&order, Some(0)).await;
            follow(&order, socket).await
        });
    }
    following.join_all().await.into_iter().flatten().collect()
}

async fn follow(order: &Order, mut socket: Watcher) -> Vec<String> {
    let mut notified = Vec::new();
    let since = now();
    loop {
        match socket.said().await {
            Said::Message(message) => {
                if let Some(version) = message["entry"]["version"].as_i64() {
                    notified.push(format!(
                        "('{}', {version}, to_timestamp({since}), to_timestamp({}))",
                        order.id,
                        now()
                    ));
                }
            }
            Said::Ping => {}
            Said::Closed(_) => return notified,
        }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn milliseconds(micros: i64) -> f64 {
    i32::try_from(micros).map_or(f64::NAN, f64::from) / 1e3
}
