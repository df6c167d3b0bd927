//! Trial rows with which `orderflow doctor` tests whether this service's tables can be written to.

use orderflow_service::service::TrialRow;

pub const ROWS: &[TrialRow] = &[TrialRow {
    table: "email.mails",
    insert: "INSERT INTO email.mails (order_id, kind, message_id) VALUES ($1, '', 'orderflow doctor ' || $1::text)",
}];
