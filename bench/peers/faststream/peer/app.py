"""The application for `faststream run`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from faststream import FastStream

from . import inventory, mailing, order, outbox, payment, shipping
from .infrastructure import broker, database

broker.include_routers(payment.router, inventory.router, shipping.router, mailing.router, order.router)


@contextlib.asynccontextmanager
async def lifespan() -> AsyncIterator[None]:
    """Keeps the database open, and relays events that other processes left unpublished."""
    async with database.open():
        relay = asyncio.create_task(outbox.relay())
        try:
            yield
        finally:
            relay.cancel()


app = FastStream(broker, lifespan=lifespan, logger=None)
