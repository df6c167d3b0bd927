-- What every service shares to exchange events: the log, the outbox, the inbox.
CREATE SCHEMA messaging;

-- The source of truth and the audit trail: appended to, never changed.
-- The primary key gives each order's events consecutive versions: of two writers of one version, one fails and tries again.
CREATE TABLE messaging.event_log (
    order_id       uuid        NOT NULL,
    version        integer     NOT NULL CHECK (version > 0),
    event_id       uuid        NOT NULL,
    event          text        NOT NULL,
    source         text        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    correlation_id uuid        NOT NULL,
    causation_id   uuid,
    traceparent    text,
    data           jsonb       NOT NULL,
    PRIMARY KEY (order_id, version),
    -- The order's id is part of the key so that the table can be partitioned by it one day.
    UNIQUE (event_id, order_id)
);

-- Events that are committed but that the broker has not confirmed yet. Whoever wrote a row publishes it at once;
-- it becomes due for any process's relay only when that did not succeed in time.
CREATE TABLE messaging.outbox (
    event_id       uuid        PRIMARY KEY,
    order_id       uuid        NOT NULL,
    event          text        NOT NULL,
    source         text        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    correlation_id uuid        NOT NULL,
    body           text        NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    available_at   timestamptz NOT NULL,
    attempts       integer     NOT NULL DEFAULT 0
) WITH (
    -- Rows live for milliseconds: vacuum by count, not by share, so that the table stays small at any load.
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000
);
CREATE INDEX outbox_due ON messaging.outbox (available_at);
CREATE INDEX outbox_age ON messaging.outbox (created_at);

-- Which subscription has applied which event; a second delivery finds its row here.
CREATE TABLE messaging.inbox (
    event_id     uuid        NOT NULL,
    subscription text        NOT NULL,
    applied_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, subscription)
);
