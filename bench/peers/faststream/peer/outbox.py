"""The outbox: committed events that the broker has not confirmed yet."""

import asyncio
import json
import logging

import asyncpg

from .event import NewEvent, OrderEvent
from .infrastructure import broker, database
from .topology import EVENTS

# One statement writes log and outbox, as Orderflow's does.
APPEND = """
WITH logged AS (
    INSERT INTO event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, data)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
)
INSERT INTO outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, available_at)
VALUES ($3, $1, $4, $5, $6, $7, $10, now() + interval '10 seconds')
"""

DELETE = "DELETE FROM outbox WHERE event_id = $1"

LEASE_DUE = """
UPDATE outbox SET available_at = now() + interval '60 seconds', attempts = attempts + 1
WHERE event_id IN (SELECT event_id FROM outbox WHERE available_at <= now() LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING event, body
"""


async def append(connection: asyncpg.Connection, new: NewEvent) -> NewEvent:
    """Appends the event to its order's log and to the outbox, in the caller's transaction, and returns it."""
    event = new.event
    await connection.execute(
        APPEND, event.subject, event.orderversion, event.id, new.kind, event.source, event.time, event.correlationid,
        event.causationid, json.dumps(event.data), new.body,
    )
    return new


async def publish(connection: asyncpg.Connection, new: NewEvent) -> None:
    """Publishes a committed event, waits for the broker's confirm and deletes the outbox row."""
    event = new.event
    await broker.publish(
        new.body.encode(),
        exchange=EVENTS,
        routing_key=new.kind,
        persist=True,
        content_type="application/cloudevents+json",
        message_id=str(event.id),
        message_type=event.type,
        timestamp=event.time,
        correlation_id=str(event.correlationid),
    )
    await connection.execute(DELETE, event.id)


async def publish_due() -> None:
    """Publishes the events of processes that died between commit and confirm."""
    async with database.connection() as connection:
        for row in await connection.fetch(LEASE_DUE):
            event = OrderEvent.model_validate_json(row["body"])
            await publish(connection, NewEvent(row["event"], event, row["body"]))


async def relay() -> None:
    """Publishes due events every five seconds."""
    while True:
        await asyncio.sleep(5)
        try:
            await publish_due()
        except Exception:
            logging.exception("the relay failed")
