-- The backward chain: what a cancelled, refused or rejected order leaves in each service's rows.
-- Checks are replaced by wider ones: rows and programs of before go on to be valid.

-- voided: cancelled before anything was charged. refunded: charged, and given back as a whole.
ALTER TABLE payment.payments
    ADD COLUMN refund_id   text,
    ADD COLUMN reversed_at timestamptz,
    DROP CONSTRAINT payments_status_check,
    DROP CONSTRAINT payments_check,
    DROP CONSTRAINT payments_check1,
    ADD CONSTRAINT payments_status CHECK (status IN ('succeeded', 'declined', 'voided', 'refunded')),
    ADD CONSTRAINT payments_charge CHECK ((status IN ('succeeded', 'refunded')) = (charge_id IS NOT NULL)),
    ADD CONSTRAINT payments_reason CHECK ((status = 'declined') = (reason IS NOT NULL)),
    ADD CONSTRAINT payments_refund CHECK ((status = 'refunded') = (refund_id IS NOT NULL));

-- released: reserved, and given back. cancelled: the order ended before anything was reserved.
ALTER TABLE inventory.reservations
    ADD COLUMN released_at timestamptz,
    DROP CONSTRAINT reservations_outcome_check,
    ADD CONSTRAINT reservations_outcome CHECK (outcome IN ('reserved', 'rejected', 'released', 'cancelled'));

-- booking: the carrier is being asked; from here on a customer's cancel comes too late.
-- cancelled: the customer's cancel came first.
ALTER TABLE shipping.shipments
    DROP CONSTRAINT shipments_status_check,
    ADD CONSTRAINT shipments_status CHECK (status IN ('booking', 'created', 'refused', 'cancelled'));

-- voided: whoever asks for this charge from now on is told that there will be none.
ALTER TABLE simulator.charges
    DROP CONSTRAINT charges_outcome_check,
    ADD CONSTRAINT charges_outcome CHECK (outcome IN ('succeeded', 'declined', 'failing', 'voided'));

CREATE TABLE simulator.refunds (
    idempotency_key text        PRIMARY KEY,
    refund_id       text        NOT NULL UNIQUE,
    charge_id       text        NOT NULL REFERENCES simulator.charges (charge_id),
    amount          bigint      NOT NULL CHECK (amount >= 0),
    currency        text        NOT NULL,
    -- How often this key was asked for.
    requests        integer     NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refunds_charge ON simulator.refunds (charge_id);
