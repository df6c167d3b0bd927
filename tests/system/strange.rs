//! Messages about orders that are not in this database, as after a restore to an earlier time while RabbitMQ kept its
//! messages.

use orderflow_events::EventKind;
use orderflow_service::broker::names;
use orderflow_tests::{Shop, VISA, run, sample, until};
use orderflow_worker::roster;
use uuid::Uuid;

use crate::{
    commands::ended,
    dead_letters::{discard, until_number},
    doctor::doctor,
};

/// Trial G8: inventory reserved stock for such an order, only shipping rejected it, and after `dlq discard` the audit
/// still found five violations. Now every service rejects the events before any effect, and nothing remains.
#[tokio::test(flavor = "multi_thread")]
async fn events_of_an_order_that_does_not_exist_are_rejected_by_every_service_before_any_effect() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    // The strange events wait when the worker starts, together with an event that must be handled.
    let stranger = Uuid::now_v7();
    for kind in EventKind::ALL {
        let event = sample((*kind).into(), Uuid::now_v7(), stranger).to_string();
        probe.publish(names::EVENTS, kind.routing_key(), event.as_bytes()).await;
    }
    // No registered service publishes this event type, so no queue is bound for it.
    let mut other = sample(EventKind::OrderCreated.into(), Uuid::now_v7(), stranger);
    other["type"] = "orders.loyalty-points-booked.v1".into();
    probe.publish(names::RETURN, "order.other", other.to_string().as_bytes()).await;
    let order = web.order("MUG-BLUE", 1, VISA).await;
    shop.start_worker(&[]).await;
    for subscription in roster().subscriptions() {
        probe.until_dead(*subscription, 1).await;
    }
    web.until_status(&order, "shipped").await;
    let all = i64::try_from(roster().subscriptions().len()).expect("a few");
    let rejected = "SELECT count(*) FROM messaging.dead_letters
                    WHERE reason LIKE 'the event log has no such event%' AND attempt = 2 AND left_at IS NULL";
    until_number(&shop, all, rejected).await;
    for effect in [
        "SELECT count(*) FROM payment.payments",
        "SELECT count(*) FROM simulator.charges",
        "SELECT count(*) FROM inventory.reservations",
        "SELECT count(*) FROM shipping.shipments",
    ] {
        assert_eq!(shop.number(effect).await, 1, "{effect}: only the order that exists");
    }

    ended(&discard(&shop, &["--all"]).await, 0, &[]);
    until("doctor finds nothing more", async || {
        let found = doctor(&shop).await;
        if found.code == Some(0) { Ok(()) } else { Err(found) }
    })
    .await;
    ended(&run("orderflow", &["audit", "--stuck-after", "1ms"], &shop.operator_settings()).await, 0, &[]);
    shop.close().await;
}
