//! The paths of an order through all services.

use orderflow_tests::{DECLINED, Shop, VISA};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_ships_and_every_step_is_in_its_timeline() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 2, VISA).await;
    web.until_status(&order, "shipped").await;
    let timeline = web.get_of(&order, "/timeline").await;
    let steps: Vec<_> = timeline.body["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| (entry["version"].clone(), entry["event"].clone(), entry["status"].clone()))
        .collect();
    let expected = [
        (1, "order.created", "pending"),
        (2, "payment.completed", "paid"),
        (3, "inventory.reserved", "reserved"),
        (4, "shipment.created", "shipped"),
    ];
    assert_eq!(steps, expected.map(|(version, event, status)| (version.into(), event.into(), status.into())));
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_ends_the_order_and_nothing_is_reserved() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let order = web.order("MUG-BLUE", 1, DECLINED).await;
    web.until_status(&order, "payment_failed").await;
    assert_eq!(shop.number("SELECT count(*) FROM inventory.reservations").await, 0);
    assert_eq!(shop.number("SELECT count(*) FROM simulator.charges WHERE outcome = 'succeeded'").await, 0);
    shop.close().await;
}
