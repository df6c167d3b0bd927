-- How fast each worker process goes through each queue: for `orderflow queues` and `orderflow top`, which work without
-- Prometheus. Written by every worker every ten seconds; a row that is older than a minute is not believed, and deleted by
-- whoever writes next.
CREATE TABLE messaging.queue_pace (
    worker              text             NOT NULL,
    queue               text             NOT NULL,
    measured_at         timestamptz      NOT NULL,
    -- Events that the process has in hand at most; 0 while it does not work the queue.
    slots               integer          NOT NULL,
    -- Events that it has in hand.
    in_hand             integer          NOT NULL,
    events_per_second   double precision NOT NULL,
    failures_per_second double precision NOT NULL,
    -- The mean time of an event in hand; none before the first.
    processing_seconds  double precision,
    -- The mean time from an event until its first attempt; none where there was none lately.
    lag_seconds         double precision,
    PRIMARY KEY (worker, queue)
);

-- What waits in a retry tier, by queue: the tiers are shared, so the broker cannot tell. Only failed attempts are written
-- to this table, and no message waits for that, so a short lock is no harm.
CREATE INDEX attempts_due ON messaging.attempts (retry_at) WHERE retry_at IS NOT NULL;
