-- Which of the provider's payment intents is an order's: written before it is confirmed, and never changed. Whoever comes
-- back to a charge whose outcome is unknown looks there what became of this one, and never makes a second.
CREATE TABLE payment.intents (
    order_id   uuid        PRIMARY KEY,
    -- The provider's name for it.
    intent_id  text        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now()
);
