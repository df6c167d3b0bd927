ALTER TABLE bookings ADD COLUMN booked_at timestamptz NOT NULL DEFAULT now();
