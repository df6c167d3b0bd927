"""fraud-check: a service in another language, registered with a shop.

It consumes order.created and stores whether the order's total is suspicious. docs/ADDING-A-SERVICE.md explains how to
register it; docs/EVENTS.md is the contract that it follows. Settings: AMQP_URL, DATABASE_URL, RETRY_DELAYS (the same as
the workers'), FRAUD_LIMIT (minor units).
"""

import asyncio
import json
import logging
import os
import random
import signal
import socket
from datetime import datetime, timezone
from uuid import UUID

import aio_pika
import psycopg
from psycopg_pool import AsyncConnectionPool

EVENT = "order.created"
TYPE = "orders.order-created.v1"
QUEUE = "fraud-check.order-created"

# The first attempt is 1; each retry tier adds 1.
ATTEMPT, REASON = "x-orderflow-attempt", "x-orderflow-reason"
OURS = "x-orderflow-"

# The most messages in hand, and how long a statement or a confirm may take, in seconds.
IN_HAND = 16
WITHIN = 30

log = logging.getLogger("fraud-check")


class Rejected(Exception):
    """A retry cannot help."""


class NotInLog(Exception):
    """The event log has no such event for this order."""


def read(body: bytes) -> tuple[UUID, UUID]:
    """Returns the ids of the event and of its order. The message's data is ignored: the event log has it."""
    try:
        event = json.loads(body)
        if event["specversion"] != "1.0" or event["type"] != TYPE:
            raise Rejected(f"the body is not a CloudEvents 1.0 event of the type {TYPE}")
        return UUID(event["id"]), UUID(event["subject"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Rejected(f"the body is not a CloudEvents 1.0 event: {type(error).__name__}") from error


class FraudCheck:
    """Checks orders."""

    def __init__(self, pool: AsyncConnectionPool, channel: aio_pika.abc.AbstractChannel, delays: list[str], limit: int):
        self.pool, self.channel, self.delays, self.limit = pool, channel, delays, limit
        self.worker = f"fraud-check {socket.gethostname()}/{os.getpid()}"

    async def judge(self, event_id: UUID, order_id: UUID) -> None:
        """Claims the event and stores the verdict in one transaction. Does nothing if the event was applied before."""
        async with self.pool.connection(timeout=WITHIN) as database:
            claimed = await database.execute(
                "SELECT outcome, data FROM messaging.claim(%s, %s, %s, %s)", (QUEUE, event_id, order_id, EVENT)
            )
            outcome, data = await claimed.fetchone()
            if outcome == "unknown":
                raise NotInLog("the event log has no such event for this order")
            if outcome == "claimed":
                await database.execute(
                    "INSERT INTO fraud_check.verdicts (order_id, suspicious) VALUES (%s, %s)",
                    (order_id, data["total"] >= self.limit),
                )

    async def handle(self, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        """Settles one message. Acknowledges it after the commit, or after the broker has confirmed its copy."""
        try:
            try:
                await self.judge(*read(message.body))
            except psycopg.OperationalError as error:
                # The database is unavailable: requeue after a pause, without counting an attempt.
                log.warning("the database is unavailable, retrying: %s", type(error).__name__)
                await asyncio.sleep(random.uniform(1, 2))
                await message.nack(requeue=True)
                return
            except Rejected as error:
                await self.copy(message, "orders.dlx", QUEUE, str(error))
            except NotInLog as error:
                await self.try_again(message, str(error), self.delays[:1])
            except Exception as error:
                log.exception("an order could not be checked")
                await self.try_again(message, f"{type(error).__name__}: {error}".splitlines()[0], self.delays)
            await message.ack()
        except (aio_pika.exceptions.AMQPError, ConnectionError, RuntimeError, TimeoutError) as error:
            # RabbitMQ redelivers the message.
            log.warning("a message could not be settled: %s", type(error).__name__)

    async def try_again(self, message: aio_pika.abc.AbstractIncomingMessage, reason: str, delays: list[str]) -> None:
        """Publishes a copy to the retry tier of its attempt, or to the dead-letter queue after the last attempt."""
        attempt = attempt_of(message)
        if attempt <= len(delays):
            await self.copy(message, f"orders.retry.{delays[attempt - 1]}", QUEUE, reason, attempt + 1)
        else:
            await self.copy(message, "orders.dlx", QUEUE, reason, attempt)

    async def copy(self, message, exchange: str, key: str, reason: str, attempt: int | None = None) -> None:
        """Publishes a copy and waits for the broker's confirm. Omits the headers that the broker added."""
        log.info("%s goes to %s: %s", message.message_id, exchange, reason)
        headers = {name: value for name, value in message.headers.items() if name.startswith(OURS)}
        headers |= {
            ATTEMPT: attempt or attempt_of(message),
            REASON: reason[:1000],
            "x-orderflow-queue": QUEUE,
            "x-orderflow-worker": self.worker,
            "x-orderflow-failed-at": datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        }
        copied = aio_pika.Message(
            message.body,
            headers=headers,
            content_type=message.content_type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            type=message.type,
            app_id=message.app_id,
        )
        target = await self.channel.get_exchange(exchange, ensure=False)
        await target.publish(copied, routing_key=key, mandatory=True, timeout=WITHIN)


def attempt_of(message: aio_pika.abc.AbstractIncomingMessage) -> int:
    """Returns the number of this attempt, from 1."""
    attempt = message.headers.get(ATTEMPT, 1)
    return attempt if isinstance(attempt, int) and attempt > 0 else 1


async def main() -> None:
    """Runs until SIGTERM or Ctrl-C. RabbitMQ then redelivers the messages in hand to another process."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    delays = [delay.strip() for delay in os.environ.get("RETRY_DELAYS", "1s,10s,1m,10m,1h,6h").split(",")]
    limit = int(os.environ.get("FRAUD_LIMIT", "100000"))
    statement = f"-c statement_timeout={WITHIN}s"
    pool = AsyncConnectionPool(
        os.environ["DATABASE_URL"], min_size=1, max_size=4, open=False, check=AsyncConnectionPool.check_connection,
        kwargs={"options": statement, "connect_timeout": 10},
    )
    async with pool, await aio_pika.connect_robust(os.environ["AMQP_URL"], timeout=WITHIN) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=IN_HAND)
        # Declared, so that it is consumed again after a reconnect; passively, since that needs no right to create queues.
        queue = await channel.declare_queue(QUEUE, passive=True, durable=True)
        await queue.consume(FraudCheck(pool, channel, delays, limit).handle)
        log.info("checking orders")
        await stop.wait()
    log.info("stopped")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    asyncio.run(main())
