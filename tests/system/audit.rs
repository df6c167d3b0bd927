//! `orderflow audit`: a shop in which all holds, and one in which every rule is broken once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use diesel_async::SimpleAsyncConnection as _;
use orderflow_tests::{DECLINED, Ended, Order, Shop, Typed, VISA, Web, run, run_for, run_on_terminal};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    commands::{NOWHERE, ended, with},
    why::FILTERS,
};

async fn audit(shop: &Shop, arguments: &[&str]) -> Ended {
    run("orderflow", &[&["audit"], arguments].concat(), &shop.operator_settings()).await
}

async fn json(shop: &Shop, code: i32, arguments: &[&str]) -> Value {
    let found = audit(shop, &[&["--json"], arguments].concat()).await;
    assert_eq!((found.code, found.err.as_str()), (Some(code), ""), "{found:?}");
    serde_json::from_str(&found.out).expect("JSON")
}

/// Which order, or product, a case breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Of {
    /// One that has shipped.
    Shipped,
    /// One that the carrier refused: released, refunded and cancelled.
    Cancelled,
    /// One that no worker has seen.
    Pending,
    /// None: an id that no order has.
    Nobody,
    /// No order, but this product.
    Product(&'static str),
}
use Of::{Cancelled, Nobody, Pending, Product, Shipped};

