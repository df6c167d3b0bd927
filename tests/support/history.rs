//! The history of a shop that has been open for a month, written by statements instead of by workers.

use diesel_async::SimpleAsyncConnection as _;
use orderflow_service::store::missing::ConsumedEvents;
use orderflow_worker::roster;

use crate::Shop;

/// Orders of the last 30 days: of every twenty, one is declined, one is cancelled, and the others have shipped.
const ORDERS_OF_A_MONTH: &str = "
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
INSERT INTO inventory.movements (sku, kind, quantity) VALUES ('MUG-BLUE', 'adjusted', 1000000000);
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

/// Writes this many orders of the last 30 days into a shop's database, with their events, payments, reservations, parcels and mails,
/// and updates PostgreSQL's statistics. Otherwise autovacuum might run while something is measured.
///
/// # Panics
/// Panics if the database refuses it.
pub async fn write(shop: &Shop, orders: i64) {
    let mut database = shop.database().await;
    for statements in [&*ORDERS_OF_A_MONTH.replace("ORDERS", &orders.to_string()), &applied(), "VACUUM (ANALYZE)"] {
        database.batch_execute(statements).await.expect("the database can be filled");
    }
}

/// Returns the statement that records which subscription applied which event, as the workers would have recorded it.
fn applied() -> String {
    let ConsumedEvents { events, subscriptions } = ConsumedEvents::of(roster(), roster().subscriptions());
    let takes: Vec<_> =
        events.iter().zip(subscriptions).map(|(event, queue)| format!("('{event}', '{queue}')")).collect();
    format!(
        "INSERT INTO messaging.inbox (event_id, subscription)
         SELECT event_id, subscription FROM messaging.event_log
         JOIN (VALUES {}) AS takes (event, subscription) USING (event) ORDER BY event_id",
        takes.join(", ")
    )
}
