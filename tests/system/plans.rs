//! What finds rows by their keys never reads a whole table, not even in a new shop whose tables have no statistics yet.

use std::collections::BTreeMap;

use orderflow_tests::{DECLINED, Shop, VISA, until};

/// Tables that have a row for each product or process, and grow with neither orders nor events.
const SMALL: &str = "'products', 'stock', 'queue_pace', 'services', 'audits', '__diesel_schema_migrations'";

/// How often each table was read from its beginning to its end since the server counts.
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

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_ship_fail_and_are_cancelled_read_no_whole_table() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let before = scans(&shop).await;
    assert!(before.contains_key("messaging.event_log") && before.contains_key("orders.orders"), "{before:?}");

    let (shipped, declined) = (web.orders(40, "MUG-BLUE", VISA).await, web.orders(5, "MUG-BLUE", DECLINED).await);
    let flaky = web.orders(5, "MUG-BLUE", "pm_card_flaky").await;
    for order in shipped.iter().chain(&flaky) {
        web.until_status(order, "shipped").await;
    }
    for order in &declined {
        web.until_status(order, "payment_failed").await;
    }
    // A process reports what it read when its connections end, if not before.
    for process in shop.webs().drain(..).collect::<Vec<_>>() {
        process.stop().await;
    }
    for process in shop.workers().drain(..).collect::<Vec<_>>() {
        process.stop().await;
    }
    until("the server has counted what was read", async || {
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
    let read: Vec<String> = scans(&shop)
        .await
        .into_iter()
        .filter(|(table, count)| before.get(table).is_none_or(|earlier| count > earlier))
        .map(|(table, count)| format!("{table} {count} times"))
        .collect();
    assert!(read.is_empty(), "whole tables were read: {read:?}");
    shop.close().await;
}
