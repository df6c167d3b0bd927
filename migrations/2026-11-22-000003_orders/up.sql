-- Orders as customers see them. Written by the front end and the order service; others read the views.
CREATE SCHEMA orders;

CREATE TABLE orders.orders (
    id               uuid        PRIMARY KEY,
    number           text        NOT NULL UNIQUE,
    status           text        NOT NULL,
    -- The version of the last event that is folded into the status.
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
    updated_at       timestamptz NOT NULL
) WITH (fillfactor = 80);  -- The status is updated in place some three times: room for that avoids index writes.

CREATE TABLE orders.items (
    order_id uuid     NOT NULL REFERENCES orders.orders (id) ON DELETE CASCADE,
    line     smallint NOT NULL,
    sku      text     NOT NULL,
    name     text     NOT NULL,
    quantity integer  NOT NULL CHECK (quantity > 0),
    price    bigint   NOT NULL CHECK (price >= 0),
    PRIMARY KEY (order_id, line)
);

-- Which request made which order, so that a repeated request gets the same answer.
CREATE TABLE orders.idempotency_keys (
    key         text        PRIMARY KEY,
    -- SHA-256 of the request as parsed.
    fingerprint bytea       NOT NULL,
    order_id    uuid        NOT NULL,
    created_at  timestamptz NOT NULL
);
CREATE INDEX idempotency_keys_age ON orders.idempotency_keys (created_at);

CREATE VIEW orders.v_contact AS
    SELECT id AS order_id, number, customer_name AS name, customer_email AS email, total, currency, created_at
    FROM orders.orders;
CREATE VIEW orders.v_shipping AS
    SELECT id AS order_id, customer_name AS name, address_line1, address_line2, city, postal_code, country
    FROM orders.orders;
CREATE VIEW orders.v_payment AS
    SELECT id AS order_id, payment_method, total, currency
    FROM orders.orders;
CREATE VIEW orders.v_items AS
    SELECT order_id, line, sku, name, quantity, price
    FROM orders.items;
