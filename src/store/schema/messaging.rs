// @generated automatically by Diesel CLI.

pub mod messaging {
    diesel::table! {
        messaging.event_log (order_id, version) {
            order_id -> Uuid,
            version -> Int4,
            event_id -> Uuid,
            event -> Text,
            source -> Text,
            occurred_at -> Timestamptz,
            correlation_id -> Uuid,
            causation_id -> Nullable<Uuid>,
            traceparent -> Nullable<Text>,
            data -> Jsonb,
        }
    }

    diesel::table! {
        messaging.inbox (event_id, subscription) {
            event_id -> Uuid,
            subscription -> Text,
            applied_at -> Timestamptz,
        }
    }

    diesel::table! {
        messaging.outbox (event_id) {
            event_id -> Uuid,
            order_id -> Uuid,
            event -> Text,
            source -> Text,
            occurred_at -> Timestamptz,
            correlation_id -> Uuid,
            body -> Text,
            created_at -> Timestamptz,
            available_at -> Timestamptz,
            attempts -> Int4,
        }
    }

    diesel::allow_tables_to_appear_in_same_query!(event_log, inbox, outbox,);
}
