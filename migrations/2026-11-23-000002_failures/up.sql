-- What failed, for people: RabbitMQ has the messages and stays the truth.

-- Attempts that failed; those that succeeded are in the inbox. Written after the message is safe in its retry tier or
-- dead-letter queue, so a crash can leave one out.
CREATE TABLE messaging.attempts (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- None where the message is no event of ours.
    event_id     uuid,
    subscription text        NOT NULL,
    attempt      integer     NOT NULL,
    reason       text        NOT NULL,
    worker       text        NOT NULL,
    failed_at    timestamptz NOT NULL,
    -- When the next attempt is due; none where the message was dead-lettered.
    retry_at     timestamptz
);
CREATE INDEX attempts_event ON messaging.attempts (event_id, subscription);
CREATE INDEX attempts_age ON messaging.attempts (failed_at);

-- Which messages lie in a dead-letter queue: one that left it by a command says how. One that a person moved in the
-- management UI stays until the inbox shows that its event was applied.
CREATE TABLE messaging.dead_letters (
    id           bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id     uuid,
    subscription text        NOT NULL,
    attempt      integer     NOT NULL,
    reason       text        NOT NULL,
    worker       text        NOT NULL,
    died_at      timestamptz NOT NULL,
    left_at      timestamptz,
    left_by      text        CHECK (left_by IN ('replayed', 'discarded', 'died_again')),
    CHECK ((left_at IS NULL) = (left_by IS NULL))
);
CREATE INDEX dead_letters_event ON messaging.dead_letters (event_id, subscription);
CREATE INDEX dead_letters_waiting ON messaging.dead_letters (subscription, died_at) WHERE left_at IS NULL;

-- Deliveries that went missing (a queue was deleted, a broker lost) and were sent again: how often, so that it ends.
CREATE TABLE messaging.resent (
    event_id     uuid        NOT NULL,
    subscription text        NOT NULL,
    times        integer     NOT NULL DEFAULT 1,
    last_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, subscription)
);

-- The log is appended to in the order of time: a range of it is found by a few pages of this index.
CREATE INDEX event_log_time ON messaging.event_log USING brin (occurred_at) WITH (pages_per_range = 16);

-- People know their e-mail address, not their order's number.
CREATE INDEX orders_email ON orders.orders (lower(customer_email));

-- For `orderflow why`, which reads what other services wrote through views.
CREATE VIEW payment.v_payments AS
    SELECT order_id, payment_id, status, amount, currency, charge_id, refund_id, reason, created_at, reversed_at
    FROM payment.payments;
CREATE VIEW inventory.v_reservations AS SELECT order_id, outcome, decided_at, released_at FROM inventory.reservations;
CREATE VIEW inventory.v_movements AS
    SELECT order_id, sku, kind, quantity, occurred_at FROM inventory.movements WHERE order_id IS NOT NULL;
CREATE VIEW shipping.v_shipments AS
    SELECT order_id, status, tracking_number, reason, created_at FROM shipping.shipments;
CREATE VIEW email.v_mails AS SELECT order_id, kind, message_id, created_at, sent_at FROM email.mails;
