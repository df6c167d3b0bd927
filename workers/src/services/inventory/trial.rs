//! Trial rows with which `orderflow doctor` tests whether this service's tables can be written to.

use orderflow_service::service::TrialRow;

pub const ROWS: &[TrialRow] = &[
    TrialRow {
        table: "inventory.stock",
        insert: "INSERT INTO inventory.stock (sku, available) VALUES ('orderflow doctor ' || $1::text, 0)",
    },
    TrialRow {
        table: "inventory.movements",
        insert: "INSERT INTO inventory.movements (id, sku, kind, quantity, order_id)
         OVERRIDING SYSTEM VALUE VALUES (-hashtext($1::text)::bigint - 2147483649, '', 'reserved', 0, $1)",
    },
    TrialRow {
        table: "inventory.reservations",
        insert: "INSERT INTO inventory.reservations (order_id, outcome) VALUES ($1, 'reserved')",
    },
];
