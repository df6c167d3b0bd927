-- What operators do, by whichever way: console, API or command.
CREATE SCHEMA operations;

-- Who did what to what, and when. A change of the database is written in its own transaction; anything else twice: before
-- it, and how it ended. Rows of one doing have one request_id. No personal data.
CREATE TABLE operations.actions (
    action_id  bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- An operator's name in OPERATOR_TOKENS, or the system's user who ran a command.
    who        text        NOT NULL,
    role       text        NOT NULL CHECK (role IN ('read', 'operate', 'command')),
    what       text        NOT NULL,
    target     text        NOT NULL,
    details    jsonb       NOT NULL,
    request_id uuid        NOT NULL,
    outcome    text        NOT NULL CHECK (outcome IN ('begun', 'done', 'stopped', 'failed'))
);

CREATE FUNCTION operations.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what was done stays written: operations.actions is append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON operations.actions
    FOR EACH STATEMENT EXECUTE FUNCTION operations.refuse();

-- Dead letters that are sent again at an operator's word, and how far that is. Whoever does it writes once a second, so
-- one that was not written for a minute has ended with its process.
CREATE TABLE operations.replays (
    replay_id  uuid        PRIMARY KEY,
    queue      text        NOT NULL,
    who        text        NOT NULL,
    request_id uuid        NOT NULL,
    selection  jsonb       NOT NULL,
    state      text        NOT NULL CHECK (state IN ('running', 'done', 'stopped', 'failed', 'abandoned')),
    selected   integer     NOT NULL DEFAULT 0,
    sent       integer     NOT NULL DEFAULT 0,
    applied    integer     NOT NULL DEFAULT 0,
    died_again integer     NOT NULL DEFAULT 0,
    -- Why it ended before all were sent.
    reason     text,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at   timestamptz,
    CHECK ((state = 'running') = (ended_at IS NULL))
);
-- One at a time of each queue, whichever process does it.
CREATE UNIQUE INDEX replays_running ON operations.replays (queue) WHERE state = 'running';

-- Dead letters that were thrown away by /admin or the console, whole, in case somebody wants one back. (The command
-- writes a file.) Forgotten after 90 days.
CREATE TABLE operations.discarded (
    discarded_id bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    request_id   uuid        NOT NULL,
    discarded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    letter       jsonb       NOT NULL
);
