//! Event types that this version does not know: those of a newer version, or of an external service.

use orderflow_tests::{Shop, VISA, run};

use crate::commands::ended;

/// Appends an event to an order's log and the outbox, as an external service does.
pub const BOOKED: &str = "WITH booked AS (
    SELECT order_id, version + 1 AS version, gen_random_uuid() AS event_id, correlation_id, event_id AS causation_id,
           date_trunc('milliseconds', now()) AS occurred_at
    FROM messaging.event_log WHERE order_id = 'ORDER' ORDER BY version DESC LIMIT 1
), logged AS (
    INSERT INTO messaging.event_log
           (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, data)
    SELECT order_id, version, event_id, 'loyalty.points-booked', '/orderflow/loyalty', occurred_at, correlation_id, causation_id,
           '{\"points\": 7}' FROM booked
)
INSERT INTO messaging.outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, available_at)
SELECT event_id, order_id, 'loyalty.points-booked', '/orderflow/loyalty', occurred_at, correlation_id, jsonb_build_object(
           'specversion', '1.0', 'id', event_id, 'source', '/orderflow/loyalty', 'type', 'orders.loyalty-points-booked.v1',
           'subject', order_id, 'time', to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), 'datacontenttype', 'application/json',
           'orderversion', version, 'correlationid', correlation_id, 'causationid', causation_id, 'data', '{\"points\": 7}'::jsonb)::text,
       now()
FROM booked";

/// The order service once could not fold past such an event, so every later event of the order failed.
#[tokio::test(flavor = "multi_thread")]
async fn order_passes_events_of_unknown_kinds_and_every_reader_shows_them() {
    let mut shop = Shop::open().await;
    let (web, probe) = (shop.start_web().await, shop.probe().await);
    let order = web.order("MUG-BLUE", 1, VISA).await;
    shop.until_published().await;
    shop.execute(&BOOKED.replace("'ORDER'", &format!("'{}'", order.id))).await;
    shop.start_worker(&[]).await;
    web.until_status(&order, "shipped").await;
    let expected = "order.created loyalty.points-booked payment.completed inventory.reserved shipment.created";
    assert_eq!(web.events(&order).await.join(" "), expected);
    let seen = web.get_of(&order, "").await;
    assert_eq!((seen.body["version"].as_i64(), seen.body["status"].as_str()), (Some(5), Some("shipped")));
    shop.until_quiet().await;
    let (id, settings) = (order.id.to_string(), shop.operator_settings());
    ended(&run("orderflow", &["why", &id], &settings).await, 0, &["loyalty.points-booked"]);
    ended(&run("orderflow", &["audit", "--stuck-after", "1ms"], &settings).await, 0, &[]);
    // No service here consumes it, so the broker routes it to `orders.unrouted`, which doctor and alerts report.
    probe.until_waiting("orders.unrouted", 1).await;
    probe.take_all("orders.unrouted").await;
    ended(&run("orderflow", &["republish", "--missing"], &settings).await, 0, &["Nothing is missing."]);
    shop.close().await;
}
