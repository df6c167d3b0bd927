//! Audits money: compares the payment service's rows with each order's log.

use orderflow_service::audit::{Check, FILE_IT, ORPHAN, Rule, Subject};

/// The remedy for a payment that differs from its log.
const MONEY: &str = "check the payment at the provider (`orderflow why ORDER` has the ids of the charge and the refund) and \
                     correct it there, by hand and once, since no program will do it any more; then file the output \
                     of `orderflow why ORDER --json`";

pub const SUBJECT: Subject = Subject {
    from: "said FULL JOIN (SELECT * FROM payment.v_payments WHERE order_id > $1 AND order_id <= $2) AS payment
               USING (order_id)
           FULL JOIN placed USING (order_id)",
    checks: &[
        Check {
            rule: Rule { name: "payment-orphan", remedy: ORPHAN },
            broken: "payment.status IS NOT NULL AND placed.number IS NULL",
            what: "there is a payment for an order that does not exist",
        },
        Check {
            rule: Rule { name: "charged", remedy: MONEY },
            broken: "(order_cancelled OR payment_failed) AND payment.status = 'succeeded'",
            what: "its customer is charged, though the order has ended without shipping and is not refunded",
        },
        Check {
            rule: Rule { name: "chargeable", remedy: FILE_IT },
            broken: "order_cancelled AND payment.status IS NULL",
            what: "it is cancelled, but it could still be charged later",
        },
        Check {
            rule: Rule { name: "shipped-unpaid", remedy: MONEY },
            broken: "shipment_created AND payment.status IS DISTINCT FROM 'succeeded'",
            what: "it has shipped, though its customer is not charged",
        },
        Check {
            rule: Rule { name: "refund", remedy: MONEY },
            broken: "payment_refunded AND (payment.charge_id IS NULL OR payment.refund_id IS NULL)",
            what: "the log has a refund, though no charge or no refund is stored",
        },
        Check {
            rule: Rule { name: "refund-amount", remedy: MONEY },
            broken: "payment_refunded AND said.refunded IS DISTINCT FROM payment.amount",
            what: "the total refunded differs from the amount charged",
        },
        Check {
            rule: Rule { name: "payment-amount", remedy: MONEY },
            broken: "(payment.amount, payment.currency) <> (placed.total, placed.currency)",
            what: "the payment differs from the order's total",
        },
        Check {
            rule: Rule { name: "refund-uncaused", remedy: MONEY },
            broken: "payment.refund_id IS NOT NULL AND NOT coalesce(inventory_released OR inventory_rejected, false)",
            what: "its customer was refunded, though the log has no reason for a refund",
        },
        Check {
            rule: Rule { name: "payment-unsaid", remedy: FILE_IT },
            broken: "NOT CASE payment.status
                         WHEN 'succeeded' THEN payment_completed WHEN 'declined' THEN payment_failed
                         WHEN 'refunded' THEN payment_refunded WHEN 'voided' THEN payment_voided ELSE true END",
            what: "the payment service has stored a decision that the log does not have",
        },
        Check {
            rule: Rule { name: "payment-lost", remedy: FILE_IT },
            broken: "(payment_completed AND payment.charge_id IS NULL)
                     OR (payment_failed AND payment.status IS DISTINCT FROM 'declined')
                     OR (payment_voided AND coalesce(payment.status NOT IN ('voided', 'declined'), true))",
            what: "the log has a decision of the payment service that its rows do not have",
        },
    ],
    once_applied: &[],
};
