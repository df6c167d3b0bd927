CREATE INDEX outbox_age_of_kind ON messaging.outbox (event, created_at);
