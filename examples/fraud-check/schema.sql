-- The service's own rows, in a schema of its own.
CREATE SCHEMA fraud_check;
CREATE TABLE fraud_check.verdicts (
    order_id   uuid        PRIMARY KEY,
    suspicious boolean     NOT NULL,
    judged_at  timestamptz NOT NULL DEFAULT now()
);
