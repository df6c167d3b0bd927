//! Queries by key never read a whole table, whether in a new shop whose tables have no statistics yet or in one with
//! a million events.

use std::collections::BTreeMap;

use diesel_async::SimpleAsyncConnection as _;
use orderflow_tests::{DECLINED, Order, Shop, VISA, Web, history, run, until};
use reqwest::Method;

use crate::{
    admin::{ADA, start_web_for_operators},
    commands::ended,
};

/// Tables with a row per product, process or the like, which do not grow with orders or events.
const SMALL: &str = "'products', 'stock', 'queue_pace', 'services', 'audits', '__diesel_schema_migrations'";

/// Returns the number of sequential scans of each table that the server has counted.
async fn scans(shop: &Shop) -> BTreeMap<String, i64> {
    let counted = shop
        .text(&format!(
            "SELECT coalesce(string_agg(schemaname || '.' || relname || '=' || seq_scan, ','), '')
             FROM pg_stat_user_tables WHERE relname NOT IN ({SMALL}) AND schemaname <> 'public'"
        ))
        .await;
    let table = |one: &str| {
        let (name, count) = one.split_once('=')?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    counted.split(',').filter_map(table).collect()
}

/// Places orders that ship, fail or need retries, and returns those that ship at the first attempt.
async fn orders_of_each_end(web: &Web) -> Vec<Order> {
    let (shipped, declined) = (web.orders(40, "MUG-BLUE", VISA).await, web.orders(5, "MUG-BLUE", DECLINED).await);
    let flaky = web.orders(5, "MUG-BLUE", "pm_card_flaky").await;
    for order in shipped.iter().chain(&flaky) {
        web.until_status(order, "shipped").await;
    }
    for order in &declined {
        web.until_status(order, "payment_failed").await;
    }
    shipped
}

/// Stops the shop's processes: PostgreSQL counts a connection's reads at the latest when the connection ends.
async fn until_counted(shop: &mut Shop) {
    for process in shop.webs().drain(..).collect::<Vec<_>>() {
        process.stop().await;
    }
    for process in shop.workers().drain(..).collect::<Vec<_>>() {
        process.stop().await;
    }
    until("the server has counted the reads", async || {
        let reads = "SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_user_tables WHERE relname = 'event_log'";
        let count = shop.number(reads).await;
        if count >= 45 { Ok(()) } else { Err(count) }
    })
    .await;
    until("every connection of the shop has ended", async || {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'orderflow%'";
        let count = shop.number(open).await;
        if count == 0 { Ok(()) } else { Err(count) }
    })
    .await;
}

/// Returns the tables that were read as a whole since `before`.
async fn read_since(shop: &Shop, before: &BTreeMap<String, i64>) -> Vec<String> {
    let more = |(table, count): (String, i64)| {
        let earlier = before.get(&table).copied().unwrap_or_default();
        (count > earlier).then(|| format!("{table} {} times", count - earlier))
    };
    scans(shop).await.into_iter().filter_map(more).collect()
}

/// Keeps PostgreSQL from gathering statistics, which it otherwise does once a minute.
const NO_STATISTICS: &str = "DO $$ DECLARE name regclass; BEGIN
    FOR name IN SELECT relid FROM pg_stat_user_tables LOOP
        EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = off)', name);
    END LOOP;
END $$";

/// Orders placed one by one.
const ALONE: i64 = 150;

/// The most rows of a table that these orders may read by index: 40 for each. Each has about 4 events and 8 deliveries.
/// The outbox is not bounded, because its index keeps deleted rows for a while.
const MOST: i64 = 40 * (50 + ALONE);

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_ship_fail_or_are_retried_read_no_whole_table() {
    let mut shop = Shop::open().await;
    shop.execute(NO_STATISTICS).await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let before = scans(&shop).await;
    assert!(before.contains_key("messaging.event_log") && before.contains_key("orders.orders"), "{before:?}");
    orders_of_each_end(&web).await;
    // One by one, so that each is a batch: a plan for a batch that reads all orders before it shows.
    for _ in 0..ALONE {
        let order = web.order("MUG-BLUE", 1, VISA).await;
        web.until_status(&order, "shipped").await;
    }
    until_counted(&mut shop).await;
    let read = read_since(&shop, &before).await;
    assert!(read.is_empty(), "whole tables were read: {read:?}");
    let mut many = by_index(&shop).await;
    many.retain(|table, rows| table != "messaging.outbox" && *rows > MOST);
    assert!(many.is_empty(), "more rows were read by index than the orders have: {many:?}");
    shop.close().await;
}

/// With about four events each, these make a million events.
const ORDERS: i64 = 250_000;

/// Limit for the rows of one table that the whole test may read by index: a few times the normal number. A scan of a
/// whole index reads at least five times as many.
const BY_INDEX: i64 = 50_000;

