-- Where the history of finished orders goes that `orderflow retention` moves out of the way of those that are under way. Nothing
-- is lost: a row is the event as the log had it, and who had applied it, which were some eight rows of the inbox for each order.
CREATE TABLE messaging.event_archive (
    order_id       uuid        NOT NULL,
    version        integer     NOT NULL,
    event_id       uuid        NOT NULL,
    event          text        NOT NULL,
    source         text        NOT NULL,
    occurred_at    timestamptz NOT NULL,
    correlation_id uuid        NOT NULL,
    causation_id   uuid,
    traceparent    text,
    data           jsonb       NOT NULL,
    -- The subscriptions that have applied it.
    applied        text[]      NOT NULL,
    archived_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, version),
    UNIQUE (event_id, order_id)
) WITH (
    -- Inserted into and never changed: vacuumed for its visibility map, and frozen, after every 100,000 rows.
    autovacuum_vacuum_insert_scale_factor = 0, autovacuum_vacuum_insert_threshold = 100000
);

-- The whole history, wherever it is. Each half is found by its own key.
CREATE VIEW messaging.v_event_log AS
    SELECT order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, traceparent, data,
           false AS archived
    FROM messaging.event_log
    UNION ALL
    SELECT order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, traceparent, data, true
    FROM messaging.event_archive;

