//! A shop under a steady load that records when each order was accepted and shipped.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use orderflow_tests::{Shop, VISA, Web, run, until_measured};
use tokio::task::JoinSet;

use crate::observe::QUIET;

/// Records when each order ships. A deferred trigger runs when COMMIT begins, so the commit itself, a few milliseconds,
/// is not included. `bench.shipped` is unlogged, so that recording costs the database next to nothing.
const NOTE_SHIPPED: [&str; 5] = [
    "CREATE SCHEMA bench",
    "CREATE TABLE bench.placed (part int, order_id uuid, answered timestamptz)",
    "CREATE UNLOGGED TABLE bench.shipped (order_id uuid PRIMARY KEY, at timestamptz)",
    "CREATE FUNCTION bench.shipped() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN INSERT INTO bench.shipped VALUES (NEW.id, clock_timestamp()); RETURN NULL; END $$",
    "CREATE CONSTRAINT TRIGGER shipped AFTER UPDATE ON orders.orders DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW WHEN (NEW.status = 'shipped') EXECUTE FUNCTION bench.shipped()",
];

/// Orders placed before those that count. They make the programs open connections and prepare statements.
const WARM_UP: usize = 100;

/// A shop with one front end and one worker.
pub struct Load {
    /// The shop.
    pub shop: Shop,
    web: Arc<Web>,
    placed: Cell<usize>,
}

/// An accepted order.
pub struct Placed {
    order: String,
    /// When the answer 202 arrived, in seconds since 1970.
    answered: f64,
    /// The time from the request to the answer.
    pub took: Duration,
}

impl Load {
    /// Opens a shop and waits until it has shipped the warm-up orders.
    pub async fn start() -> Self {
        let mut shop = Shop::open().await;
        note_shipped(&shop).await;
        restock(&shop).await;
        let web = Arc::new(shop.start_web_with(&QUIET).await);
        shop.start_worker_with(&[], &QUIET).await;
        web.orders(WARM_UP, "MUG-BLUE", VISA).await;
        let load = Self { shop, web, placed: Cell::new(WARM_UP) };
        load.until_shipped().await;
        load
    }

    /// Places `rate` orders per second for this long, without waiting for the answers to earlier ones. Returns the
    /// orders once all are answered.
    ///
    /// # Panics
    /// Panics if an order is refused.
    pub async fn place(&self, rate: f64, time: Duration) -> Vec<Placed> {
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        let until = Instant::now() + time;
        let mut placing = JoinSet::new();
        while Instant::now() < until {
            ticks.tick().await;
            placing.spawn(place_one(Arc::clone(&self.web)));
        }
        let placed = placing.join_all().await;
        self.placed.set(self.placed.get() + placed.len());
        placed
    }

    /// Writes the times at which these orders were accepted to `bench.placed`, as the orders of this part of the run.
    pub async fn note(&self, part: u32, placed: &[Placed]) {
        for rows in placed.chunks(1_000) {
            let rows: Vec<_> =
                rows.iter().map(|one| format!("({part}, '{}', to_timestamp({}))", one.order, one.answered)).collect();
            self.shop.execute(&format!("INSERT INTO bench.placed VALUES {}", rows.join(","))).await;
        }
    }

    /// Returns how many placed orders have not shipped. The count is from PostgreSQL's statistics, which are up to a
    /// second old.
    pub async fn open(&self) -> i64 {
        let query = "SELECT coalesce(sum(n_tup_ins), 0)::bigint FROM pg_stat_user_tables WHERE schemaname = 'bench' AND relname = 'shipped'";
        i64::try_from(self.placed.get()).unwrap_or(i64::MAX) - self.shop.number(query).await
    }

    /// Waits until every order has shipped.
    pub async fn until_shipped(&self) {
        until_shipped(&self.shop, self.placed.get()).await;
    }
}

/// Starts to record in `bench.shipped` when orders ship.
pub async fn note_shipped(shop: &Shop) {
    for statement in NOTE_SHIPPED {
        shop.execute(statement).await;
    }
}

/// Waits until this many orders are in `bench.shipped`. Counting orders by their status would read the whole table each
/// time.
pub async fn until_shipped(shop: &Shop, orders: usize) {
    let wanted = i64::try_from(orders).unwrap_or(i64::MAX);
    until_measured(&format!("{orders} orders have shipped"), async || {
        let count = shop.number("SELECT count(*) FROM bench.shipped").await;
        if count >= wanted { Ok(()) } else { Err(count) }
    })
    .await;
}

/// Makes a billion mugs orderable. The catalogue's million is sold out after half an hour at 530 orders/s.
async fn restock(shop: &Shop) {
    let set = run("orderflow", &["stock", "set", "MUG-BLUE", "1000000000"], &shop.operator_settings()).await;
    assert_eq!(set.code, Some(0), "{set:?}");
}

async fn place_one(web: Arc<Web>) -> Placed {
    let begin = Instant::now();
    let order = web.order("MUG-BLUE", 1, VISA).await.id.to_string();
    let answered = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    Placed { order, answered, took: begin.elapsed() }
}

/// Returns the 99th percentile of the times to the answer, in milliseconds; NaN without orders.
pub fn accepted_p99(placed: &[Placed]) -> f64 {
    let mut took: Vec<f64> = placed.iter().map(|one| one.took.as_secs_f64() * 1e3).collect();
    took.sort_by(f64::total_cmp);
    took.get(took.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}