/// What a broken safeguard, or a hand in the database, would leave behind, and the rule by which it has to be found.
const CASES: [(&str, Of, &str); 37] = [
    (
        "log-orphan",
        Nobody,
        "INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, data) VALUES ('ORDER', 1, gen_random_uuid(), 'order.created', '/orderflow/web', now(), gen_random_uuid(), '{}')",
    ),
    ("log-gap", Shipped, "DELETE FROM messaging.event_log WHERE order_id = 'ORDER' AND version = 2"),
    ("illegal-step", Shipped, "SELECT pg_temp.say('ORDER', 'inventory.released')"),
    ("twice", Shipped, "SELECT pg_temp.say('ORDER', 'payment.completed')"),
    ("contradiction", Shipped, "SELECT pg_temp.say('ORDER', 'shipment.cancelled')"),
    (
        "cause",
        Shipped,
        "UPDATE messaging.event_log SET causation_id = gen_random_uuid() WHERE order_id = 'ORDER' AND version = 3",
    ),
    ("status", Shipped, "UPDATE orders.orders SET status = 'reserved' WHERE id = 'ORDER'"),
    (
        "stuck",
        Pending,
        "UPDATE messaging.event_log SET occurred_at = now() - interval '2 hours' WHERE order_id = 'ORDER'; INSERT INTO messaging.inbox (event_id, subscription) SELECT event_id, 'payment.order-created' FROM messaging.event_log WHERE order_id = 'ORDER'",
    ),
    (
        "unapplied",
        Pending,
        "UPDATE messaging.event_log SET occurred_at = now() - interval '2 hours' WHERE order_id = 'ORDER'",
    ),
    (
        "unpublished",
        Shipped,
        "INSERT INTO messaging.outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, created_at, available_at) SELECT event_id, order_id, event, source, occurred_at, correlation_id, '{}', now() - interval '2 hours', now() + interval '1 hour' FROM messaging.event_log WHERE order_id = 'ORDER' AND version = 4",
    ),
    ("total", Shipped, "UPDATE orders.items SET price = price + 1 WHERE order_id = 'ORDER'"),
    ("behind", Shipped, "UPDATE orders.orders SET status = 'reserved', version = 3 WHERE id = 'ORDER'"),
    (
        "payment-orphan",
        Nobody,
        "INSERT INTO payment.payments (order_id, payment_id, status, amount, currency) VALUES ('ORDER', 'pay_0', 'voided', 1, 'EUR')",
    ),
    (
        "charged",
        Cancelled,
        "UPDATE payment.payments SET status = 'succeeded', refund_id = NULL WHERE order_id = 'ORDER'",
    ),
    ("chargeable", Cancelled, "DELETE FROM payment.payments WHERE order_id = 'ORDER'"),
    (
        "shipped-unpaid",
        Shipped,
        "UPDATE payment.payments SET status = 'refunded', refund_id = 're_0' WHERE order_id = 'ORDER'",
    ),
    (
        "refund",
        Cancelled,
        "UPDATE payment.payments SET status = 'voided', refund_id = NULL, charge_id = NULL WHERE order_id = 'ORDER'",
    ),
    (
        "refund-amount",
        Cancelled,
        "UPDATE messaging.event_log SET data = data || '{\"amount\": 1}' WHERE order_id = 'ORDER' AND event = 'payment.refunded'",
    ),
    ("payment-amount", Shipped, "UPDATE payment.payments SET amount = amount + 1 WHERE order_id = 'ORDER'"),
    (
        "payment-unsaid",
        Pending,
        "INSERT INTO payment.payments (order_id, payment_id, status, amount, currency, charge_id) VALUES ('ORDER', 'pay_1', 'succeeded', 1499, 'EUR', 'ch_1')",
    ),
    ("payment-lost", Shipped, "DELETE FROM payment.payments WHERE order_id = 'ORDER'"),
    ("stock-orphan", Nobody, "INSERT INTO inventory.reservations (order_id, outcome) VALUES ('ORDER', 'rejected')"),
    (
        "stock-held",
        Cancelled,
        "WITH kept AS (DELETE FROM inventory.movements WHERE order_id = 'ORDER' AND kind = 'released' RETURNING *) UPDATE inventory.stock SET available = available - kept.quantity FROM kept WHERE stock.sku = kept.sku",
    ),
    (
        "stock-not-held",
        Shipped,
        "WITH gone AS (DELETE FROM inventory.movements WHERE order_id = 'ORDER' RETURNING *) UPDATE inventory.stock SET available = available - gone.quantity FROM gone WHERE stock.sku = gone.sku",
    ),
    (
        "released-twice",
        Cancelled,
        "UPDATE inventory.movements SET quantity = quantity * 2 WHERE order_id = 'ORDER' AND kind = 'released'; UPDATE inventory.stock SET available = available + 1 WHERE sku = 'BATTERY-BULK'",
    ),
    ("reservable", Cancelled, "DELETE FROM inventory.reservations WHERE order_id = 'ORDER'"),
    (
        "reservation-unsaid",
        Pending,
        "INSERT INTO inventory.reservations (order_id, outcome) VALUES ('ORDER', 'rejected')",
    ),
    ("reservation-lost", Shipped, "DELETE FROM inventory.reservations WHERE order_id = 'ORDER'"),
    ("parcel-orphan", Nobody, "INSERT INTO shipping.shipments (order_id, status) VALUES ('ORDER', 'booking')"),
    ("parcel", Cancelled, "UPDATE shipping.shipments SET status = 'booking', reason = NULL WHERE order_id = 'ORDER'"),
    ("shipment-unsaid", Pending, "INSERT INTO shipping.shipments (order_id, status) VALUES ('ORDER', 'cancelled')"),
    ("shipment-lost", Shipped, "DELETE FROM shipping.shipments WHERE order_id = 'ORDER'"),
    (
        "mail-orphan",
        Nobody,
        "INSERT INTO email.mails (order_id, kind, message_id, sent_at) VALUES ('ORDER', 'received', 'ORDER', now())",
    ),
    (
        "mail-unsent",
        Shipped,
        "UPDATE email.mails SET sent_at = NULL, created_at = now() - interval '2 hours' WHERE order_id = 'ORDER' AND kind = 'shipped'",
    ),
    ("key-missing", Shipped, "DELETE FROM orders.idempotency_keys WHERE order_id = 'ORDER'"),
    (
        "order-lost",
        Nobody,
        "INSERT INTO orders.idempotency_keys (key, fingerprint, order_id, created_at) VALUES ('a key of an order that is gone', '', 'ORDER', now())",
    ),
    ("stock-sum", Product("TEAPOT-1L"), "UPDATE inventory.stock SET available = available + 1 WHERE sku = 'TEAPOT-1L'"),
];

