// @generated automatically by Diesel CLI.

pub mod messaging {
    diesel::table! {
        messaging.attempts (id) {
            id -> Int8,
            event_id -> Nullable<Uuid>,
            subscription -> Text,
            attempt -> Int4,
            reason -> Text,
            worker -> Text,
            failed_at -> Timestamptz,
            retry_at -> Nullable<Timestamptz>,
        }
    }

    diesel::table! {
        messaging.dead_letters (id) {
            id -> Int8,
            event_id -> Nullable<Uuid>,
            subscription -> Text,
            attempt -> Int4,
            reason -> Text,
            worker -> Text,
            died_at -> Timestamptz,
            left_at -> Nullable<Timestamptz>,
            left_by -> Nullable<Text>,
        }
    }

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

    diesel::table! {
        messaging.resent (event_id, subscription) {
            event_id -> Uuid,
            subscription -> Text,
            times -> Int4,
            last_at -> Timestamptz,
        }
    }

    diesel::allow_tables_to_appear_in_same_query!(attempts, dead_letters, event_log, inbox, outbox, resent,);
}
