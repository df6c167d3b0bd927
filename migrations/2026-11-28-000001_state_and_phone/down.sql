DROP VIEW orders.v_shipping;
CREATE VIEW orders.v_shipping AS
    SELECT id AS order_id, customer_name AS name, address_line1, address_line2, city, postal_code, country
    FROM orders.orders;
ALTER TABLE orders.orders DROP COLUMN state, DROP COLUMN phone;