/// This one by itself, since it takes a constraint away.
const BELOW_ZERO: (&str, Of, &str) = (
    "stock-below-zero",
    Product("LAMP-SOLDOUT"),
    "ALTER TABLE inventory.stock DROP CONSTRAINT stock_available_check; UPDATE inventory.stock SET available = -1 WHERE sku = 'LAMP-SOLDOUT'",
);

/// Writes a further event into an order's log, caused by the last.
const SAY: &str = "
CREATE FUNCTION pg_temp.say(named uuid, what text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, data)
    SELECT order_id, version + 1, gen_random_uuid(), what, source, occurred_at, correlation_id, event_id, '{}'
    FROM messaging.event_log WHERE order_id = named ORDER BY version DESC LIMIT 1
$$";

fn cases() -> impl Iterator<Item = (&'static str, Of, &'static str)> {
    CASES.into_iter().chain([BELOW_ZERO])
}

/// This many orders, in the order of their ids.
async fn placed(web: &Web, count: usize, sku: &str) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = web.orders(count, sku, VISA).await.iter().map(|order| order.id).collect();
    ids.sort_unstable();
    ids
}

/// A shop in which all holds, with an order for every case.
async fn sound() -> (Shop, BTreeMap<Of, Vec<Uuid>>) {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let wanted = |of: Of| cases().filter(|(_, other, _)| *other == of).count();
    let shipped = placed(&web, wanted(Shipped), "MUG-BLUE").await;
    let cancelled = placed(&web, wanted(Cancelled), "BATTERY-BULK").await;
    web.order("MUG-BLUE", 1, DECLINED).await;
    shop.until_quiet().await;
    let stop = shop.workers().drain(..).collect::<Vec<_>>();
    for worker in stop {
        worker.stop().await;
    }
    let asked: Order = web.order("MUG-BLUE", 1, VISA).await;
    web.cancel(&asked).await;
    // One more, which parks.
    let pending = placed(&web, wanted(Pending) + 1, "MUG-BLUE").await;
    shop.until_published().await;
    let nobody = (0..wanted(Nobody)).map(|_| Uuid::now_v7()).collect();
    (shop, BTreeMap::from([(Shipped, shipped), (Cancelled, cancelled), (Pending, pending), (Nobody, nobody)]))
}

/// As it would be told to a person, line by line.
fn scrubbed(text: &str) -> String {
    text.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn all_holds_in_a_sound_shop_and_each_broken_rule_is_named_with_its_order() {
    let (shop, mut orders) = sound().await;
    let sound = audit(&shop, &[]).await;
    assert_eq!((sound.code, sound.err.as_str()), (Some(0), ""), "{sound:?}");
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("sound", scrubbed(&sound.out)) });
    let report = json(&shop, 0, &[]).await;
    assert_eq!((&report["ok"], &report["complete"]), (&true.into(), &true.into()));
    assert_eq!(report["orders"], shop.number("SELECT count(*) FROM orders.orders").await);
    let checks: BTreeSet<_> = report["checks"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert_eq!(checks, cases().map(|(check, ..)| check).collect(), "every check has a case, and every case a check");
    let runbook = include_str!("../../docs/RUNBOOK.md");
    let unexplained: Vec<_> = checks.iter().filter(|check| !runbook.contains(&format!("`{check}`"))).collect();
    assert!(unexplained.is_empty(), "docs/RUNBOOK.md says nothing of {unexplained:?}");

    let parked = orders.get_mut(&Pending).and_then(Vec::pop).expect("one more");
    let mut database = shop.database().await;
    database.batch_execute(SAY).await.expect("a function");
    let mut broken: Vec<(&str, String)> = Vec::new();
    for (check, of, sql) in cases() {
        let named = match of {
            Product(sku) => sku.to_owned(),
            of => orders.get_mut(&of).map(|ids| ids.remove(0)).expect("enough").to_string(),
        };
        database
            .batch_execute(&sql.replace("ORDER'", &format!("{named}'")))
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
        broken.push((check, named));
    }
    let park = format!(
        "UPDATE messaging.event_log SET occurred_at = now() - interval '2 hours' WHERE order_id = '{parked}';
         INSERT INTO messaging.inbox (event_id, subscription)
         SELECT event_id, 'email.order-created' FROM messaging.event_log WHERE order_id = '{parked}';
         INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
         SELECT event_id, 'payment.order-created', 7, 'the bank is on fire', 'orderflow-worker @h 1', now()
         FROM messaging.event_log WHERE order_id = '{parked}'"
    );
    database.batch_execute(&park).await.expect("it can be parked");

    let report = json(&shop, 1, &["--limit", "1000"]).await;
    let violations = report["violations"].as_array().expect("a list");
    assert_eq!(report["violations_in_all"], violations.len());
    for (check, named) in &broken {
        let of = |violation: &Value| violation["order_id"] == **named || violation["sku"] == **named;
        let found: Vec<_> = violations.iter().filter(|violation| of(violation)).collect();
        let one = found.iter().find(|violation| violation["check"] == **check);
        let one = one.unwrap_or_else(|| panic!("{check} of {named} is not found, but {found:?}"));
        assert!(one["what"].as_str().is_some_and(|what| !what.is_empty()), "{one}");
        assert!(one["remedy"].as_str().is_some_and(|remedy| !remedy.contains("ORDER")), "{one}");
    }
    let strangers: Vec<_> = violations
        .iter()
        .filter(|violation| {
            !broken.iter().any(|(_, named)| violation["order_id"] == **named || violation["sku"] == **named)
        })
        .collect();
    assert!(strangers.is_empty(), "nobody broke {strangers:?}");
    assert_eq!((&report["parked_in_all"], &report["parked"][0]["order_id"]), (&1.into(), &parked.to_string().into()));

    let text = audit(&shop, &["--limit", "1000"]).await;
    assert_eq!((text.code, text.err.as_str()), (Some(1), ""), "{text:?}");
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("broken", scrubbed(&text.out)) });
    narrowed(&shop, &broken, parked).await;
}

