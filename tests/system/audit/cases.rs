//! Every rule of the audit, with a statement that breaks it.

/// The order or product that a case breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Of {
    /// A shipped order.
    Shipped,
    /// An order that the carrier refused: its stock released, its payment refunded, the order cancelled.
    Cancelled,
    /// An order that no worker has seen.
    Pending,
    /// An id that no order has.
    Nobody,
    /// This product, not an order.
    Product(&'static str),
}
use Of::{Cancelled, Nobody, Pending, Product, Shipped};

/// A rule, its subject, and the SQL that breaks the rule; `ORDER` stands for the order's id.
type Case = (&'static str, Of, &'static str);

/// What a broken safeguard or a manual change in the database would leave behind, and the rule that must find it.
const CASES: [Case; 41] = [
    (
        "log-orphan",
        Nobody,
        "INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, data) VALUES ('ORDER', 1, gen_random_uuid(), 'order.created', '/orderflow/web', now(), gen_random_uuid(), '{}')",
    ),
    ("log-gap", Shipped, "DELETE FROM messaging.event_log WHERE order_id = 'ORDER' AND version = 2"),
    ("illegal-step", Shipped, "SELECT pg_temp.say('ORDER', 'inventory.released')"),
    ("twice", Shipped, "SELECT pg_temp.say('ORDER', 'payment.completed')"),
    ("contradiction", Shipped, "SELECT pg_temp.say('ORDER', 'shipment.cancelled')"),
    (
        "cause",
        Shipped,
        "UPDATE messaging.event_log SET causation_id = gen_random_uuid() WHERE order_id = 'ORDER' AND version = 3",
    ),
    ("status", Shipped, "UPDATE orders.orders SET status = 'reserved' WHERE id = 'ORDER'"),
    (
        "stuck",
        Pending,
        "UPDATE messaging.event_log SET occurred_at = now() - interval '2 hours' WHERE order_id = 'ORDER'; INSERT INTO messaging.inbox (event_id, subscription) SELECT event_id, 'payment.order-created' FROM messaging.event_log WHERE order_id = 'ORDER'",
    ),
    (
        "unapplied",
        Pending,
        "UPDATE messaging.event_log SET occurred_at = now() - interval '2 hours' WHERE order_id = 'ORDER'",
    ),
    (
        "unpublished",
        Shipped,
        "INSERT INTO messaging.outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, created_at, available_at) SELECT event_id, order_id, event, source, occurred_at, correlation_id, '{}', now() - interval '2 hours', now() + interval '1 hour' FROM messaging.event_log WHERE order_id = 'ORDER' AND version = 4",
    ),
    ("total", Shipped, "UPDATE orders.items SET price = price + 1 WHERE order_id = 'ORDER'"),
    ("behind", Shipped, "UPDATE orders.orders SET status = 'reserved', version = 3 WHERE id = 'ORDER'"),
    (
        "payment-orphan",
        Nobody,
        "INSERT INTO payment.payments (order_id, payment_id, status, amount, currency) VALUES ('ORDER', 'pay_0', 'voided', 1, 'EUR')",
    ),
    (
        "charged",
        Cancelled,
        "UPDATE payment.payments SET status = 'succeeded', refund_id = NULL WHERE order_id = 'ORDER'",
    ),
    ("chargeable", Cancelled, "DELETE FROM payment.payments WHERE order_id = 'ORDER'"),
    (
        "shipped-unpaid",
        Shipped,
        "UPDATE payment.payments SET status = 'refunded', refund_id = 're_0' WHERE order_id = 'ORDER'",
    ),
    (
        "refund",
        Cancelled,
        "UPDATE payment.payments SET status = 'voided', refund_id = NULL, charge_id = NULL WHERE order_id = 'ORDER'",
    ),
    (
        "refund-amount",
        Cancelled,
        "UPDATE messaging.event_log SET data = data || '{\"amount\": 1}' WHERE order_id = 'ORDER' AND event = 'payment.refunded'",
    ),
    ("payment-amount", Shipped, "UPDATE payment.payments SET amount = amount + 1 WHERE order_id = 'ORDER'"),
    (
        "refund-uncaused",
        Shipped,
        "UPDATE payment.payments SET status = 'refunded', refund_id = 're_1' WHERE order_id = 'ORDER'",
    ),
    (
        "payment-unsaid",
        Pending,
        "INSERT INTO payment.payments (order_id, payment_id, status, amount, currency, charge_id) VALUES ('ORDER', 'pay_1', 'succeeded', 1499, 'EUR', 'ch_1')",
    ),
    ("payment-lost", Shipped, "DELETE FROM payment.payments WHERE order_id = 'ORDER'"),
    ("stock-orphan", Nobody, "INSERT INTO inventory.reservations (order_id, outcome) VALUES ('ORDER', 'rejected')"),
    (
        "stock-held",
        Cancelled,
        "WITH kept AS (DELETE FROM inventory.movements WHERE order_id = 'ORDER' AND kind = 'released' RETURNING *) UPDATE inventory.stock SET available = available - kept.quantity FROM kept WHERE stock.sku = kept.sku",
    ),
    (
        "stock-not-held",
        Shipped,
        "WITH gone AS (DELETE FROM inventory.movements WHERE order_id = 'ORDER' RETURNING *) UPDATE inventory.stock SET available = available - gone.quantity FROM gone WHERE stock.sku = gone.sku",
    ),
    (
        "released-twice",
        Cancelled,
        "UPDATE inventory.movements SET quantity = quantity * 2 WHERE order_id = 'ORDER' AND kind = 'released'; UPDATE inventory.stock SET available = available + 1 WHERE sku = 'BATTERY-BULK'",
    ),
    ("reservable", Cancelled, "DELETE FROM inventory.reservations WHERE order_id = 'ORDER'"),
    (
        "reservation-unsaid",
        Pending,
        "INSERT INTO inventory.reservations (order_id, outcome) VALUES ('ORDER', 'rejected')",
    ),
    (
        "reservation-uncaused",
        Pending,
        "INSERT INTO inventory.reservations (order_id, outcome) VALUES ('ORDER', 'reserved')",
    ),
    ("reservation-lost", Shipped, "DELETE FROM inventory.reservations WHERE order_id = 'ORDER'"),
    ("parcel-orphan", Nobody, "INSERT INTO shipping.shipments (order_id, status) VALUES ('ORDER', 'booking')"),
    ("parcel", Cancelled, "UPDATE shipping.shipments SET status = 'booking', reason = NULL WHERE order_id = 'ORDER'"),
    ("parcel-uncaused", Pending, "INSERT INTO shipping.shipments (order_id, status) VALUES ('ORDER', 'booking')"),
    ("shipment-unsaid", Pending, "INSERT INTO shipping.shipments (order_id, status) VALUES ('ORDER', 'cancelled')"),
    ("shipment-lost", Shipped, "DELETE FROM shipping.shipments WHERE order_id = 'ORDER'"),
    (
        "mail-orphan",
        Nobody,
        "INSERT INTO email.mails (order_id, kind, message_id, sent_at) VALUES ('ORDER', 'received', 'ORDER', now())",
    ),
    (
        "mail-uncaused",
        Pending,
        "INSERT INTO email.mails (order_id, kind, message_id, sent_at) VALUES ('ORDER', 'shipped', 'ORDER', now())",
    ),
    (
        "mail-unsent",
        Shipped,
        "UPDATE email.mails SET sent_at = NULL, created_at = now() - interval '2 hours' WHERE order_id = 'ORDER' AND kind = 'shipped'",
    ),
    ("key-missing", Shipped, "DELETE FROM orders.idempotency_keys WHERE order_id = 'ORDER'"),
    (
        "order-lost",
        Nobody,
        "INSERT INTO orders.idempotency_keys (key, fingerprint, order_id, created_at) VALUES ('a key of an order that is gone', '', 'ORDER', now())",
    ),
    ("stock-sum", Product("TEAPOT-1L"), "UPDATE inventory.stock SET available = available + 1 WHERE sku = 'TEAPOT-1L'"),
];

/// Separate from the others, since it drops a constraint.
const BELOW_ZERO: Case = (
    "stock-below-zero",
    Product("LAMP-SOLDOUT"),
    "ALTER TABLE inventory.stock DROP CONSTRAINT stock_available_check; UPDATE inventory.stock SET available = -1 WHERE sku = 'LAMP-SOLDOUT'",
);

/// Returns all cases, in an order in which each rule can be broken.
pub fn cases() -> impl Iterator<Item = Case> {
    CASES.into_iter().chain([BELOW_ZERO])
}
