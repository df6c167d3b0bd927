-- What can be bought, and for how much. Written by the shop team, read by the front end.
CREATE SCHEMA catalogue;

CREATE TABLE catalogue.products (
    sku         text    PRIMARY KEY CHECK (sku ~ '^[A-Z0-9][A-Z0-9-]{0,31}$'),
    name        text    NOT NULL,
    price       bigint  NOT NULL CHECK (price >= 0),
    currency    text    NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- The place on the page.
    position    integer NOT NULL
);
