"""Every event that moves an order's status."""

from faststream.rabbit import RabbitRouter

from . import inbox
from .event import OrderEvent
from .infrastructure import database
from .topology import EVENTS, work_queue

router = RabbitRouter()

# Only a higher version overwrites, so deliveries may arrive in any order.
ADVANCE = "UPDATE orders SET status = $2, version = $3, updated_at = now() WHERE id = $1 AND version < $3"


@router.subscriber(work_queue("order.payment-completed"), EVENTS)
async def paid(event: OrderEvent) -> None:
    await advance("order.payment-completed", event, "paid")


@router.subscriber(work_queue("order.inventory-reserved"), EVENTS)
async def reserved(event: OrderEvent) -> None:
    await advance("order.inventory-reserved", event, "reserved")


@router.subscriber(work_queue("order.shipment-created"), EVENTS)
async def shipped(event: OrderEvent) -> None:
    await advance("order.shipment-created", event, "shipped")


async def advance(subscription: str, event: OrderEvent, status: str) -> None:
    async with database.connection() as connection:

        async def record() -> None:
            await connection.execute(ADVANCE, event.subject, status, event.orderversion)

        await inbox.apply(connection, subscription, event, record)
