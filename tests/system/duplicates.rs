//! Every handler gets every event several times, with two workers at once: each is applied once.

use orderflow::broker::{Subscription, names};
use orderflow_tests::{DECLINED, Probe, Shop, VISA, until};

const SHIPPED: usize = 20;
const FAILED: usize = 5;

/// Publishes two more copies of everything that the tap has seen since.
async fn repeat(probe: &Probe, tap: &str) -> usize {
    let events = probe.take_all(tap).await;
    for event in &events {
        for _ in 0..2 {
            probe.publish(names::EVENTS, event.routing_key.as_str(), &event.data).await;
        }
    }
    // The copies come by the tap as well.
    until("the tap has seen the copies", async || {
        let waiting = probe.waiting(tap).await;
        if usize::try_from(waiting) == Ok(2 * events.len()) { Ok(()) } else { Err(waiting) }
    })
    .await;
    probe.take_all(tap).await;
    events.len()
}

/// Handles a service's queues with two workers at once, until they are empty and their events applied.
async fn handle(shop: &mut Shop, service: &str, applied: i64) {
    let queues = format!("{service}.*");
    shop.start_worker(&[&queues]).await;
    shop.start_worker(&[&queues]).await;
    let count = format!("SELECT count(*) FROM messaging.inbox WHERE subscription LIKE '{service}.%'");
    let probe = shop.probe().await;
    let own: Vec<_> = Subscription::ALL.iter().filter(|one| one.service() == service).map(|one| one.queue()).collect();
    until(&format!("{service} has applied everything"), async || {
        let done = shop.number(&count).await;
        let mut waiting = 0;
        for queue in &own {
            waiting += probe.waiting(queue).await;
        }
        let published = shop.number("SELECT count(*) FROM messaging.outbox").await == 0;
        if done == applied && waiting == 0 && published { Ok(()) } else { Err((done, waiting)) }
    })
    .await;
    // Stopping waits for what is in hand, so that whatever was a repetition has been handled as one.
    for worker in shop.workers().drain(..) {
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_delivered_three_times_to_two_workers_is_applied_once() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let probe = shop.probe().await;
    let tap = probe.tap().await;
    web.orders(SHIPPED, "MUG-BLUE", VISA).await;
    web.orders(FAILED, "MUG-BLUE", DECLINED).await;
    until("the orders are published", async || {
        let waiting = probe.waiting(&tap).await;
        if usize::try_from(waiting) == Ok(SHIPPED + FAILED) { Ok(()) } else { Err(waiting) }
    })
    .await;
    let (shipped, failed) = (i64::try_from(SHIPPED).expect("small"), i64::try_from(FAILED).expect("small"));
    for (service, events, applied) in [
        ("payment", SHIPPED + FAILED, shipped + failed),
        ("inventory", SHIPPED + FAILED, shipped),
        ("shipping", SHIPPED, shipped),
        ("order", SHIPPED, 3 * shipped + failed),
        ("email", 0, 2 * shipped + 2 * failed),
    ] {
        assert_eq!(repeat(&probe, &tap).await, events, "events before {service}");
        handle(&mut shop, service, applied).await;
    }
    assert_eq!(shop.number("SELECT count(*) FROM messaging.event_log").await, 4 * shipped + 2 * failed);
    assert_eq!(shop.number("SELECT count(*) FROM simulator.charges").await, shipped + failed);
    assert_eq!(shop.number("SELECT -sum(quantity) FROM inventory.movements WHERE kind = 'reserved'").await, shipped);
    assert_eq!(shop.number("SELECT count(*) FROM shipping.shipments").await, shipped);
    let mails = std::fs::read_dir(shop.mail_directory()).expect("mails were written").count();
    assert_eq!(mails, 2 * (SHIPPED + FAILED));
    shop.close().await;
}