/// The same shop, looked at in part.
async fn narrowed(shop: &Shop, broken: &[(&str, String)], parked: Uuid) {
    let few = audit(shop, &["--limit", "2"]).await;
    ended(&few, 1, &["more violations are not told", "1 unpublished", "parked: "]);
    assert_eq!(few.out.lines().filter(|line| line.contains(" -> ")).count(), 3, "{few:?}");
    let (_, charged) = broken.iter().find(|(check, _)| *check == "charged").expect("a case");
    let one = json(shop, 1, &["--order", charged]).await;
    let found: Vec<_> = one["violations"].as_array().expect("a list").iter().map(|one| &one["check"]).collect();
    assert!(
        found.iter().all(|check| ["charged", "refund", "payment-unsaid"].contains(&check.as_str().unwrap_or(""))),
        "{one}"
    );
    assert_eq!(one["orders"], 1);
    let waiting = audit(shop, &["--order", &parked.to_string()]).await;
    ended(
        &waiting,
        0,
        &["the bank is on fire", "dlq replay --queue payment.order-created --order", "all holds, 1 dead letter"],
    );
    let by_number = one["violations"][0]["number"].as_str().expect("a number");
    ended(&audit(shop, &["--order", by_number]).await, 1, &["Audited 1 order by"]);
    ended(&audit(shop, &["--order", "0000000000"]).await, 1, &["there is no order 0000000000"]);
    ended(&audit(shop, &["--order", "teapot"]).await, 2, &["ten characters"]);
    ended(&audit(shop, &["--since", "7d", "--order", charged]).await, 2, &["cannot be used with"]);
    let patient = json(shop, 1, &["--since", "1d", "--stuck-after", "3h"]).await;
    assert_eq!((&patient["by_check"]["unapplied"], &patient["by_check"]["stuck"]), (&Value::Null, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_checked_ends_with_status_three() {
    let nowhere = with(Vec::new(), &[("DATABASE_URL", &format!("postgres://orderflow:hush@{NOWHERE}/orderflow"))]);
    let away = run("orderflow", &["audit"], &nowhere).await;
    ended(&away, 3, &["no database connection"]);
    assert!(!away.err.contains("hush"), "{away:?}");
    ended(&run("orderflow", &["audit"], &[]).await, 2, &["DATABASE_URL is not set"]);
    let shop = Shop::open().await;
    ended(&audit(&shop, &["--stuck-after", "300000y"]).await, 2, &["--stuck-after"]);
    shop.execute("ALTER VIEW payment.v_payments RENAME TO away").await;
    ended(
        &audit(&shop, &[]).await,
        3,
        &["Audited 0 orders by", "no violation so far, and it had to stop.", "v_payments", "`orderflow doctor`"],
    );
    shop.execute("DELETE FROM public.__diesel_schema_migrations WHERE version = (SELECT max(version) FROM public.__diesel_schema_migrations)").await;
    ended(&audit(&shop, &[]).await, 3, &["`orderflow migrate`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bar_is_shown_on_a_terminal_alone() {
    let shop = Shop::open().await;
    let quiet = audit(&shop, &[]).await;
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""), "{quiet:?}");
    let settings = with(shop.operator_settings(), &[("TERM", "xterm")]);
    let shown = run_on_terminal("orderflow", &["audit"], &settings, "orders,", Typed::End).await;
    ended(&shown, 0, &["0 orders,", "Audited 0 orders by"]);
    let json = run_on_terminal("orderflow", &["audit", "--json"], &settings, "{", Typed::End).await;
    assert!(json.out.trim_start().starts_with('{'), "{json:?}");
    shop.close().await;
}

/// Orders of the last 30 days: of twenty one is declined, one cancelled, and the others have shipped.
const FILL: &str = "
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

/// Which subscription took which event, as the workers would have written it.
fn applied() -> String {
    let takes: Vec<_> = orderflow::broker::Subscription::ALL
        .iter()
        .map(|subscription| format!("('{}', '{}')", subscription.kind(), subscription.queue()))
        .collect();
    format!(
        "INSERT INTO messaging.inbox (event_id, subscription)
         SELECT event_id, subscription FROM messaging.event_log
         JOIN (VALUES {}) AS takes (event, subscription) USING (event) ORDER BY event_id",
        takes.join(", ")
    )
}

/// How often each table was read as a whole, and how many rows of it were read by an index, as PostgreSQL counts them.
const READS: &str = "
SELECT coalesce(sum(seq_scan), 0) FROM pg_stat_user_tables
WHERE schemaname IN ('orders', 'messaging', 'payment', 'shipping', 'email')
   OR schemaname = 'inventory' AND relname <> 'stock'";
const BY_INDEX: &str = "SELECT coalesce(sum(idx_tup_read), 0) FROM pg_stat_user_indexes";

/// With `AUDIT_ORDERS` in the environment it is another number of orders.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "fills a database with a hundred thousand orders: `make test-full` runs it"]
async fn a_hundred_thousand_orders_are_audited_by_index_and_in_short_transactions() {
    let orders = std::env::var("AUDIT_ORDERS").ok().and_then(|orders| orders.parse().ok()).unwrap_or(100_000_i64);
    let shop = Shop::open().await;
    let mut database = shop.database().await;
    database.batch_execute(&FILL.replace("ORDERS", &orders.to_string())).await.expect("it can be filled");
    database.batch_execute(&applied()).await.expect("it can be filled");
    // Otherwise PostgreSQL does it by itself in the middle of the audit, and its reading of whole tables is counted.
    database.batch_execute("VACUUM (ANALYZE)").await.expect("it can be counted");
    // Counted when their connection ends.
    drop(database);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = (shop.number(READS).await, shop.number(BY_INDEX).await);
    // A millisecond for each on a machine that others keep busy. That nothing is read again and again is asserted below.
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
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = (shop.number(READS).await, shop.number(BY_INDEX).await);
    let by_index = after.1 - before.1;
    println!("{orders} orders in {took:?}; longest transaction and statement {longest:?} ms; {by_index} rows by index");
    ended(&audited, 0, &["\"ok\": true", &format!("\"orders\": {orders},")]);
    assert_eq!(after.0 - before.0, 0, "a table was read as a whole");
    // Some thirty rows belong to an order, and each is looked at a few times.
    assert!(by_index < orders * 300, "{by_index} rows were read by an index");
    assert!(longest.0 < 5_000, "a transaction took {longest:?} ms");
}

/// How long, in milliseconds, its transaction and its statement of this moment have run.
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
