//! `orderflow audit`: a shop in which every rule holds, and one in which each is broken once.

mod cases;
mod large;

use std::collections::{BTreeMap, BTreeSet};

use diesel_async::SimpleAsyncConnection as _;
use orderflow_tests::{DECLINED, Ended, Order, Shop, Typed, VISA, Web, run, run_on_terminal};
use serde_json::Value;
use uuid::Uuid;

use cases::{
    Of::{self, Cancelled, Nobody, Pending, Product, Shipped},
    cases,
};

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

/// Appends an event to an order's log, caused by the last one.
const SAY: &str = "
CREATE FUNCTION pg_temp.say(named uuid, what text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, data)
    SELECT order_id, version + 1, gen_random_uuid(), what, source, occurred_at, correlation_id, event_id, '{}'
    FROM messaging.event_log WHERE order_id = named ORDER BY version DESC LIMIT 1
$$";

/// Places this many orders and returns their ids in ascending order.
async fn placed(web: &Web, count: usize, sku: &str) -> Vec<Uuid> {
    let mut ids: Vec<Uuid> = web.orders(count, sku, VISA).await.iter().map(|order| order.id).collect();
    ids.sort_unstable();
    ids
}

/// Opens a shop in which every rule holds, with an order for every case.
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
    // One more, which will be parked.
    let pending = placed(&web, wanted(Pending) + 1, "MUG-BLUE").await;
    shop.until_published().await;
    let nobody = (0..wanted(Nobody)).map(|_| Uuid::now_v7()).collect();
    (shop, BTreeMap::from([(Shipped, shipped), (Cancelled, cancelled), (Pending, pending), (Nobody, nobody)]))
}

/// Returns the text without empty lines.
fn scrubbed(text: &str) -> String {
    text.lines().filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn sound_shop_passes_the_audit_and_each_broken_rule_is_named_with_its_order() {
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
    assert!(unexplained.is_empty(), "docs/RUNBOOK.md does not explain {unexplained:?}");

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
        let one = one.unwrap_or_else(|| panic!("{check} of {named} is not reported; reported are {found:?}"));
        assert!(one["what"].as_str().is_some_and(|what| !what.is_empty()), "{one}");
        assert!(one["remedy"].as_str().is_some_and(|remedy| !remedy.contains("ORDER")), "{one}");
    }
    let strangers: Vec<_> = violations
        .iter()
        .filter(|violation| {
            !broken.iter().any(|(_, named)| violation["order_id"] == **named || violation["sku"] == **named)
        })
        .collect();
    assert!(strangers.is_empty(), "the test did not cause {strangers:?}");
    assert_eq!((&report["parked_in_all"], &report["parked"][0]["order_id"]), (&1.into(), &parked.to_string().into()));

    let text = audit(&shop, &["--limit", "1000"]).await;
    assert_eq!((text.code, text.err.as_str()), (Some(1), ""), "{text:?}");
    insta::with_settings!({filters => FILTERS}, { insta::assert_snapshot!("broken", scrubbed(&text.out)) });
    narrowed(&shop, &broken, parked).await;
}

/// Audits parts of the same shop.
async fn narrowed(shop: &Shop, broken: &[(&str, String)], parked: Uuid) {
    let few = audit(shop, &["--limit", "2"]).await;
    ended(&few, 1, &["more violations are not shown", "1 unpublished", "parked: "]);
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
async fn audit_that_cannot_check_exits_with_status_three() {
    let nowhere = with(Vec::new(), &[("DATABASE_URL", &format!("postgres://orderflow:hush@{NOWHERE}/orderflow"))]);
    let away = run("orderflow", &["audit"], &nowhere).await;
    ended(&away, 3, &["no database connection"]);
    assert!(!away.err.contains("hush"), "{away:?}");
    ended(&run("orderflow", &["audit"], &[]).await, 2, &["DATABASE_URL is not set"]);
    let shop = Shop::open_without_queues().await;
    ended(&audit(&shop, &["--stuck-after", "300000y"]).await, 2, &["--stuck-after"]);
    shop.execute("ALTER VIEW payment.v_payments RENAME TO away").await;
    ended(
        &audit(&shop, &[]).await,
        3,
        &["Audited 0 orders by", "no violation so far; the audit is incomplete.", "v_payments", "`orderflow doctor`"],
    );
    shop.execute("DELETE FROM public.__diesel_schema_migrations WHERE version = (SELECT max(version) FROM public.__diesel_schema_migrations)").await;
    ended(&audit(&shop, &[]).await, 3, &["`orderflow migrate`"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_bar_is_shown_only_on_a_terminal() {
    let shop = Shop::open_without_queues().await;
    let quiet = audit(&shop, &[]).await;
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""), "{quiet:?}");
    let settings = with(shop.operator_settings(), &[("TERM", "xterm")]);
    let shown = run_on_terminal("orderflow", &["audit"], &settings, "orders,", Typed::End).await;
    ended(&shown, 0, &["0 orders,", "Audited 0 orders by"]);
    let json = run_on_terminal("orderflow", &["audit", "--json"], &settings, "{", Typed::End).await;
    assert!(json.out.trim_start().starts_with('{'), "{json:?}");
}
