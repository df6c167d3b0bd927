-- An order's points, booked once, whichever event says that it was shipped.
CREATE TABLE bookings (
    order_id  uuid        PRIMARY KEY,
    points    bigint      NOT NULL CHECK (points >= 0),
    booked_at timestamptz NOT NULL DEFAULT now()
);
