"""`python -m peer setup` and `python -m peer seed N`."""

import asyncio
import sys

from . import outbox, topology
from .event import NewEvent, new_event, uuid7
from .infrastructure import broker, database

CHUNK = 500


def created() -> NewEvent:
    """Returns the first event of an order to place."""
    order = uuid7()
    data = {
        "number": order.hex[-10:].upper(),
        "total": 1499,
        "currency": "EUR",
        "items": [{"sku": "MUG-BLUE", "quantity": 1, "price": 1499}],
    }
    return new_event("order.created", "order", order, 1, uuid7(), None, data)


async def publish(new: NewEvent) -> None:
    async with database.connection() as connection:
        await outbox.publish(connection, new)


async def seed(count: int) -> None:
    """Places orders and publishes their first events."""
    async with database.open():
        for placed in range(0, count, CHUNK):
            events = [created() for _ in range(min(CHUNK, count - placed))]
            columns = zip(*((new.event.subject, new.event.data["number"], new.body) for new in events), strict=True)
            await database.pool.execute("SELECT place_orders($1, $2, $3)", *map(list, columns))
            await asyncio.gather(*map(publish, events))


async def main(command: str, *arguments: str) -> None:
    await broker.connect()
    try:
        if command == "setup":
            await topology.declare(broker)
        else:
            await seed(int(arguments[0]))
    finally:
        await broker.stop()


asyncio.run(main(*sys.argv[1:]))
