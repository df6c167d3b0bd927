-- How audits ended that were asked to write it down (`orderflow audit --record`), for the metric and the alert.
CREATE TABLE messaging.audits (
    audit_id    bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    finished_at timestamptz NOT NULL DEFAULT now(),
    orders      bigint      NOT NULL CHECK (orders >= 0),
    violations  bigint      NOT NULL CHECK (violations >= 0)
);
