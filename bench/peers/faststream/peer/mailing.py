"""`order.created` and `shipment.created`: mails to the customer."""

import asyncio
import pathlib

from faststream.exceptions import RejectMessage
from faststream.rabbit import RabbitRouter

from . import inbox, mail, settings
from .event import OrderEvent, uuid7
from .infrastructure import database
from .topology import EVENTS, work_queue

router = RabbitRouter()

ORDER = f"""
SELECT number, customer_name AS customer, customer_email AS address, total, currency, name, quantity, price,
       {inbox.APPLIED}
FROM orders JOIN items ON order_id = id WHERE id = $1 ORDER BY line
"""

RECORD = "INSERT INTO mails (order_id, kind, message_id, sent_at) VALUES ($1, $2, $3, now())"


@router.subscriber(work_queue("email.order-created"), EVENTS)
async def received(event: OrderEvent) -> None:
    message = "Thank you for your order. We write again when it is on its way."
    await send("email.order-created", event, "received", "We have received your order", message)


@router.subscriber(work_queue("email.shipment-created"), EVENTS)
async def shipped(event: OrderEvent) -> None:
    message = f"Your parcel is with the carrier. Tracking number: {event.data['tracking_number']}"
    await send("email.shipment-created", event, "shipped", "Your order is on its way", message)


async def send(subscription: str, event: OrderEvent, kind: str, subject: str, message: str) -> None:
    """Sends a mail. After a crash between file and commit, it is written again with the same Message-ID and name."""
    async with database.connection() as connection:
        lines = await connection.fetch(ORDER, event.subject, event.id, subscription)
        if not lines:
            raise RejectMessage
        if lines[0]["applied"]:
            return
        message_id = f"{event.subject}.{kind}@shop.example"
        content = mail.compose(message_id, subject, message, lines)
        # A disk can be slow, so not on the event loop.
        await asyncio.to_thread(write, settings.MAIL_DIR / f"{message_id}.eml", content)

        async def record() -> None:
            await connection.execute(RECORD, event.subject, kind, message_id)

        await inbox.apply(connection, subscription, event, record)


def write(path: pathlib.Path, content: bytes) -> None:
    """Writes a temporary file and renames it, so that readers of the directory see only complete mails."""
    partial = path.with_name(f".{uuid7()}.tmp")
    partial.write_bytes(content)
    partial.rename(path)
