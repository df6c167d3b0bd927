CREATE INDEX outbox_due ON messaging.outbox (available_at);
CREATE INDEX outbox_age ON messaging.outbox (created_at);
DROP INDEX messaging.outbox_due_of_kind;
DROP INDEX messaging.outbox_age_of_kind;
