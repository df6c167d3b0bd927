-- Written by the shipping service alone.
CREATE SCHEMA shipping;

CREATE TABLE shipping.shipments (
    order_id        uuid        PRIMARY KEY,
    status          text        NOT NULL CHECK (status IN ('created', 'refused')),
    tracking_number text,
    -- The carrier's reason where it refused.
    reason          text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'created') = (tracking_number IS NOT NULL)),
    CHECK ((status = 'refused') = (reason IS NOT NULL))
);
