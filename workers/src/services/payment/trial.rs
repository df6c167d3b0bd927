//! Trial rows with which `orderflow doctor` tests whether this service's tables can be written to.

use orderflow_service::service::TrialRow;

pub const ROWS: &[TrialRow] = &[
    TrialRow {
        table: "payment.intents",
        insert: "INSERT INTO payment.intents (order_id, intent_id) VALUES ($1, 'orderflow doctor ' || $1::text)",
    },
    TrialRow {
        table: "payment.payments",
        insert: "INSERT INTO payment.payments (order_id, payment_id, status, amount, currency, charge_id)
         VALUES ($1, 'orderflow doctor ' || $1::text, 'succeeded', 0, 'EUR', '')",
    },
];
