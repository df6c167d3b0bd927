// @generated automatically by Diesel CLI.

pub mod email {
    diesel::table! {
        email.mails (order_id, kind) {
            order_id -> Uuid,
            kind -> Text,
            message_id -> Text,
            created_at -> Timestamptz,
            sent_at -> Nullable<Timestamptz>,
            held_back_at -> Nullable<Timestamptz>,
        }
    }
}
