-- Written by the inventory service and by `orderflow stock`.
CREATE SCHEMA inventory;

-- The sum of a product's movements. The row is the lock that serialises them, and the check is the last word on overselling.
CREATE TABLE inventory.stock (
    sku       text   PRIMARY KEY,
    available bigint NOT NULL CHECK (available >= 0)
) WITH (fillfactor = 50);  -- Updated for every batch of orders: room for that avoids index writes.

-- Every change of stock, appended to and never changed; `quantity` is what it adds to what is available.
CREATE TABLE inventory.movements (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sku         text        NOT NULL,
    kind        text        NOT NULL CHECK (kind IN ('received', 'adjusted', 'reserved', 'released')),
    quantity    bigint      NOT NULL,
    order_id    uuid,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind IN ('reserved', 'released')) = (order_id IS NOT NULL)),
    UNIQUE (order_id, sku, kind)
);
CREATE INDEX movements_sku ON inventory.movements (sku);

-- What was decided for each order, once.
CREATE TABLE inventory.reservations (
    order_id   uuid        PRIMARY KEY,
    outcome    text        NOT NULL CHECK (outcome IN ('reserved', 'rejected')),
    decided_at timestamptz NOT NULL DEFAULT now()
);

CREATE VIEW inventory.v_available AS SELECT sku, available FROM inventory.stock;
