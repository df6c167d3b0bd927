"""The connections of a process."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
from faststream import AckPolicy
from faststream.rabbit import Channel, RabbitBroker, RabbitMessage

from . import settings
from .event import OrderEvent


async def decode(message: RabbitMessage) -> OrderEvent:
    """Decodes a body. FastStream's own decoder returns application/cloudevents+json as bytes."""
    return OrderEvent.model_validate_json(message.body)


broker = RabbitBroker(
    settings.AMQP_URL,
    default_channel=Channel(prefetch_count=settings.PREFETCH, publisher_confirms=True),
    # Acknowledged when the handler returns, requeued when it raises.
    ack_policy=AckPolicy.NACK_ON_ERROR,
    decoder=decode,
    # The default logs a line per delivery, which nobody enables in production.
    logger=None,
)


class Database:
    """The connection pool, once it is open."""

    pool: asyncpg.Pool

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Opens the pool, and closes it afterwards."""
        async with asyncpg.create_pool(
            settings.DATABASE_URL, min_size=settings.DATABASE_POOL, max_size=settings.DATABASE_POOL
        ) as self.pool:
            yield

    def connection(self) -> Any:
        """Lends a connection: `async with`."""
        return self.pool.acquire()


database = Database()
