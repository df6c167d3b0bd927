-- Written by the payment service alone.
CREATE SCHEMA payment;

CREATE TABLE payment.payments (
    order_id    uuid        PRIMARY KEY,
    payment_id  text        NOT NULL UNIQUE,
    status      text        NOT NULL CHECK (status IN ('succeeded', 'declined')),
    amount      bigint      NOT NULL CHECK (amount >= 0),
    currency    text        NOT NULL,
    -- The provider's id of the charge, by which it is refunded.
    charge_id   text,
    -- The provider's reason where it declined.
    reason      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'succeeded') = (charge_id IS NOT NULL)),
    CHECK ((status = 'declined') = (reason IS NOT NULL))
);
