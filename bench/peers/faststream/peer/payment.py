"""`order.created`: charges the customer, then `payment.completed`."""

from faststream.exceptions import RejectMessage
from faststream.rabbit import RabbitRouter

from . import inbox, outbox
from .event import NewEvent, OrderEvent, follow, uuid7
from .infrastructure import database
from .topology import EVENTS, work_queue

router = RabbitRouter()

DUE = f"""
SELECT total, currency, payment_method, (SELECT max(version) FROM event_log WHERE order_id = id) AS version,
       {inbox.APPLIED}
FROM orders WHERE id = $1
"""

# The provider's ledger stands for another company's database, so it is written in its own transaction.
CHARGE = """
INSERT INTO charges AS charge (idempotency_key, charge_id, reference, method, amount, currency, outcome)
VALUES ($1, $2, $3, $4, $5, $6, 'succeeded')
ON CONFLICT (idempotency_key) DO UPDATE SET requests = charge.requests + 1
RETURNING charge_id
"""

RECORD = """
INSERT INTO payments (order_id, payment_id, status, amount, currency, charge_id)
VALUES ($1, $2, 'succeeded', $3, $4, $5)
"""


@router.subscriber(work_queue("payment.order-created"), EVENTS)
async def charge(event: OrderEvent) -> None:
    subscription, order = "payment.order-created", event.subject
    async with database.connection() as connection:
        due = await connection.fetchrow(DUE, order, event.id, subscription)
        if due is None or due["payment_method"] != "pm_card_visa":
            raise RejectMessage
        if due["applied"]:
            return
        total, currency, method = due["total"], due["currency"], due["payment_method"]
        charge_id = await connection.fetchval(
            CHARGE, f"charge-{order}", f"ch_sim_{uuid7().hex}", str(order), method, total, currency
        )
        payment = f"pay_{order.hex}"

        async def record() -> NewEvent:
            await connection.execute(RECORD, order, payment, total, currency, charge_id)
            data = {"payment_id": payment, "amount": total, "currency": currency}
            return await outbox.append(connection, follow(event, "payment.completed", "payment", due["version"] + 1, data))

        await inbox.apply(connection, subscription, event, record)
