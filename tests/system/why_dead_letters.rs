//! `orderflow why` lists only dead letters that their own subscription has not applied since.

use orderflow_tests::{Shop, VISA, queues};

use crate::why::{json, place, work};

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_parks_the_order_until_its_own_subscription_has_applied_the_event() {
    let mut shop = Shop::open().await;
    let order = place(&mut shop, "MUG-BLUE", VISA).await;
    // The first mail is sent but the payment is not made; the same event has a dead letter for both.
    let (mail, payment) = (queues::EMAIL_ORDER_CREATED.queue(), queues::PAYMENT_ORDER_CREATED.queue());
    shop.execute(&format!(
        "INSERT INTO messaging.dead_letters (event_id, subscription, attempt, reason, worker, died_at)
         SELECT event_id, subscription, 1, 'busy', 'orderflow-worker @h 1', now()
         FROM messaging.event_log, unnest(ARRAY['{mail}', '{payment}']) AS subscription"
    ))
    .await;
    let report = json(&shop, &order).await;
    let of = |part: &str| -> Vec<_> {
        report[part].as_array().expect("a list").iter().filter_map(|one| one["subscription"].as_str()).collect()
    };
    assert_eq!(of("dead_letters"), [&payment], "{report}");
    // The order also waits for the next step, which has no worker.
    assert_eq!(of("waiting_for"), [&payment, &queues::INVENTORY_PAYMENT_COMPLETED.queue()], "{report}");
    assert_eq!(report["waiting_for"][0]["state"], "parked", "{report}");
    work(&mut shop).await;
    shop.close().await;
}
