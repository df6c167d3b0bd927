//! Invariants that hold whatever a test did, once no work remains.

/// The violation in words, and a query that counts its occurrences.
pub const INVARIANTS: &[(&str, &str)] = &[
    (
        "an order's versions have a gap",
        "SELECT count(*) FROM (SELECT 1 FROM messaging.v_event_log GROUP BY order_id HAVING max(version) <> count(*)) AS one",
    ),
    (
        "a product's stock is not the sum of its movements",
        "SELECT count(*) FROM inventory.stock AS s WHERE available <> (SELECT coalesce(sum(quantity), 0) FROM inventory.movements AS m WHERE m.sku = s.sku)",
    ),
    (
        "an order that does not ship holds stock",
        "SELECT count(*) FROM orders.orders AS o WHERE status IN ('cancelled', 'payment_failed') AND (SELECT coalesce(sum(quantity), 0) FROM inventory.movements AS m WHERE m.order_id = o.id) <> 0",
    ),
    (
        "a shipped order does not hold its stock",
        "SELECT count(*) FROM orders.orders AS o WHERE status = 'shipped' AND (SELECT coalesce(-sum(m.quantity), 0) FROM inventory.movements AS m WHERE m.order_id = o.id) <> (SELECT sum(i.quantity) FROM orders.items AS i WHERE i.order_id = o.id)",
    ),
    (
        "an order ended twice",
        "SELECT count(*) FROM (SELECT 1 FROM messaging.v_event_log WHERE event IN ('shipment.created', 'order.cancelled') GROUP BY order_id HAVING count(*) > 1) AS one",
    ),
    ("stock is below zero", "SELECT count(*) FROM inventory.stock WHERE available < 0"),
    (
        "an order's status is behind its log",
        "SELECT count(*) FROM orders.orders AS o WHERE version <> (SELECT max(version) FROM messaging.v_event_log AS l WHERE l.order_id = o.id)",
    ),
    (
        "a mail was planned and not sent",
        "SELECT count(*) FROM email.mails WHERE sent_at IS NULL AND held_back_at IS NULL",
    ),
];

/// The same for payments, according to the simulated payment provider's ledger.
/// [`Stripe::violations`](crate::Stripe::violations) checks the Stripe-like provider.
pub const SIMULATED_MONEY: &[(&str, &str)] = &[
    (
        "an order was charged twice",
        "SELECT count(*) FROM (SELECT 1 FROM simulator.charges WHERE outcome = 'succeeded' GROUP BY reference HAVING count(*) > 1) AS one",
    ),
    (
        "an order past payment has no charge of its total",
        "SELECT count(*) FROM orders.orders AS o WHERE status IN ('paid', 'reserved', 'shipped') AND total <> 0 AND NOT EXISTS (SELECT FROM simulator.charges AS c WHERE c.reference = o.id::text AND c.outcome = 'succeeded' AND c.amount = o.total AND c.currency = o.currency)",
    ),
    (
        "an order before payment has a charge",
        "SELECT count(*) FROM orders.orders AS o JOIN simulator.charges AS c ON c.reference = o.id::text AND c.outcome = 'succeeded' WHERE o.status = 'payment_failed'",
    ),
    (
        "an order was refunded twice",
        "SELECT count(*) FROM (SELECT 1 FROM simulator.refunds GROUP BY charge_id HAVING count(*) > 1) AS one",
    ),
    (
        "a cancelled order was charged and has no full refund",
        "SELECT count(*) FROM orders.orders AS o JOIN simulator.charges AS c ON c.reference = o.id::text AND c.outcome = 'succeeded' WHERE o.status = 'cancelled' AND NOT EXISTS (SELECT FROM simulator.refunds AS r WHERE r.charge_id = c.charge_id AND r.amount = c.amount AND r.currency = c.currency)",
    ),
    (
        "an order that is not cancelled was refunded",
        "SELECT count(*) FROM simulator.refunds AS r JOIN simulator.charges AS c USING (charge_id) JOIN orders.orders AS o ON o.id::text = c.reference WHERE o.status NOT IN ('cancelled', 'cancelling')",
    ),
];
