"""`payment.completed`: reserves the order's items, then `inventory.reserved`."""

import asyncpg
from faststream.exceptions import RejectMessage
from faststream.rabbit import RabbitRouter

from . import inbox, outbox
from .event import NewEvent, OrderEvent, follow
from .infrastructure import database
from .topology import EVENTS, work_queue

router = RabbitRouter()

WANTED = """
SELECT count(DISTINCT sku) AS products, (SELECT max(version) FROM event_log WHERE order_id = $1) AS version
FROM items WHERE order_id = $1
"""

# Locks the products by sku, so that two orders cannot deadlock. The check on `available` prevents overselling.
RESERVE = """
WITH wanted AS (
    SELECT sku, sum(quantity) AS pieces FROM items WHERE order_id = $1 GROUP BY sku
), locked AS (
    SELECT sku FROM stock WHERE sku IN (SELECT sku FROM wanted) ORDER BY sku FOR UPDATE
), decided AS (
    INSERT INTO reservations (order_id, outcome) VALUES ($1, 'reserved')
), moved AS (
    INSERT INTO movements (sku, kind, quantity, order_id)
    SELECT sku, 'reserved', -pieces, $1 FROM wanted
)
UPDATE stock SET available = available - pieces FROM wanted JOIN locked USING (sku) WHERE stock.sku = wanted.sku
"""


@router.subscriber(work_queue("inventory.payment-completed"), EVENTS)
async def reserve(event: OrderEvent) -> None:
    order = event.subject
    async with database.connection() as connection:
        wanted = await connection.fetchrow(WANTED, order)
        products = wanted["products"]

        async def record() -> NewEvent:
            data = {"products": products}
            following = follow(event, "inventory.reserved", "inventory", wanted["version"] + 1, data)
            await outbox.append(connection, following)
            # Last, so that the product's row is locked as shortly as can be.
            tag = await connection.execute(RESERVE, order)
            if tag != f"UPDATE {products}":
                raise LookupError(f"order {order} wants a product without stock")
            return following

        try:
            await inbox.apply(connection, "inventory.payment-completed", event, record)
        except asyncpg.CheckViolationError as error:
            raise RejectMessage from error
