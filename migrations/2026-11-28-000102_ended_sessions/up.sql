-- Console sessions that were logged out before they expired: their cookies open nothing any more, at any front end.
-- Forgotten once they would have expired.
CREATE TABLE operations.ended_sessions (
    session_id uuid        PRIMARY KEY,
    expires_at timestamptz NOT NULL
);
