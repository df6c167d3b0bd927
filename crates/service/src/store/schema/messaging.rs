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
        messaging.audits (audit_id) {
            audit_id -> Int8,
            finished_at -> Timestamptz,
            orders -> Int8,
            violations -> Int8,
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
        messaging.event_archive (order_id, version) {
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
            applied -> Array<Nullable<Text>>,
            archived_at -> Timestamptz,
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
        messaging.queue_pace (worker, queue) {
            worker -> Text,
            queue -> Text,
            measured_at -> Timestamptz,
            slots -> Int4,
            in_hand -> Int4,
            events_per_second -> Float8,
            failures_per_second -> Float8,
            processing_seconds -> Nullable<Float8>,
            lag_seconds -> Nullable<Float8>,
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

    diesel::table! {
        messaging.service_events (service, direction, event) {
            service -> Text,
            direction -> Text,
            event -> Text,
        }
    }

    diesel::table! {
        messaging.services (name) {
            name -> Text,
            tracks -> Text,
            registered_at -> Timestamptz,
        }
    }

    diesel::joinable!(service_events -> services (service));

    diesel::allow_tables_to_appear_in_same_query!(
        attempts,
        audits,
        dead_letters,
        event_archive,
        event_log,
        inbox,
        outbox,
        queue_pace,
        resent,
        service_events,
        services,
    );
}
