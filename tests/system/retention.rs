//! `orderflow retention`: finished orders move from the log and the inbox to the archive, without any visible change.

use std::time::Duration;

use diesel_async::SimpleAsyncConnection as _;
use orderflow_events::{EventKind, NewEvent, OrderCancelRequested};
use orderflow_order::token::OrderLinks;
use orderflow_service::{
    broker::names,
    config::LinkConfig,
    store::{StoreError, event_log},
};
use orderflow_tests::{Child, DECLINED, Ended, Order, Shop, VISA, Web, run, until};
use orderflow_worker::roster;
use serde_json::Value;
use uuid::Uuid;

use crate::{commands::ended, why};

/// Longer than the default age.
const DAYS: i64 = 500;

/// The secret with which the tests' front ends sign.
const SECRET: &str = "the secret of every test has no comma";

async fn retention(shop: &Shop, arguments: &[&str]) -> Ended {
    run("orderflow", &[&["retention"], arguments].concat(), &shop.operator_settings()).await
}

/// Runs several statements.
pub async fn script(shop: &Shop, sql: &str) {
    shop.database().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn report(shop: &Shop, arguments: &[&str]) -> Value {
    let told = retention(shop, &[arguments, &["--json"]].concat()).await;
    ended(&told, 0, &[]);
    serde_json::from_str(&told.out).expect("JSON")
}

/// Makes orders look as if they had been placed 500 days earlier: shifts their ids, which begin with their time, and
/// every time in their rows. Returns the orders with their new ids and valid tokens.
pub async fn age(shop: &Shop, orders: &[Order]) -> Vec<Order> {
    let ids: Vec<String> = orders.iter().map(|order| format!("'{}'", order.id)).collect();
    let ids = ids.join(",");
    let (shift, back) = (DAYS * 86_400_000, format!("interval '{DAYS} days'"));
    script(shop, &format!(
        "BEGIN;
         ALTER TABLE orders.items DROP CONSTRAINT items_order_id_fkey;
         CREATE FUNCTION pg_temp.older(id uuid) RETURNS uuid LANGUAGE sql AS $$
             SELECT overlay(replace(id::text, '-', '') PLACING lpad(to_hex(
                 ('x' || lpad(left(replace(id::text, '-', ''), 12), 16, '0'))::bit(64)::bigint - {shift}), 12, '0')
                 FROM 1 FOR 12)::uuid
         $$;
         UPDATE messaging.inbox SET applied_at = applied_at - {back} FROM messaging.event_log AS log
         WHERE log.event_id = inbox.event_id AND log.order_id IN ({ids});
         UPDATE simulator.charges SET reference = pg_temp.older(reference::uuid)::text WHERE reference IN ({ids});
         DO $$ DECLARE target record; BEGIN
             FOR target IN
                 SELECT format('%I.%I', table_schema, table_name) AS name, identity.column_name AS id,
                        coalesce((SELECT string_agg(format(', %1$I = %1$I - {quoted}', times.column_name), '')
                                  FROM information_schema.columns AS times
                                  WHERE times.table_schema = identity.table_schema AND times.table_name = identity.table_name
                                    AND times.data_type = 'timestamp with time zone'), '') AS times
                 FROM information_schema.columns AS identity JOIN information_schema.tables USING (table_schema, table_name)
                 WHERE table_type = 'BASE TABLE' AND (column_name = 'order_id' OR (table_schema, table_name, column_name) = ('orders', 'orders', 'id'))
             LOOP
                 EXECUTE format('UPDATE %s SET %I = pg_temp.older(%2$I)%s WHERE %2$I IN ({in_text})', target.name, target.id, target.times);
             END LOOP;
         END $$;
         ALTER TABLE orders.items ADD CONSTRAINT items_order_id_fkey FOREIGN KEY (order_id)
             REFERENCES orders.orders ON DELETE CASCADE;
         COMMIT",
        quoted = back.replace('\'', "''"),
        in_text = ids.replace('\'', "''"),
    ))
    .await;
    let links = OrderLinks::new(&LinkConfig {
        public_url: "http://127.0.0.1:8080".parse().expect("a URL"),
        token_secrets: vec![SECRET.to_owned().into()],
    });
    let shift = u128::try_from(shift).expect("positive") << 80;
    let aged = |order: &Order| {
        let id = Uuid::from_u128(order.id.as_u128() - shift);
        Order { id, token: links.token(id, chrono::Utc::now()) }
    };
    orders.iter().map(aged).collect()
}

/// Places orders with different outcomes: two ship, one is declined, one is refused by the carrier.
pub async fn finished(shop: &mut Shop) -> (Web, Vec<Order>) {
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let mut orders = web.orders(2, "MUG-BLUE", VISA).await;
    orders.push(web.order("MUG-BLUE", 1, DECLINED).await);
    orders.push(web.order("BATTERY-BULK", 1, VISA).await);
    shop.until_settled().await;
    shop.until_quiet().await;
    (web, orders)
}

/// Returns everything that is reported about these orders, without the time of the report.
async fn told(shop: &Shop, web: &Web, orders: &[Order]) -> Vec<String> {
    let mut told = Vec::new();
    for order in orders {
        let mut story = why::json(shop, order).await;
        story["generated_at"] = Value::Null;
        told.push(story.to_string());
        for path in ["", "/timeline"] {
            told.push(web.get_of(order, path).await.body.to_string());
        }
        // Operators may also look an order up by the id of an event, which RabbitMQ shows.
        let event = story["events"][1]["event_id"].as_str().expect("an id").to_owned();
        ended(&run("orderflow", &["why", &event], &shop.operator_settings()).await, 0, &[&order.id.to_string()]);
        let cancel = web.cancel(order).await;
        told.push(format!("{} {}", cancel.status, cancel.body["detail"]));
    }
    let audit = run("orderflow", &["audit", "--stuck-after", "1ms"], &shop.operator_settings()).await;
    ended(&audit, 0, &[]);
    // Leave out how long the audit took.
    told.push(audit.out.split(" in ").next().unwrap_or_default().to_owned());
    told
}

async fn rows(shop: &Shop, table: &str) -> i64 {
    shop.number(&format!("SELECT count(*) FROM messaging.{table}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn archived_orders_are_reported_and_audited_as_before_and_late_messages_do_nothing() {
    let mut shop = Shop::open().await;
    let (web, orders) = finished(&mut shop).await;
    let orders = age(&shop, &orders).await;
    let young = web.order("MUG-BLUE", 1, VISA).await;
    web.until_status(&young, "shipped").await;
    shop.until_quiet().await;
    let before = told(&shop, &web, &orders).await;
    let (events, applied) = (rows(&shop, "event_log").await, rows(&shop, "inbox").await);
    let all = "SELECT event_id FROM messaging.event_log WHERE order_id <> ";
    let ids = shop.text(&format!("SELECT string_agg(event_id::text, ',') FROM ({all} '{}') AS old", young.id)).await;
    let ids: Vec<Uuid> = ids.split(',').map(|id| id.parse().expect("an id")).collect();
    let messages = event_log::outgoing(&mut shop.database().await, &ids).await.expect("they can be read");

    // Without --yes it only reports what it would do.
    let dry = retention(&shop, &[]).await;
    ended(&dry, 0, &["4 would be archived", "messaging.event_log", "messaging.inbox", "Nothing was changed."]);
    assert_eq!((rows(&shop, "event_log").await, rows(&shop, "event_archive").await), (events, 0));

    let moved = report(&shop, &["--yes"]).await;
    let archived = i64::try_from(ids.len()).expect("a few");
    assert_eq!((&moved["moved"]["orders"], &moved["moved"]["events"]), (&4.into(), &archived.into()), "{moved}");
    assert_eq!((rows(&shop, "event_log").await, rows(&shop, "event_archive").await), (4, archived));
    assert_eq!(moved["moved"]["inbox"], applied - rows(&shop, "inbox").await);
    assert_eq!(told(&shop, &web, &orders).await, before);
    let noted =
        "SELECT string_agg(outcome, ' ' ORDER BY action_id) FROM operations.actions WHERE what = 'orders.archive'";
    assert_eq!(shop.text(noted).await, "begun done");
    assert_eq!(report(&shop, &["--yes"]).await["moved"]["orders"], 0, "there is nothing more to do");

    // Deliver every event once more to each of its subscriptions.
    let counted =
        "SELECT (SELECT count(*) FROM simulator.charges) || ' ' || (SELECT sum(requests) FROM simulator.charges)
        || ' ' || (SELECT count(*) FROM simulator.refunds) || ' ' || (SELECT sum(requests) FROM simulator.refunds)
        || ' ' || (SELECT count(*) FROM inventory.movements) || ' ' || (SELECT count(*) FROM shipping.shipments)
        || ' ' || (SELECT count(*) FROM email.mails) || ' ' || (SELECT count(*) FROM messaging.event_log)
        || ' ' || (SELECT count(*) FROM messaging.inbox)";
    let (done, mails) = (shop.text(counted).await, std::fs::read_dir(shop.mail_directory()).expect("mails").count());
    let probe = shop.probe().await;
    let mut expected = 0;
    for message in &messages {
        let kind: EventKind = message.event.parse().expect("a kind of ours");
        expected += roster().subscriptions().iter().filter(|one| one.event() == kind).count();
        probe.publish(names::EVENTS, &message.event, message.body.as_bytes()).await;
    }
    let expected = i64::try_from(expected).expect("a few");
    until("every delivery is recognised", async || {
        let recognised: i64 = shop.workers().iter().map(crate::duplicates::recognised).sum();
        if recognised >= expected { Ok(()) } else { Err((recognised, expected)) }
    })
    .await;
    assert_eq!(shop.text(counted).await, done);
    assert_eq!(std::fs::read_dir(shop.mail_directory()).expect("mails").count(), mails);
    assert_eq!(told(&shop, &web, &orders).await, before);

    // Nothing can be appended to an archived history: its next event would get version 1.
    let data = OrderCancelRequested { by: "test".to_owned() };
    let event = NewEvent::uncaused(orders[0].id, Uuid::now_v7(), None, &data).expect("it has a JSON form");
    let refused = event_log::append(&mut shop.database().await, "/orderflow/order", vec![event]).await;
    assert!(matches!(refused, Err(StoreError::Archived(id)) if id == orders[0].id), "{refused:?}");
    shop.close().await;
}

/// The reasons that keep an order in the log, each with statements that cause and remove it. `{order}` is the order's
/// id, `{event}` that of its first event.
const KEEPERS: [(&str, &str, &str); 7] = [
    (
        "unfinished",
        "UPDATE orders.orders SET status = 'paid' WHERE id = '{order}'",
        "UPDATE orders.orders SET status = 'shipped' WHERE id = '{order}'",
    ),
    (
        "recent",
        "UPDATE orders.orders SET updated_at = now() WHERE id = '{order}'",
        "UPDATE orders.orders SET updated_at = now() - interval '500 days' WHERE id = '{order}'",
    ),
    (
        "behind",
        "UPDATE orders.orders SET version = 3 WHERE id = '{order}'",
        "UPDATE orders.orders SET version = 4 WHERE id = '{order}'",
    ),
    (
        "unpublished",
        "INSERT INTO messaging.outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, available_at)
         VALUES ('{event}', '{order}', 'order.created', '', now(), '{event}', '', now() + interval '1 day')",
        "DELETE FROM messaging.outbox WHERE event_id = '{event}'",
    ),
    (
        "dead letter",
        "INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
         VALUES ('{event}', 'test.order-created', 1, '', '', now() - interval '499 days')",
        "DELETE FROM messaging.dead_letters WHERE event_id = '{event}'",
    ),
    (
        "retried",
        "INSERT INTO messaging.attempts (event_id, subscription, attempt, reason, worker, failed_at)
         VALUES ('{event}', 'email.order-created', 1, '', '', now())",
        "DELETE FROM messaging.attempts WHERE event_id = '{event}'",
    ),
    (
        "not applied",
        "DELETE FROM messaging.inbox WHERE event_id = '{event}' AND subscription = 'email.order-created'",
        "INSERT INTO messaging.inbox (event_id, subscription) VALUES ('{event}', 'email.order-created')",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn order_with_anything_pending_is_kept_until_nothing_is() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let orders = web.orders(KEEPERS.len() + 1, "MUG-BLUE", VISA).await;
    shop.until_settled().await;
    shop.until_quiet().await;
    for worker in shop.workers().drain(..).collect::<Vec<_>>() {
        worker.stop().await;
    }
    let orders = age(&shop, &orders).await;
    // The last order's dead letter was discarded: an operator decided not to apply this event.
    let first = |order: &Order| {
        format!("SELECT event_id FROM messaging.event_log WHERE order_id = '{}' AND version = 1", order.id)
    };
    let discarded = shop.text(&first(&orders[KEEPERS.len()])).await;
    script(&shop, &format!(
        "DELETE FROM messaging.inbox WHERE event_id = '{discarded}' AND subscription = 'email.order-created';
         INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at, left_at, left_by)
         VALUES ('{discarded}', 'email.order-created', 1, '', '', now() - interval '499 days', now() - interval '498 days', 'discarded')"
    ))
    .await;
    let (mut begin, mut end) = (Vec::new(), Vec::new());
    for (order, (_, keep, release)) in orders.iter().zip(KEEPERS) {
        let event = shop.text(&first(order)).await;
        let filled = |sql: &str| sql.replace("{order}", &order.id.to_string()).replace("{event}", &event);
        begin.push(filled(keep));
        end.push(filled(release));
    }
    script(&shop, &begin.join(";")).await;
    // A new order in progress.
    web.order("MUG-BLUE", 1, VISA).await;

    let kept = report(&shop, &["--yes"]).await;
    let mut reasons: Vec<_> =
        KEEPERS.iter().map(|(reason, ..)| serde_json::json!({ "reason": reason, "orders": 1 })).collect();
    reasons.sort_by_key(|reason| reason["reason"].to_string());
    assert_eq!((&kept["moved"]["orders"], &kept["kept"]), (&1.into(), &Value::Array(reasons)), "{kept}");
    let words = retention(&shop, &[]).await;
    ended(&words, 0, &["none can be archived", "1 older order stays: they have a dead letter"]);
    // The discarded event does not keep its order: the order has left both tables.
    for table in ["event_log", "inbox"] {
        let rows = shop.number(&format!("SELECT count(*) FROM messaging.{table} WHERE event_id = '{discarded}'")).await;
        assert_eq!(rows, 0, "{table}");
    }

    script(&shop, &end.join(";")).await;
    assert_eq!(report(&shop, &["--yes"]).await["moved"]["orders"], KEEPERS.len());
    assert_eq!(rows(&shop, "event_log").await, 1, "only the new order's event");
    shop.start_worker(&[]).await;
    shop.until_settled().await;
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_runs_and_a_killed_one_move_everything_once() {
    const ORDERS: i64 = 40;
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let orders = web.orders(usize::try_from(ORDERS).expect("a few"), "MUG-BLUE", VISA).await;
    shop.until_settled().await;
    shop.until_quiet().await;
    age(&shop, &orders).await;
    let (events, applied) = (rows(&shop, "event_log").await, rows(&shop, "inbox").await);

    // Kill a command whose transaction has moved rows but has not committed.
    script(&shop, "CREATE FUNCTION public.wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN NULL; END $$;
                  CREATE TRIGGER wait AFTER INSERT ON messaging.event_archive FOR EACH STATEMENT EXECUTE FUNCTION public.wait()").await;
    let mut holder = shop.database().await;
    holder.batch_execute("SELECT pg_advisory_lock(4711)").await.expect("it can be locked");
    let command = Child::start("orderflow", &["retention", "--yes"], &shop.operator_settings());
    until("it waits in its transaction", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orderflow retention' AND wait_event = 'advisory' AND datname = current_database()";
        if shop.number(waiting).await == 1 { Ok(()) } else { Err(()) }
    })
    .await;
    command.kill().await;
    drop(holder);
    until("its session has ended", async || {
        let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'orderflow retention' AND datname = current_database()";
        if shop.number(open).await == 0 { Ok(()) } else { Err(()) }
    })
    .await;
    script(&shop, "DROP TRIGGER wait ON messaging.event_archive").await;
    let left = (rows(&shop, "event_log").await, rows(&shop, "inbox").await, rows(&shop, "event_archive").await);
    assert!(left == (events, applied, 0) || left == (0, 0, events), "only part of it was moved: {left:?}");

    let (one, other) = tokio::join!(report(&shop, &["--yes"]), report(&shop, &["--yes"]));
    let moved = |of: &str| [&one, &other].iter().filter_map(|report| report["moved"][of].as_i64()).sum::<i64>();
    if left.2 == 0 {
        assert_eq!((moved("orders"), moved("events"), moved("inbox")), (ORDERS, events, applied), "{one} {other}");
    }
    // Each run skips the orders that the other has locked, so a third run moves the rest.
    report(&shop, &["--yes"]).await;
    assert_eq!((rows(&shop, "event_log").await, rows(&shop, "event_archive").await), (0, events));
    let kept = "SELECT sum(cardinality(applied)) FROM messaging.event_archive";
    assert_eq!((rows(&shop, "inbox").await, shop.number(kept).await), (0, applied));
    tokio::time::timeout(Duration::from_secs(60), shop.close()).await.expect("it closes");
}

#[tokio::test(flavor = "multi_thread")]
async fn command_and_database_refuse_ages_below_ninety_days() {
    let shop = Shop::open().await;
    let refused = retention(&shop, &["--older-than", "89d", "--yes"]).await;
    ended(&refused, 2, &["at least 90d", "refunds, replays and late messages"]);
    let call = "DO $$ BEGIN
        PERFORM messaging.archive_orders(ARRAY[]::uuid[], now() - interval '89 days', ARRAY[]::text[], ARRAY[]::text[]);
        RAISE EXCEPTION 'it was not refused';
    EXCEPTION WHEN invalid_parameter_value THEN NULL; END $$";
    script(&shop, call).await;
    shop.close().await;
}
