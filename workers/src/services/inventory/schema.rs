// @generated automatically by Diesel CLI.

pub mod inventory {
    diesel::table! {
        inventory.movements (id) {
            id -> Int8,
            sku -> Text,
            kind -> Text,
            quantity -> Int8,
            order_id -> Nullable<Uuid>,
            occurred_at -> Timestamptz,
        }
    }

    diesel::table! {
        inventory.reservations (order_id) {
            order_id -> Uuid,
            outcome -> Text,
            decided_at -> Timestamptz,
            released_at -> Nullable<Timestamptz>,
        }
    }

    diesel::table! {
        inventory.stock (sku) {
            sku -> Text,
            available -> Int8,
        }
    }

    diesel::allow_tables_to_appear_in_same_query!(movements, reservations, stock,);
}
