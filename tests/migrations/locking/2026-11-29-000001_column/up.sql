ALTER TABLE orders.orders ADD COLUMN of_a_test integer;
