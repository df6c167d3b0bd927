//! Trial rows with which `orderflow doctor` tests whether this service's tables can be written to.

use orderflow_service::service::TrialRow;

pub const ROWS: &[TrialRow] = &[TrialRow {
    table: "shipping.shipments",
    insert: "INSERT INTO shipping.shipments (order_id, status) VALUES ($1, 'booking')",
}];
