-- The service's rows, in its own schema.
CREATE SCHEMA fraud_check;
CREATE TABLE fraud_check.verdicts (
    order_id   uuid        PRIMARY KEY,
    suspicious boolean     NOT NULL,
    judged_at  timestamptz NOT NULL DEFAULT now()
);
