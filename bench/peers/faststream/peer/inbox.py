"""The inbox: records which subscription has applied which event, so that a second delivery changes nothing."""

from collections.abc import Awaitable, Callable

import asyncpg

from . import outbox
from .event import NewEvent, OrderEvent

# Whether an earlier delivery of event $2 to subscription $3 was applied: read it before any external call.
APPLIED = "EXISTS (SELECT FROM inbox WHERE event_id = $2 AND subscription = $3) AS applied"

CLAIM = "INSERT INTO inbox (event_id, subscription) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"


async def apply(
    connection: asyncpg.Connection,
    subscription: str,
    event: OrderEvent,
    record: Callable[[], Awaitable[NewEvent | None]],
) -> None:
    """Applies the event once, in one transaction, and publishes the next event.

    `record` writes the delivery's rows. It returns the next event, already in the outbox, if there is one.
    """
    async with connection.transaction():
        if not await connection.fetchval(CLAIM, event.id, subscription):
            return
        following = await record()
    if following:
        await outbox.publish(connection, following)
