//! A row for each table of this service, with which `orderflow doctor` tries whether it can be written to.

use orderflow_service::service::TrialRow;

pub const ROWS: &[TrialRow] = &[TrialRow {
    table: "shipping.shipments",
    insert: "INSERT INTO shipping.shipments (order_id, status) VALUES ($1, 'booking')",
}];
