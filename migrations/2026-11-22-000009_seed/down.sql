DELETE FROM inventory.movements WHERE order_id IS NULL;
DELETE FROM inventory.stock;
DELETE FROM catalogue.products;
