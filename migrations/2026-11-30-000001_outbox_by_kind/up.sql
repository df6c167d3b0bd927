-- Each process publishes what its own services wrote, and what waits is counted by kind: so both are looked for by kind first.
CREATE INDEX outbox_due_of_kind ON messaging.outbox (event, available_at);
CREATE INDEX outbox_age_of_kind ON messaging.outbox (event, created_at);
DROP INDEX messaging.outbox_due;
DROP INDEX messaging.outbox_age;
