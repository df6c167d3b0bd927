//! Audits the orders' own rows.

use orderflow_service::audit::{Check, FILE_IT, Rule, Subject};

pub const SUBJECT: Subject = Subject {
    from: "placed FULL JOIN said USING (order_id)
           FULL JOIN (
               SELECT order_id, sum(quantity * price) AS sum FROM orders.v_items
               WHERE order_id > $1 AND order_id <= $2 GROUP BY order_id
           ) AS items USING (order_id)",
    checks: &[
        Check {
            rule: Rule { name: "total", remedy: FILE_IT },
            broken: "items.sum IS DISTINCT FROM placed.total",
            what: "its total is not the sum of its items",
        },
        // The order service folds the log up to an event in the same transaction in which it applies the event.
        Check {
            rule: Rule { name: "behind", remedy: FILE_IT },
            broken: "placed.version < said.last AND EXISTS (
                         SELECT FROM messaging.event_log AS log
                         WHERE log.order_id = placed.order_id AND log.version > placed.version AND EXISTS (
                             SELECT FROM messaging.inbox
                             WHERE inbox.event_id = log.event_id AND inbox.subscription LIKE 'order.%' OFFSET 0)
                         OFFSET 0)",
            what: "its status is behind its log, though the order service has applied later events",
        },
    ],
    once_applied: &[],
};