-- Why each of these orders stays in the log; null where nothing keeps it. What is younger than `horizon` stays. `takes_event` and
-- `takes_subscription` are the pairs of what each tracked subscription takes.
CREATE FUNCTION messaging.kept_in_log(
    orders uuid[], horizon timestamptz, takes_event text[], takes_subscription text[]
) RETURNS TABLE (order_id uuid, reason text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
-- All tables are read by key, however many rows are expected.
SET enable_seqscan = off
AS $$
    SELECT placed.id, CASE
        WHEN placed.status NOT IN ('shipped', 'payment_failed', 'cancelled') THEN 'unfinished'
        WHEN placed.updated_at >= horizon OR EXISTS (
            SELECT FROM messaging.event_log AS log WHERE log.order_id = placed.id AND log.occurred_at >= horizon) THEN 'recent'
        -- Events that are not folded into the status yet, or a history that is not whole.
        WHEN placed.version IS DISTINCT FROM (
            SELECT max(log.version) FROM messaging.event_log AS log WHERE log.order_id = placed.id) THEN 'behind'
        WHEN EXISTS (
            SELECT FROM messaging.event_log AS log JOIN messaging.outbox USING (event_id)
            WHERE log.order_id = placed.id) THEN 'unpublished'
        WHEN EXISTS (
            SELECT FROM messaging.event_log AS log
            JOIN messaging.dead_letters AS dead ON dead.event_id = log.event_id AND dead.left_at IS NULL
            WHERE log.order_id = placed.id AND NOT EXISTS (
                SELECT FROM messaging.inbox
                WHERE inbox.event_id = dead.event_id AND inbox.subscription = dead.subscription)) THEN 'dead letter'
        WHEN EXISTS (
            SELECT FROM messaging.event_log AS log JOIN messaging.attempts AS failed ON failed.event_id = log.event_id
            WHERE log.order_id = placed.id AND greatest(failed.failed_at, failed.retry_at) >= horizon) THEN 'retried'
        WHEN EXISTS (
            SELECT FROM messaging.event_log AS log
            JOIN unnest(takes_event, takes_subscription) AS takes (event, subscription) ON takes.event = log.event
            WHERE log.order_id = placed.id
              AND NOT EXISTS (
                  SELECT FROM messaging.inbox
                  WHERE inbox.event_id = log.event_id AND inbox.subscription = takes.subscription)
              AND NOT EXISTS (
                  SELECT FROM messaging.dead_letters AS dead
                  WHERE dead.event_id = log.event_id AND dead.subscription = takes.subscription
                    AND dead.left_by = 'discarded')) THEN 'not applied'
        END
    FROM unnest(orders) AS wanted (id) JOIN orders.orders AS placed USING (id)
$$;

-- Moves the history of those of these orders that nothing keeps, in the caller's transaction; `moved_orders` and so on are how
-- much that was. An order that somebody is just working on is skipped, and so is what another call is just moving.
--
-- It runs with its owner's rights, so that whoever may call it can move finished history and do nothing else to it. It refuses
-- what is younger than 90 days: until then a customer's link opens the order, failed attempts and discarded dead letters are kept, and
-- a message that comes late is usual. It gives up where a lock is not to be had within two seconds.
CREATE FUNCTION messaging.archive_orders(
    orders uuid[], horizon timestamptz, takes_event text[], takes_subscription text[]
) RETURNS TABLE (moved_orders bigint, moved_events bigint, moved_inbox bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET lock_timeout = '2s'
AS $$
DECLARE
    locked uuid[];
    chosen uuid[];
BEGIN
    IF horizon IS NULL OR horizon > now() - interval '90 days' THEN
        RAISE EXCEPTION 'orders of the last 90 days stay in the log' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    SELECT array_agg(id) INTO locked FROM (
        SELECT placed.id FROM orders.orders AS placed WHERE placed.id = ANY (archive_orders.orders)
        ORDER BY placed.id FOR UPDATE SKIP LOCKED
    ) AS free;
    -- After the locks, so that what happened until then is seen.
    SELECT array_agg(kept.order_id) INTO chosen
    FROM messaging.kept_in_log(locked, horizon, takes_event, takes_subscription) AS kept WHERE kept.reason IS NULL;
    -- One that a person moved in RabbitMQ's own pages, and that was applied then: the inbox said so.
    UPDATE messaging.dead_letters AS dead SET left_at = now(), left_by = 'replayed'
    FROM messaging.event_log AS log
    WHERE log.order_id = ANY (chosen) AND dead.event_id = log.event_id AND dead.left_at IS NULL;
    -- One statement, which sees one moment: an event that is written meanwhile stays where it is.
    WITH applied AS (
        DELETE FROM messaging.inbox USING messaging.event_log AS log
        WHERE log.order_id = ANY (chosen) AND inbox.event_id = log.event_id
        RETURNING inbox.event_id, inbox.subscription
    ), gone AS (
        DELETE FROM messaging.event_log AS log WHERE log.order_id = ANY (chosen) RETURNING log.*
    ), added AS (
        INSERT INTO messaging.event_archive (order_id, version, event_id, event, source, occurred_at, correlation_id,
                                             causation_id, traceparent, data, applied)
        SELECT gone.order_id, gone.version, gone.event_id, gone.event, gone.source, gone.occurred_at, gone.correlation_id,
               gone.causation_id, gone.traceparent, gone.data, coalesce(by_event.subscriptions, '{}')
        FROM gone LEFT JOIN (
            SELECT applied.event_id, array_agg(applied.subscription ORDER BY applied.subscription) AS subscriptions
            FROM applied GROUP BY applied.event_id
        ) AS by_event USING (event_id)
        RETURNING event_archive.order_id
    )
    SELECT count(DISTINCT added.order_id), count(*), (SELECT count(*) FROM applied)
    INTO moved_orders, moved_events, moved_inbox FROM added;
    RETURN NEXT;
END
$$;
REVOKE ALL ON FUNCTION messaging.archive_orders(uuid[], timestamptz, text[], text[]) FROM PUBLIC;

-- As before, but for events that are in the archive: these are finished, so they are 'applied', whoever gets them. The claim comes first,
-- since what is moved to the archive in the moment between would else be claimed a second time.
CREATE OR REPLACE FUNCTION messaging.claim(subscription text, event_id uuid, order_id uuid, event text)
RETURNS TABLE (outcome text, version integer, occurred_at timestamptz, correlation_id uuid, causation_id uuid, data jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    is_first boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM messaging.services AS service JOIN messaging.service_events AS takes ON takes.service = service.name
                   WHERE service.tracks = 'inbox' AND takes.direction = 'takes' AND takes.event = claim.event
                     AND service.name || '.' || replace(takes.event, '.', '-') = claim.subscription) THEN
        RAISE EXCEPTION 'no registered service tracks % as %', claim.event, claim.subscription
            USING ERRCODE = 'insufficient_privilege', HINT = 'orderflow service register NAME --event KIND --tracks inbox';
    END IF;
    INSERT INTO messaging.inbox (event_id, subscription) VALUES (claim.event_id, claim.subscription)
    ON CONFLICT DO NOTHING;
    is_first := FOUND;
    SELECT log.version, log.occurred_at, log.correlation_id, log.causation_id, log.data
    INTO claim.version, claim.occurred_at, claim.correlation_id, claim.causation_id, claim.data
    FROM messaging.event_log AS log
    WHERE log.event_id = claim.event_id AND log.order_id = claim.order_id AND log.event = claim.event;
    IF FOUND THEN
        claim.outcome := CASE WHEN is_first THEN 'claimed' ELSE 'applied' END;
        RETURN NEXT;
        RETURN;
    END IF;
    IF is_first THEN
        DELETE FROM messaging.inbox
        WHERE inbox.event_id = claim.event_id AND inbox.subscription = claim.subscription;
    END IF;
    SELECT log.version, log.occurred_at, log.correlation_id, log.causation_id, log.data
    INTO claim.version, claim.occurred_at, claim.correlation_id, claim.causation_id, claim.data
    FROM messaging.event_archive AS log
    WHERE log.event_id = claim.event_id AND log.order_id = claim.order_id AND log.event = claim.event;
    claim.outcome := CASE WHEN FOUND THEN 'applied' ELSE 'unknown' END;
    RETURN NEXT;
END
$$;

-- Whoever reads the log reads the archive, also before `orderflow rights apply` is run again.
DO $$ DECLARE reader text; BEGIN
    FOR reader IN
        SELECT DISTINCT grantee::regrole::text FROM pg_catalog.pg_class, pg_catalog.aclexplode(relacl)
        WHERE oid = 'messaging.event_log'::regclass AND privilege_type = 'SELECT' AND grantee NOT IN (0, relowner)
    LOOP
        EXECUTE format('GRANT SELECT ON messaging.event_archive, messaging.v_event_log TO %s', reader);
    END LOOP;
END $$;
