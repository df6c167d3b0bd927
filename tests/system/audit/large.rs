//! The audit of a large database: in parts, by index, and without long transactions.

use std::time::{Duration, Instant};

use orderflow_tests::{Shop, history, run_for, until};

use crate::commands::ended;

/// PostgreSQL's counts of sequential scans and of index entries read. The tables `outbox` and `services` are excluded:
/// outbox rows exist for milliseconds, and there are few registered services.
const READS: &str = "
SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables
WHERE schemaname IN ('orders', 'messaging', 'payment', 'shipping', 'email') AND relname NOT IN ('outbox', 'services')
   OR schemaname = 'inventory' AND relname <> 'stock'";
const BY_INDEX: &str = "SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes";

/// `AUDIT_ORDERS` in the environment changes the number of orders.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "fills a database with a hundred thousand orders: `make test-full` runs it"]
async fn hundred_thousand_orders_are_audited_by_index_in_short_transactions() {
    let orders = std::env::var("AUDIT_ORDERS").ok().and_then(|orders| orders.parse().ok()).unwrap_or(100_000_i64);
    let shop = Shop::open().await;
    history::write(&shop, orders).await;
    until_counted(&shop).await;
    let before = (shop.number(READS).await, shop.number(BY_INDEX).await);
    // Five milliseconds for each order: about one was measured on a busy machine. The row counts are asserted below.
    let bound = Duration::from_millis(5 * u64::try_from(orders).expect("small"));
    let began = Instant::now();
    let (audited, longest) = {
        let settings = shop.operator_settings();
        let auditing = run_for(bound, "orderflow", &["audit", "--json"], &settings);
        tokio::pin!(auditing);
        let mut longest = (0, 0);
        loop {
            tokio::select! {
                audited = &mut auditing => break (audited, longest),
                seen = longest_so_far(&shop) => longest = (longest.0.max(seen.0), longest.1.max(seen.1)),
            }
        }
    };
    let took = began.elapsed();
    until_counted(&shop).await;
    let after = (shop.number(READS).await, shop.number(BY_INDEX).await);
    let by_index = after.1 - before.1;
    println!("{orders} orders in {took:?}; longest transaction and statement {longest:?} ms; {by_index} rows by index");
    ended(&audited, 0, &["\"ok\": true", &format!("\"orders\": {orders},")]);
    assert_eq!(after.0 - before.0, 0, "a table was scanned sequentially");
    // About thirty rows belong to an order, and each is read a few times.
    assert!(by_index < orders * 300, "{by_index} rows were read by an index");
    assert!(longest.0 < 5_000, "a transaction took {longest:?} ms");
}

/// Waits until the other connections have ended: PostgreSQL counts a connection's reads at the latest when it ends.
async fn until_counted(shop: &Shop) {
    let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    until("the other connections have ended", async || match shop.number(others).await {
        0 => Ok(()),
        left => Err(left),
    })
    .await;
}

/// Returns how long the audit's current transaction and statement have run, in milliseconds.
async fn longest_so_far(shop: &Shop) -> (i64, i64) {
    let of = |what: &str| {
        format!(
            "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - {what}) * 1000)::bigint, 0)
             FROM pg_stat_activity WHERE application_name = 'orderflow audit' AND state <> 'idle'
               AND datname = current_database()"
        )
    };
    tokio::time::sleep(Duration::from_millis(20)).await;
    (shop.number(&of("xact_start")).await, shop.number(&of("query_start")).await)
}
