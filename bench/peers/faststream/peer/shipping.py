"""`inventory.reserved`: hands the parcel to the carrier, then `shipment.created`."""

import hashlib

import asyncpg
from faststream.exceptions import RejectMessage
from faststream.rabbit import RabbitRouter

from . import inbox, outbox
from .event import NewEvent, OrderEvent, follow
from .infrastructure import database
from .topology import EVENTS, work_queue

router = RabbitRouter()

PARCEL = f"""
SELECT customer_name, address_line1, address_line2, city, postal_code, country, sku, quantity,
       (SELECT max(version) FROM event_log WHERE order_id = id) AS version, {inbox.APPLIED}
FROM orders JOIN items ON order_id = id WHERE id = $1 ORDER BY line
"""

RECORD = "INSERT INTO shipments (order_id, status, tracking_number) VALUES ($1, 'created', $2)"


def hand_over(idempotency_key: str, _parcel: list[asyncpg.Record]) -> str:
    """The carrier: its answer depends only on the key."""
    return f"SIM{hashlib.sha1(idempotency_key.encode()).hexdigest()[:12].upper()}"


@router.subscriber(work_queue("shipping.inventory-reserved"), EVENTS)
async def ship(event: OrderEvent) -> None:
    subscription, order = "shipping.inventory-reserved", event.subject
    async with database.connection() as connection:
        parcel = await connection.fetch(PARCEL, order, event.id, subscription)
        if not parcel:
            raise RejectMessage
        if parcel[0]["applied"]:
            return
        tracking = hand_over(f"parcel-{order}", parcel)

        async def record() -> NewEvent:
            await connection.execute(RECORD, order, tracking)
            data = {"tracking_number": tracking}
            following = follow(event, "shipment.created", "shipping", parcel[0]["version"] + 1, data)
            return await outbox.append(connection, following)

        await inbox.apply(connection, subscription, event, record)
