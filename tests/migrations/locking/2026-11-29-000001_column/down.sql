ALTER TABLE orders.orders DROP COLUMN of_a_test;
