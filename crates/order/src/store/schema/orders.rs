// @generated automatically by Diesel CLI.

pub mod orders {
    diesel::table! {
        orders.idempotency_keys (key) {
            key -> Text,
            fingerprint -> Bytea,
            order_id -> Uuid,
            created_at -> Timestamptz,
        }
    }

    diesel::table! {
        orders.items (order_id, line) {
            order_id -> Uuid,
            line -> Int2,
            sku -> Text,
            name -> Text,
            quantity -> Int4,
            price -> Int8,
        }
    }

    diesel::table! {
        orders.orders (id) {
            id -> Uuid,
            number -> Text,
            status -> Text,
            version -> Int4,
            cancel_requested -> Bool,
            total -> Int8,
            currency -> Text,
            customer_name -> Text,
            customer_email -> Text,
            address_line1 -> Text,
            address_line2 -> Nullable<Text>,
            city -> Text,
            postal_code -> Text,
            country -> Text,
            payment_method -> Text,
            created_at -> Timestamptz,
            updated_at -> Timestamptz,
            state -> Nullable<Text>,
            phone -> Nullable<Text>,
        }
    }

    diesel::joinable!(items -> orders (order_id));

    diesel::allow_tables_to_appear_in_same_query!(idempotency_keys, items, orders,);
}
