-- What is forgotten after 90 days is found by its age. Only who throws dead letters away writes to this table, so a short lock
-- is no harm.
CREATE INDEX discarded_age ON operations.discarded (discarded_at);
