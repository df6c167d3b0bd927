"""The inbox: which subscription has applied which event, so that a second delivery changes nothing."""

from collections.abc import Awaitable, Callable

import asyncpg

from . import outbox
from .event import NewEvent, OrderEvent

# Whether an earlier delivery of event $2 to subscription $3 was applied: read it before you act on the outside world.
APPLIED = "EXISTS (SELECT FROM inbox WHERE event_id = $2 AND subscription = $3) AS applied"

CLAIM = "INSERT INTO inbox (event_id, subscription) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING true"


async def apply(
    connection: asyncpg.Connection,
    subscription: str,
    event: OrderEvent,
    record: Callable[[], Awaitable[NewEvent | None]],
) -> None:
    """Applies the event once, in one transaction, and publishes what follows.

    `record` writes the delivery's rows and returns the event that follows from it, if any; it has appended that to the
    outbox.
    """
    async with connection.transaction():
        if not await connection.fetchval(CLAIM, event.id, subscription):
            return
        following = await record()
    if following:
        await outbox.publish(connection, following)
