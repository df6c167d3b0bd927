// @generated automatically by Diesel CLI.

pub mod payment {
    diesel::table! {
        payment.intents (order_id) {
            order_id -> Uuid,
            intent_id -> Text,
            created_at -> Timestamptz,
        }
    }

    diesel::table! {
        payment.payments (order_id) {
            order_id -> Uuid,
            payment_id -> Text,
            status -> Text,
            amount -> Int8,
            currency -> Text,
            charge_id -> Nullable<Text>,
            reason -> Nullable<Text>,
            created_at -> Timestamptz,
            refund_id -> Nullable<Text>,
            reversed_at -> Nullable<Timestamptz>,
        }
    }

    diesel::allow_tables_to_appear_in_same_query!(intents, payments,);
}
