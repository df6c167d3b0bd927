//! Every handler gets every event three times, with two workers running concurrently: each event is applied once.

use std::collections::HashSet;

use orderflow_events::EventKind;
use orderflow_service::broker::names;
use orderflow_tests::{Child, DECLINED, Probe, Shop, VISA, until};
use orderflow_worker::roster;

const SHIPPED: usize = 20;
const FAILED: usize = 5;

/// The number of events of the shipped and the declined orders.
const EVENTS: usize = 4 * SHIPPED + 2 * FAILED;

/// The events of an order whose parcel is refused.
const REFUSED: [EventKind; 7] = [
    EventKind::OrderCreated,
    EventKind::PaymentCompleted,
    EventKind::InventoryReserved,
    EventKind::ShipmentFailed,
    EventKind::InventoryReleased,
    EventKind::PaymentRefunded,
    EventKind::OrderCancelled,
];

/// Returns the number of deliveries for one event of each of these types: one for each of its subscriptions.
fn deliveries(kinds: &[EventKind]) -> usize {
    let takers = |kind: &EventKind| roster().subscriptions().iter().filter(|one| one.event() == *kind).count();
    kinds.iter().map(takers).sum()
}

/// Publishes two more copies of every event as soon as it arrives, until all expected events have arrived.
async fn repeat_everything(probe: &Probe, tap: &str, events: usize) {
    // Under load the relay may republish an event on its own: the id is the same, so it is not counted again.
    let mut seen = HashSet::new();
    until("every event was repeated", async || {
        for event in probe.take_all(tap).await {
            // The copies arrive at the tap as well, but the probe sets no message id on them.
            if let Some(id) = event.properties.message_id().clone()
                && seen.insert(id)
            {
                for _ in 0..2 {
                    probe.publish(names::EVENTS, event.routing_key.as_str(), &event.data).await;
                }
            }
        }
        if seen.len() == events { Ok(()) } else { Err(seen.len()) }
    })
    .await;
}

/// Returns how many deliveries a worker has recognised as duplicates, by its log.
pub fn recognised(worker: &Child) -> i64 {
    let count = |line: &String| {
        let deliveries = line.split("were delivered again").nth(1)?.split("deliveries=").nth(1)?;
        deliveries.split_whitespace().next()?.parse::<i64>().ok()
    };
    worker.log().iter().filter_map(count).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_delivered_three_times_to_two_workers_is_applied_once() {
    use EventKind::{InventoryReserved, OrderCreated, PaymentCompleted, PaymentFailed, ShipmentCreated};
    let applied = SHIPPED * deliveries(&[OrderCreated, PaymentCompleted, InventoryReserved, ShipmentCreated])
        + FAILED * deliveries(&[OrderCreated, PaymentFailed]);
    let applied = i64::try_from(applied).expect("small");
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let probe = shop.probe().await;
    let tap = probe.tap().await;
    // Both consume before the first event, so that the copies of an event alternate between them.
    shop.start_worker(&[]).await;
    shop.start_worker(&[]).await;
    web.orders(SHIPPED, "MUG-BLUE", VISA).await;
    web.orders(FAILED, "MUG-BLUE", DECLINED).await;
    repeat_everything(&probe, &tap, EVENTS).await;
    // The rows would be correct even without the inbox, thanks to each service's own keys. So count the inbox's work:
    // of three deliveries of each event it accepts one.
    until("every delivery is applied or recognised", async || {
        let counts = (
            shop.number("SELECT count(*) FROM messaging.inbox").await,
            shop.workers().iter().map(recognised).sum::<i64>(),
        );
        if counts.0 == applied && counts.1 >= 2 * applied { Ok(()) } else { Err((counts, applied)) }
    })
    .await;
    let (shipped, failed) = (i64::try_from(SHIPPED).expect("small"), i64::try_from(FAILED).expect("small"));
    assert_eq!(shop.number("SELECT count(*) FROM messaging.event_log").await, 4 * shipped + 2 * failed);
    assert_eq!(shop.number("SELECT count(*) FROM simulator.charges").await, shipped + failed);
    assert_eq!(shop.number("SELECT -sum(quantity) FROM inventory.movements WHERE kind = 'reserved'").await, shipped);
    assert_eq!(shop.number("SELECT count(*) FROM shipping.shipments").await, shipped);
    let mails = std::fs::read_dir(shop.mail_directory()).expect("mails were written").count();
    assert_eq!(mails, 2 * (SHIPPED + FAILED));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_steps_are_applied_once_however_often_they_are_delivered() {
    const ORDERS: usize = 10;
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let probe = shop.probe().await;
    let tap = probe.tap().await;
    shop.start_worker(&[]).await;
    shop.start_worker(&[]).await;
    web.orders(ORDERS, "BATTERY-BULK", VISA).await;
    repeat_everything(&probe, &tap, REFUSED.len() * ORDERS).await;
    let applied = i64::try_from(deliveries(&REFUSED) * ORDERS).expect("small");
    until("every delivery is applied or recognised", async || {
        let counts = (
            shop.number("SELECT count(*) FROM messaging.inbox").await,
            shop.workers().iter().map(recognised).sum::<i64>(),
        );
        if counts.0 == applied && counts.1 >= 2 * applied { Ok(()) } else { Err(counts) }
    })
    .await;
    let orders = i64::try_from(ORDERS).expect("small");
    assert_eq!(shop.number("SELECT count(*) FROM orders.orders WHERE status = 'cancelled'").await, orders);
    assert_eq!(shop.number("SELECT count(*) FROM simulator.refunds").await, orders);
    assert_eq!(shop.number("SELECT count(*) FROM inventory.movements WHERE kind = 'released'").await, orders);
    shop.close().await;
}
