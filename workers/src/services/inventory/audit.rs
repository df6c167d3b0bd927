//! Audits stock: compares what each order holds with its log. The sum of all movements is audited separately, with
//! [`stock`](super::stock).

use orderflow_service::audit::{Check, FILE_IT, ORPHAN, Rule, Subject};

/// The remedy for stock that differs from what orders hold.
const HELD: &str = "`orderflow why ORDER` names the pieces: count them, make that many orderable with `orderflow stock set`, \
                    and file the output of `orderflow why ORDER --json`";

pub const SUBJECT: Subject = Subject {
    from: "said FULL JOIN (SELECT * FROM inventory.v_reservations WHERE order_id > $1 AND order_id <= $2) AS reservation
               USING (order_id)
           FULL JOIN (
               SELECT order_id, bool_or(held.pieces IS DISTINCT FROM wanted.pieces) AS differs,
                      coalesce(bool_or(held.pieces <> 0), false) AS any, coalesce(bool_or(held.pieces < 0), false) AS too_few
               FROM (SELECT order_id, sku, -sum(quantity) AS pieces FROM inventory.v_movements
                     WHERE order_id > $1 AND order_id <= $2 GROUP BY order_id, sku) AS held
               FULL JOIN (SELECT order_id, sku, sum(quantity) AS pieces FROM orders.v_items
                          WHERE order_id > $1 AND order_id <= $2 GROUP BY order_id, sku) AS wanted USING (order_id, sku)
               GROUP BY order_id
           ) AS held USING (order_id)
           FULL JOIN placed USING (order_id)",
    checks: &[
        Check {
            rule: Rule { name: "stock-orphan", remedy: ORPHAN },
            broken: "placed.number IS NULL AND (held.any OR reservation.outcome IS NOT NULL)",
            what: "stock is set aside for an order that does not exist",
        },
        Check {
            rule: Rule { name: "stock-held", remedy: HELD },
            broken: "held.any AND (order_cancelled OR payment_failed
                                   OR coalesce(reservation.outcome IN ('rejected', 'released', 'cancelled'), true))",
            what: "it holds stock, though it has ended or has no reservation",
        },
        Check {
            rule: Rule { name: "stock-not-held", remedy: HELD },
            broken: "(shipment_created OR reservation.outcome = 'reserved')
                     AND (reservation.outcome IS DISTINCT FROM 'reserved' OR coalesce(held.differs, true))",
            what: "it has shipped or will ship, though the stock set aside differs from its items",
        },
        Check {
            rule: Rule { name: "released-twice", remedy: HELD },
            broken: "held.too_few",
            what: "more was put back into stock than was set aside",
        },
        Check {
            rule: Rule { name: "reservable", remedy: FILE_IT },
            broken: "order_cancelled AND reservation.outcome IS NULL",
            what: "it is cancelled, but stock could still be set aside for it later",
        },
        Check {
            rule: Rule { name: "reservation-unsaid", remedy: FILE_IT },
            broken: "NOT CASE reservation.outcome
                         WHEN 'reserved' THEN inventory_reserved WHEN 'rejected' THEN inventory_rejected
                         WHEN 'released' THEN inventory_released WHEN 'cancelled' THEN inventory_released
                         ELSE true END",
            what: "the inventory service has stored a decision that the log does not have",
        },
        Check {
            rule: Rule { name: "reservation-uncaused", remedy: HELD },
            broken: "placed.number IS NOT NULL AND reservation.outcome IN ('reserved', 'rejected')
                     AND NOT coalesce(payment_completed, false)",
            what: "stock was set aside or refused, though no payment was logged",
        },
        Check {
            rule: Rule { name: "reservation-lost", remedy: FILE_IT },
            broken: "(inventory_reserved AND coalesce(reservation.outcome NOT IN ('reserved', 'released'), true))
                     OR (inventory_rejected AND reservation.outcome IS DISTINCT FROM 'rejected')
                     OR (inventory_released AND coalesce(reservation.outcome NOT IN ('released', 'cancelled'), true))",
            what: "the log has a decision of the inventory service that its rows do not have",
        },
    ],
    once_applied: &[],
};
