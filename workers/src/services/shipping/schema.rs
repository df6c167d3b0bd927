// @generated automatically by Diesel CLI.

pub mod shipping {
    diesel::table! {
        shipping.shipments (order_id) {
            order_id -> Uuid,
            status -> Text,
            tracking_number -> Nullable<Text>,
            reason -> Nullable<Text>,
            created_at -> Timestamptz,
        }
    }
}
