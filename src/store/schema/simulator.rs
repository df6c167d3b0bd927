// @generated automatically by Diesel CLI.

pub mod simulator {
    diesel::table! {
        simulator.charges (idempotency_key) {
            idempotency_key -> Text,
            charge_id -> Text,
            reference -> Text,
            method -> Text,
            amount -> Int8,
            currency -> Text,
            outcome -> Text,
            requests -> Int4,
            created_at -> Timestamptz,
        }
    }
}
