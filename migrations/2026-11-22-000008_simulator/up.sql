-- The ledger of the simulated payment provider. It stands for another company's database:
-- nothing of Orderflow but the simulator itself reads or writes it.
CREATE SCHEMA simulator;

CREATE TABLE simulator.charges (
    idempotency_key text        PRIMARY KEY,
    charge_id       text        NOT NULL UNIQUE,
    reference       text        NOT NULL,
    method          text        NOT NULL,
    amount          bigint      NOT NULL,
    currency        text        NOT NULL,
    outcome         text        NOT NULL CHECK (outcome IN ('succeeded', 'declined', 'failing')),
    -- How often this key was asked for: what an idempotent provider absorbed is seen here.
    requests        integer     NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX charges_reference ON simulator.charges (reference);