/// Fills the tables that keep the past: the archive, failures and operators' actions.
const PAST: &str = "
INSERT INTO messaging.event_archive (order_id, version, event_id, event, source, occurred_at, correlation_id, data, applied)
    SELECT id, 1, id, 'order.created', '/orderflow/test', now() - interval '1 year', id, '{}', '{payment.order-created}'
    FROM (SELECT ('018e' || substr(md5(n::text), 5))::uuid AS id FROM generate_series(1, 250000) AS n) AS old;
INSERT INTO messaging.attempts (event_id, subscription, attempt, reason, worker, failed_at)
    SELECT md5(n::text)::uuid, 'payment.order-created', 1, 'test', 'test', now() - interval '1 day'
    FROM generate_series(1, 50000) AS n;
INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at, left_at, left_by)
    SELECT md5(n::text)::uuid, 'payment.order-created', 1, 'test', 'test', now() - interval '2 days', now(), 'replayed'
    FROM generate_series(1, 50000) AS n;
INSERT INTO operations.actions (who, role, what, target, details, request_id, outcome)
    SELECT 'test', 'command', 'test', '', '{}', gen_random_uuid(), 'done' FROM generate_series(1, 50000);
";

/// Returns the number of rows of each table that were read by index.
async fn by_index(shop: &Shop) -> BTreeMap<String, i64> {
    let counted = shop
        .text(
            "SELECT string_agg(name || '=' || rows, ',') FROM (
                 SELECT schemaname || '.' || relname AS name, sum(idx_tup_read) AS rows FROM pg_stat_user_indexes GROUP BY 1
             ) AS counted",
        )
        .await;
    counted
        .split(',')
        .filter_map(|one| one.split_once('='))
        .map(|(name, rows)| (name.to_owned(), rows.parse().expect("a number")))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "fills a database with a million events: `make test-full` runs it"]
async fn with_a_million_events_nothing_reads_a_whole_table_or_index() {
    let mut shop = Shop::open().await;
    history::write(&shop, ORDERS).await;
    let mut database = shop.database().await;
    database.batch_execute(PAST).await.expect("it can be filled");
    database.batch_execute("VACUUM (ANALYZE)").await.expect("it can be analysed");
    // An estimate instead of `count(*)`, whose reads the server might count only after `scans` below.
    let events = "SELECT reltuples FROM pg_class WHERE oid = 'messaging.event_log'::regclass";
    assert!(shop.number(events).await >= 1_000_000);
    drop(database);
    let (before, rows) = (scans(&shop).await, by_index(&shop).await);

    let (web, operators) = start_web_for_operators(&mut shop, &[]).await;
    shop.start_worker(&[]).await;
    let orders = orders_of_each_end(&web).await;
    for order in &orders[..5] {
        let mut watcher = web.watch(order, None).await;
        watcher.until_closed().await;
        web.get_of(order, "/timeline").await;
        assert_eq!(web.cancel(order).await.status.as_u16(), 409, "it has shipped");
    }
    let (old, number) = (
        shop.text("SELECT id FROM orders.orders ORDER BY id LIMIT 1").await,
        shop.text("SELECT number FROM orders.orders ORDER BY id DESC LIMIT 1").await,
    );
    for path in [
        "/admin/orders".to_owned(),
        format!("/admin/orders?q={number}"),
        "/admin/orders?q=77@example.org".to_owned(),
        format!("/admin/orders/{old}"),
        "/admin/queues".to_owned(),
        "/admin/dead-letters".to_owned(),
        "/admin/audit".to_owned(),
    ] {
        let answer = operators.ask(ADA, Method::GET, &path, None).await;
        assert_eq!(answer.status.as_u16(), 200, "{path}: {answer:?}");
    }
    let new = orders[0].id.to_string();
    for command in [
        &["why", &old][..],
        &["why", &new],
        &["why", "77@example.org"],
        &["audit", "--order", &new],
        &["audit", "--since", "10m"],
        &["queues"],
        &["dlq", "list"],
        &["stock", "list"],
        &["republish", "--missing", "--since", "10m", "--dry-run"],
        &["retention"],
    ] {
        let began = std::time::Instant::now();
        ended(&run("orderflow", command, &shop.operator_settings()).await, 0, &[]);
        println!("{command:?}: {:?}", began.elapsed());
    }
    until_counted(&mut shop).await;
    let mut read = read_since(&shop, &before).await;
    // The outbox is always nearly empty, because its rows live for milliseconds.
    read.retain(|table| !table.starts_with("messaging.outbox "));
    assert!(read.is_empty(), "whole tables were read: {read:?}");
    // `orderflow audit` deliberately sums all stock movements.
    let many = |(table, count): (String, i64)| {
        let read = count - rows.get(&table).copied().unwrap_or_default();
        println!("{table}: {read} rows by index");
        (read > BY_INDEX).then(|| format!("{table}: {read} rows"))
    };
    let counted = by_index(&shop).await.into_iter().filter(|(table, _)| table != "inventory.movements");
    let many: Vec<String> = counted.filter_map(many).collect();
    assert!(many.is_empty(), "whole indexes were read: {many:?}");
}
