-- Services that run outside these programs, by `orderflow service register`: what has to exist for them on RabbitMQ, and what
-- commands and console look at, follows from these rows and from the services that the programs are built with.
CREATE TABLE messaging.services (
    name          text        PRIMARY KEY CHECK (name ~ '^[a-z][a-z0-9-]{1,29}$'),
    -- Where one sees what it has applied: in messaging.inbox, or nowhere.
    tracks        text        NOT NULL CHECK (tracks IN ('inbox', 'none')),
    registered_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE messaging.service_events (
    service   text NOT NULL REFERENCES messaging.services ON DELETE CASCADE,
    direction text NOT NULL CHECK (direction IN ('takes', 'publishes')),
    -- A routing key: queues are named after it.
    event     text NOT NULL CHECK (event ~ '^[a-z0-9-]+\.[a-z0-9-]+$' AND length(event) <= 100),
    PRIMARY KEY (service, direction, event)
);

-- Claims an event for a subscription in the caller's transaction, and gives what the event log says of it. A message only names
-- an event: whoever has a password of RabbitMQ can publish one.
--
-- outcome: 'claimed' (act on the log's data, and commit), 'applied' (it was before: acknowledge the message), 'unknown' (the log
-- has no such event, or not of this order and kind: give it a short retry, then dead-letter it). All but the outcome is null
-- where it is unknown. A claim that another transaction is just making is waited for.
--
-- It runs with its owner's rights, so that a service needs none on the tables: GRANT USAGE ON SCHEMA messaging and
-- GRANT EXECUTE ON FUNCTION messaging.claim are enough. Therefore it claims for registered services alone.
CREATE FUNCTION messaging.claim(subscription text, event_id uuid, order_id uuid, event text)
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
REVOKE ALL ON FUNCTION messaging.claim(text, uuid, uuid, text) FROM PUBLIC;
