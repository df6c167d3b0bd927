//! Money: what the payment service's rows have, against what was said of each order.

use orderflow_service::audit::{Check, FILE_IT, ORPHAN, Rule, Subject};

/// Before anybody touches the money by hand.
const MONEY: &str = "look at what the provider has of it (the charge's and the refund's ids are in `orderflow why ORDER`) and \
                     put it right there, by hand and once, as nothing does it by itself any more; then file the output \
                     of `orderflow why ORDER --json`";

pub const SUBJECT: Subject = Subject {
    from: "said FULL JOIN (SELECT * FROM payment.v_payments WHERE order_id > $1 AND order_id <= $2) AS payment
               USING (order_id)
           FULL JOIN placed USING (order_id)",
    checks: &[
        Check {
            rule: Rule { name: "payment-orphan", remedy: ORPHAN },
            broken: "payment.status IS NOT NULL AND placed.number IS NULL",
            what: "there is a payment of an order that does not exist",
        },
        Check {
            rule: Rule { name: "charged", remedy: MONEY },
            broken: "(order_cancelled OR payment_failed) AND payment.status = 'succeeded'",
            what: "its customer is charged, though it has ended, has not shipped and is not refunded",
        },
        Check {
            rule: Rule { name: "chargeable", remedy: FILE_IT },
            broken: "order_cancelled AND payment.status IS NULL",
            what: "it is cancelled, and nothing keeps it from being charged later",
        },
        Check {
            rule: Rule { name: "shipped-unpaid", remedy: MONEY },
            broken: "shipment_created AND payment.status IS DISTINCT FROM 'succeeded'",
            what: "it has shipped, though its customer is not charged",
        },
        Check {
            rule: Rule { name: "refund", remedy: MONEY },
            broken: "payment_refunded AND (payment.charge_id IS NULL OR payment.refund_id IS NULL)",
            what: "a refund was said, though no charge or no refund is written down",
        },
        Check {
            rule: Rule { name: "refund-amount", remedy: MONEY },
            broken: "payment_refunded AND said.refunded IS DISTINCT FROM payment.amount",
            what: "what was refunded in all is not what was charged",
        },
        Check {
            rule: Rule { name: "payment-amount", remedy: MONEY },
            broken: "(payment.amount, payment.currency) <> (placed.total, placed.currency)",
            what: "the payment is not of the order's total",
        },
        Check {
            rule: Rule { name: "refund-uncaused", remedy: MONEY },
            broken: "payment.refund_id IS NOT NULL AND NOT coalesce(inventory_released OR inventory_rejected, false)",
            what: "its customer was refunded, though nothing was logged that a refund follows from",
        },
        Check {
            rule: Rule { name: "payment-unsaid", remedy: FILE_IT },
            broken: "NOT CASE payment.status
                         WHEN 'succeeded' THEN payment_completed WHEN 'declined' THEN payment_failed
                         WHEN 'refunded' THEN payment_refunded WHEN 'voided' THEN payment_voided ELSE true END",
            what: "the payment service has decided what it never said",
        },
        Check {
            rule: Rule { name: "payment-lost", remedy: FILE_IT },
            broken: "(payment_completed AND payment.charge_id IS NULL)
                     OR (payment_failed AND payment.status IS DISTINCT FROM 'declined')
                     OR (payment_voided AND coalesce(payment.status NOT IN ('voided', 'declined'), true))",
            what: "the payment service has said what its rows do not have",
        },
    ],
    once_applied: &[],
};
