-- A dozen products to begin with: one sold out (LAMP-SOLDOUT), one that the simulated carrier refuses (BATTERY-BULK).
INSERT INTO catalogue.products (sku, name, price, currency, position) VALUES
    ('MUG-BLUE',      'Blue stoneware mug',            1499, 'EUR', 1),
    ('MUG-SAND',      'Sand stoneware mug',            1499, 'EUR', 2),
    ('TEAPOT-1L',     'Teapot, one litre',             3990, 'EUR', 3),
    ('COFFEE-250',    'Coffee beans, 250 g',            890, 'EUR', 4),
    ('COFFEE-1000',   'Coffee beans, 1 kg',            2990, 'EUR', 5),
    ('GRINDER-HAND',  'Hand coffee grinder',           4990, 'EUR', 6),
    ('KETTLE-GOOSE',  'Gooseneck kettle',              5990, 'EUR', 7),
    ('FILTER-100',    'Paper filters, 100 pieces',      450, 'EUR', 8),
    ('APRON-LINEN',   'Linen apron',                   2790, 'EUR', 9),
    ('NOTEBOOK-A5',   'Tasting notebook, A5',          1250, 'EUR', 10),
    ('BATTERY-BULK',  'Bulk lithium battery pack',     7990, 'EUR', 11),
    ('LAMP-SOLDOUT',  'Desk lamp, first edition',      8900, 'EUR', 12);

INSERT INTO inventory.stock (sku, available)
    SELECT sku, CASE sku WHEN 'LAMP-SOLDOUT' THEN 0 ELSE 1000000 END FROM catalogue.products;
INSERT INTO inventory.movements (sku, kind, quantity)
    SELECT sku, 'received', available FROM inventory.stock WHERE available > 0;
