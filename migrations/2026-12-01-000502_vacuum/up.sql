-- By default PostgreSQL vacuums a table when a fifth of its rows is new or dead (autovacuum_vacuum_insert_scale_factor and
-- autovacuum_vacuum_scale_factor, 0.2): of ten million events every two million, so ever more seldom and ever longer. Of the two tables
-- that get rows with every event it is done by number instead, as of the outbox.
--
-- The log's index by time is a BRIN, which only vacuum brings up to date (PostgreSQL's manual, "BRIN Indexes", "Index
-- Maintenance"): whoever looks for missing deliveries, once a minute, reads all that came after. 100,000 events are some 50 MB.
-- Vacuum of rows that were only added reads their pages alone and none of the indexes (the manual, "Routine Vacuuming").
--
-- 500,000 dead rows are what `orderflow retention` leaves of some 100,000 orders: then their room is used again.
--
-- Neither takes a lock that an order waits for. All other tables are well with the default: they have a few rows an order, found
-- by key, and dead versions of an order's row go with the next look at their page (HOT, fillfactor 80).
ALTER TABLE messaging.event_log SET (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500000
);
ALTER TABLE messaging.inbox SET (
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 200000,
    autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500000
);
