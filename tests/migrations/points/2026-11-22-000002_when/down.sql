ALTER TABLE bookings DROP COLUMN booked_at;
