//! The audit of a large database: in parts, by index, and without long transactions.

use std::time::{Duration, Instant};

use diesel_async::SimpleAsyncConnection as _;
use orderflow_service::store::missing::Taken;
use orderflow_tests::{Shop, run_for, until};
use orderflow_worker::roster;

use crate::commands::ended;

/// Orders of the last 30 days: of every twenty, one is declined, one is cancelled, and the others have shipped.
pub const FILL: &str = "
CREATE TABLE public.fill AS
    SELECT n, lpad(to_hex(ms), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0') AS id, ms,
           CASE n % 20 WHEN 0 THEN 'declined' WHEN 1 THEN 'cancelled' ELSE 'shipped' END AS kind
    FROM (SELECT n, (extract(epoch FROM now()) * 1000)::bigint - 2592000000 + n * (2592000000 / ORDERS) AS ms
          FROM generate_series(1, ORDERS) AS n) AS numbered;
INSERT INTO orders.orders (id, number, status, version, total, currency, customer_name, customer_email, address_line1,
                           city, postal_code, country, payment_method, created_at, updated_at)
    SELECT id::uuid, 'N' || n, CASE kind WHEN 'declined' THEN 'payment_failed' ELSE kind END,
           CASE kind WHEN 'declined' THEN 2 WHEN 'cancelled' THEN 7 ELSE 4 END, 1499, 'EUR', 'Ada', n || '@example.org',
           '1 Main Street', 'London', 'N1', 'GB', 'pm_card_visa', to_timestamp(ms / 1000.0), to_timestamp(ms / 1000.0)
    FROM public.fill;
INSERT INTO orders.items (order_id, line, sku, name, quantity, price)
    SELECT id::uuid, 1, 'MUG-BLUE', 'Blue stoneware mug', 1, 1499 FROM public.fill;
INSERT INTO orders.idempotency_keys (key, fingerprint, order_id, created_at)
    SELECT id, '', id, created_at FROM orders.orders WHERE created_at > now() - interval '24 hours';
INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, data)
    SELECT id::uuid, version, (overlay(id PLACING '9' || version || '00' FROM 17))::uuid, event, '/orderflow/test',
           to_timestamp(ms / 1000.0), id::uuid,
           CASE version WHEN 1 THEN NULL ELSE (overlay(id PLACING '9' || (version - 1) || '00' FROM 17))::uuid END,
           '{\"amount\": 1499, \"currency\": \"EUR\", \"payment_id\": \"pay_0198f1c27c007000800000000000000a\"}'
    FROM public.fill JOIN (VALUES
        ('shipped', 1, 'order.created'), ('shipped', 2, 'payment.completed'), ('shipped', 3, 'inventory.reserved'),
        ('shipped', 4, 'shipment.created'), ('declined', 1, 'order.created'), ('declined', 2, 'payment.failed'),
        ('cancelled', 1, 'order.created'), ('cancelled', 2, 'payment.completed'), ('cancelled', 3, 'inventory.reserved'),
        ('cancelled', 4, 'shipment.failed'), ('cancelled', 5, 'inventory.released'), ('cancelled', 6, 'payment.refunded'),
        ('cancelled', 7, 'order.cancelled')) AS history (kind, version, event) USING (kind)
    ORDER BY n, version;
INSERT INTO payment.payments (order_id, payment_id, status, amount, currency, charge_id, refund_id, reason)
    SELECT id::uuid, 'pay_' || n, CASE kind WHEN 'shipped' THEN 'succeeded' WHEN 'cancelled' THEN 'refunded' ELSE kind END,
           1499, 'EUR', CASE kind WHEN 'declined' THEN NULL ELSE 'ch_' || n END,
           CASE kind WHEN 'cancelled' THEN 're_' || n END, CASE kind WHEN 'declined' THEN 'card_declined' END
    FROM public.fill;
INSERT INTO inventory.reservations (order_id, outcome)
    SELECT id::uuid, CASE kind WHEN 'shipped' THEN 'reserved' ELSE 'released' END FROM public.fill WHERE kind <> 'declined';
INSERT INTO inventory.movements (sku, kind, quantity, order_id, occurred_at)
    SELECT 'MUG-BLUE', 'reserved', -1, id::uuid, to_timestamp(ms / 1000.0) FROM public.fill WHERE kind <> 'declined' ORDER BY n;
INSERT INTO inventory.movements (sku, kind, quantity, order_id, occurred_at)
    SELECT 'MUG-BLUE', 'released', 1, id::uuid, to_timestamp(ms / 1000.0) FROM public.fill WHERE kind = 'cancelled' ORDER BY n;
UPDATE inventory.stock SET available = (SELECT sum(quantity) FROM inventory.movements AS m WHERE m.sku = stock.sku)
    WHERE sku = 'MUG-BLUE';
INSERT INTO shipping.shipments (order_id, status, tracking_number, reason)
    SELECT id::uuid, CASE kind WHEN 'shipped' THEN 'created' ELSE 'refused' END,
           CASE kind WHEN 'shipped' THEN 'SIM' || n END, CASE kind WHEN 'cancelled' THEN 'not_shippable' END
    FROM public.fill WHERE kind <> 'declined';
INSERT INTO email.mails (order_id, kind, message_id, sent_at)
    SELECT id::uuid, mail, id || '.' || mail, now() FROM public.fill, LATERAL (VALUES ('received'), (kind)) AS mails (mail);
";

/// Returns the SQL that fills the inbox as the workers would have.
pub fn applied() -> String {
    let Taken { events, subscriptions } = Taken::of(roster(), roster().subscriptions());
    let takes: Vec<_> =
        events.iter().zip(subscriptions).map(|(event, queue)| format!("('{event}', '{queue}')")).collect();
    format!(
        "INSERT INTO messaging.inbox (event_id, subscription)
         SELECT event_id, subscription FROM messaging.event_log
         JOIN (VALUES {}) AS takes (event, subscription) USING (event) ORDER BY event_id",
        takes.join(", ")
    )
}

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
    let mut database = shop.database().await;
    database.batch_execute(&FILL.replace("ORDERS", &orders.to_string())).await.expect("it can be filled");
    database.batch_execute(&applied()).await.expect("it can be filled");
    // Otherwise autovacuum may run during the audit, and its sequential scans would be counted.
    database.batch_execute("VACUUM (ANALYZE)").await.expect("it can be analysed");
    drop(database);
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
