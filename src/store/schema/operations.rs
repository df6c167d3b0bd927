// @generated automatically by Diesel CLI.

pub mod operations {
    diesel::table! {
        operations.actions (action_id) {
            action_id -> Int8,
            at -> Timestamptz,
            who -> Text,
            role -> Text,
            what -> Text,
            target -> Text,
            details -> Jsonb,
            request_id -> Uuid,
            outcome -> Text,
        }
    }

    diesel::table! {
        operations.discarded (discarded_id) {
            discarded_id -> Int8,
            request_id -> Uuid,
            discarded_at -> Timestamptz,
            letter -> Jsonb,
        }
    }

    diesel::table! {
        operations.ended_sessions (session_id) {
            session_id -> Uuid,
            expires_at -> Timestamptz,
        }
    }

    diesel::table! {
        operations.replays (replay_id) {
            replay_id -> Uuid,
            queue -> Text,
            who -> Text,
            request_id -> Uuid,
            selection -> Jsonb,
            state -> Text,
            selected -> Int4,
            sent -> Int4,
            applied -> Int4,
            died_again -> Int4,
            reason -> Nullable<Text>,
            started_at -> Timestamptz,
            updated_at -> Timestamptz,
            ended_at -> Nullable<Timestamptz>,
        }
    }

    diesel::allow_tables_to_appear_in_same_query!(actions, discarded, ended_sessions, replays,);
}
