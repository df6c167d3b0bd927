//! Nothing is oversold.

use orderflow_tests::{Shop, VISA};

#[tokio::test(flavor = "multi_thread")]
async fn exactly_a_hundred_of_two_hundred_orders_for_a_hundred_pieces_ship() {
    let mut shop = Shop::open().await;
    shop.execute("UPDATE inventory.stock SET available = 100 WHERE sku = 'TEAPOT-1L'").await;
    shop.execute(
        "INSERT INTO inventory.movements (sku, kind, quantity) VALUES ('TEAPOT-1L', 'adjusted', 100 - 1000000)",
    )
    .await;
    let web = shop.start_web().await;
    // Place all orders before any worker reserves stock, so that they compete for it.
    web.orders(200, "TEAPOT-1L", VISA).await;
    shop.start_worker(&[]).await;
    shop.start_worker(&[]).await;
    shop.until_orders("shipped", 100).await;
    shop.until_orders("cancelled", 100).await;
    assert_eq!(shop.number("SELECT available FROM inventory.stock WHERE sku = 'TEAPOT-1L'").await, 0);
    assert_eq!(shop.number("SELECT count(*) FROM inventory.reservations WHERE outcome = 'rejected'").await, 100);
    shop.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_with_one_short_item_reserves_none_of_the_others() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    let mut body = orderflow_tests::body("MUG-BLUE", 2, VISA);
    body["items"] = serde_json::json!([
        { "sku": "MUG-BLUE", "quantity": 2 },
        { "sku": "KETTLE-GOOSE", "quantity": 3 },
    ]);
    let order = web.place(&orderflow_tests::key(), &body).await.accepted();
    shop.execute("UPDATE inventory.stock SET available = 2 WHERE sku = 'KETTLE-GOOSE'").await;
    shop.execute(
        "INSERT INTO inventory.movements (sku, kind, quantity) VALUES ('KETTLE-GOOSE', 'adjusted', 2 - 1000000)",
    )
    .await;
    shop.start_worker(&[]).await;
    web.until_status(&order, "cancelled").await;
    assert_eq!(shop.number("SELECT count(*) FROM inventory.movements WHERE kind = 'reserved'").await, 0);
    assert_eq!(shop.number("SELECT available FROM inventory.stock WHERE sku = 'MUG-BLUE'").await, 1_000_000);
    shop.close().await;
}
