CREATE TABLE bookings (
    order_id uuid   PRIMARY KEY,
    points   bigint NOT NULL
);
