-- What was moved goes back to where it was. When an event was applied is not known any more: it is said to be when it happened.
INSERT INTO messaging.inbox (event_id, subscription, applied_at)
SELECT event_id, unnest(applied), occurred_at FROM messaging.event_archive ON CONFLICT DO NOTHING;
INSERT INTO messaging.event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id,
                                 traceparent, data)
SELECT order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, traceparent, data
FROM messaging.event_archive;
DROP VIEW messaging.v_event_log;
DROP FUNCTION messaging.archive_orders(uuid[], timestamptz, text[], text[]);
DROP FUNCTION messaging.kept_in_log(uuid[], timestamptz, text[], text[]);
DROP TABLE messaging.event_archive;

CREATE OR REPLACE FUNCTION messaging.claim(subscription text, event_id uuid, order_id uuid, event text)
RETURNS TABLE (outcome text, version integer, occurred_at timestamptz, correlation_id uuid, causation_id uuid, data jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
-- So that no schema of the caller can stand in for ours.
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    IF NOT EXISTS (SELECT FROM messaging.services AS service JOIN messaging.service_events AS takes ON takes.service = service.name
                   WHERE service.tracks = 'inbox' AND takes.direction = 'takes' AND takes.event = claim.event
                     AND service.name || '.' || replace(takes.event, '.', '-') = claim.subscription) THEN
        RAISE EXCEPTION 'no registered service tracks % as %', claim.event, claim.subscription
            USING ERRCODE = 'insufficient_privilege', HINT = 'orderflow service register NAME --event KIND --tracks inbox';
    END IF;
    SELECT log.version, log.occurred_at, log.correlation_id, log.causation_id, log.data
    INTO claim.version, claim.occurred_at, claim.correlation_id, claim.causation_id, claim.data
    FROM messaging.event_log AS log
    WHERE log.event_id = claim.event_id AND log.order_id = claim.order_id AND log.event = claim.event;
    IF NOT FOUND THEN
        claim.outcome := 'unknown';
    ELSE
        INSERT INTO messaging.inbox (event_id, subscription) VALUES (claim.event_id, claim.subscription)
        ON CONFLICT DO NOTHING;
        claim.outcome := CASE WHEN FOUND THEN 'claimed' ELSE 'applied' END;
    END IF;
    RETURN NEXT;
END
$$;
