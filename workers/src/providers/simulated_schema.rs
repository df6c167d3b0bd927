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

    diesel::table! {
        simulator.refunds (idempotency_key) {
            idempotency_key -> Text,
            refund_id -> Text,
            charge_id -> Text,
            amount -> Int8,
            currency -> Text,
            requests -> Int4,
            created_at -> Timestamptz,
        }
    }

    diesel::allow_tables_to_appear_in_same_query!(charges, refunds,);
}
