-- The peers' tables: the same as those that Orderflow writes in the forward flow, with the same columns, keys and
-- indexes, without schemas and roles, and without the columns and tables of the backward flow.

-- Tables of migrations/2026-11-22-000001_messaging.
CREATE TABLE event_log (
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
    UNIQUE (event_id, order_id)
);
CREATE INDEX event_log_time ON event_log USING brin (occurred_at) WITH (pages_per_range = 16);

CREATE TABLE outbox (
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
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000,
    autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 10000
);
CREATE INDEX outbox_due_of_kind ON outbox (event, available_at);

CREATE TABLE inbox (
    event_id     uuid        NOT NULL,
    subscription text        NOT NULL,
    applied_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (event_id, subscription)
);

-- Tables of 2026-11-22-000003_orders.
CREATE TABLE orders (
    id               uuid        PRIMARY KEY,
    number           text        NOT NULL UNIQUE,
    status           text        NOT NULL,
    version          integer     NOT NULL,
    cancel_requested boolean     NOT NULL DEFAULT false,
    total            bigint      NOT NULL CHECK (total >= 0),
    currency         text        NOT NULL,
    customer_name    text        NOT NULL,
    customer_email   text        NOT NULL,
    address_line1    text        NOT NULL,
    address_line2    text,
    city             text        NOT NULL,
    postal_code      text        NOT NULL,
    country          text        NOT NULL,
    payment_method   text        NOT NULL,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    state            text,
    phone            text
) WITH (fillfactor = 80);
CREATE INDEX orders_email ON orders (lower(customer_email));

CREATE TABLE items (
    order_id uuid     NOT NULL REFERENCES orders (id) ON DELETE CASCADE,
    line     smallint NOT NULL,
    sku      text     NOT NULL,
    name     text     NOT NULL,
    quantity integer  NOT NULL CHECK (quantity > 0),
    price    bigint   NOT NULL CHECK (price >= 0),
    PRIMARY KEY (order_id, line)
);

CREATE TABLE idempotency_keys (
    key         text        PRIMARY KEY,
    fingerprint bytea       NOT NULL,
    order_id    uuid        NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);

-- One table a service.
CREATE TABLE payments (
    order_id    uuid        PRIMARY KEY,
    payment_id  text        NOT NULL UNIQUE,
    status      text        NOT NULL CHECK (status IN ('succeeded', 'declined')),
    amount      bigint      NOT NULL CHECK (amount >= 0),
    currency    text        NOT NULL,
    charge_id   text,
    reason      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'succeeded') = (charge_id IS NOT NULL)),
    CHECK ((status = 'declined') = (reason IS NOT NULL))
);

CREATE TABLE stock (
    sku       text   PRIMARY KEY,
    available bigint NOT NULL CHECK (available >= 0)
) WITH (fillfactor = 50);

CREATE TABLE movements (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku         text        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('received', 'adjusted', 'reserved', 'released')),
    quantity    bigint      NOT NULL,
    order_id    uuid,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind IN ('reserved', 'released')) = (order_id IS NOT NULL)),
    UNIQUE (order_id, sku, kind)
);
CREATE INDEX movements_sku ON movements (sku);

CREATE TABLE reservations (
    order_id   uuid        PRIMARY KEY,
    outcome    text        NOT NULL CHECK (outcome IN ('reserved', 'rejected')),
    decided_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shipments (
    order_id        uuid        PRIMARY KEY,
    status          text        NOT NULL CHECK (status IN ('created', 'refused')),
    tracking_number text,
    reason          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'created') = (tracking_number IS NOT NULL)),
    CHECK ((status = 'refused') = (reason IS NOT NULL))
);

CREATE TABLE mails (
    order_id   uuid        NOT NULL,
    kind       text        NOT NULL,
    message_id text        NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz,
    PRIMARY KEY (order_id, kind)
);

-- The simulated provider's ledger.
CREATE TABLE charges (
    idempotency_key text        PRIMARY KEY,
    charge_id       text        NOT NULL UNIQUE,
    reference       text        NOT NULL,
    method          text        NOT NULL,
    amount          bigint      NOT NULL,
    currency        text        NOT NULL,
    outcome         text        NOT NULL CHECK (outcome IN ('succeeded', 'declined', 'failing')),
    requests        integer     NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX charges_reference ON charges (reference);

INSERT INTO stock (sku, available) VALUES ('MUG-BLUE', 1000000);
INSERT INTO movements (sku, kind, quantity) SELECT sku, 'received', available FROM stock;

-- Places orders of one blue mug, with the rows that the front end writes: the order, its item, its idempotency key, its
-- first event in log and outbox. Only seeding uses it; it is not measured. `bodies` are the events as CloudEvents JSON.
CREATE FUNCTION place_orders(order_ids uuid[], numbers text[], bodies text[]) RETURNS void LANGUAGE sql AS $$
    WITH fresh AS (
        SELECT order_id, number, body, body::jsonb AS event, (body::jsonb ->> 'id')::uuid AS event_id,
               (body::jsonb ->> 'time')::timestamptz AS at, (body::jsonb ->> 'correlationid')::uuid AS correlation_id
        FROM unnest(order_ids, numbers, bodies) AS row (order_id, number, body)
    ), ordered AS (
        INSERT INTO orders (id, number, status, version, total, currency, customer_name, customer_email, address_line1,
                            city, postal_code, country, payment_method, created_at, updated_at)
        SELECT order_id, number, 'pending', 1, 1499, 'EUR', 'Ada Lovelace', 'ada@example.com', '12 St James''s Square',
               'London', 'SW1Y 4JH', 'GB', 'pm_card_visa', at, at FROM fresh
    ), itemized AS (
        INSERT INTO items (order_id, line, sku, name, quantity, price)
        SELECT order_id, 1, 'MUG-BLUE', 'Blue stoneware mug', 1, 1499 FROM fresh
    ), keyed AS (
        INSERT INTO idempotency_keys (key, fingerprint, order_id, created_at)
        SELECT 'key-' || order_id, sha256(convert_to(body, 'UTF8')), order_id, at FROM fresh
    ), logged AS (
        INSERT INTO event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, data)
        SELECT order_id, 1, event_id, 'order.created', '/orderflow/order', at, correlation_id, event -> 'data' FROM fresh
    )
    INSERT INTO outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, available_at)
    SELECT event_id, order_id, 'order.created', '/orderflow/order', at, correlation_id, body, now() + interval '10 seconds'
    FROM fresh
$$;
