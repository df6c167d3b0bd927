"""Exchanges and queues."""

from faststream.rabbit import ExchangeType, QueueType, RabbitBroker, RabbitExchange, RabbitQueue

UNROUTED = RabbitExchange("orders.unrouted", type=ExchangeType.FANOUT)
EVENTS = RabbitExchange(
    "orders.events", type=ExchangeType.TOPIC, arguments={"alternate-exchange": UNROUTED.name}
)
DEAD_LETTERS = RabbitExchange(
    "orders.dlx", type=ExchangeType.DIRECT, arguments={"alternate-exchange": UNROUTED.name}
)

# Each queue and its routing key.
SUBSCRIPTIONS = {
    "payment.order-created": "order.created",
    "email.order-created": "order.created",
    "inventory.payment-completed": "payment.completed",
    "order.payment-completed": "payment.completed",
    "shipping.inventory-reserved": "inventory.reserved",
    "order.inventory-reserved": "inventory.reserved",
    "email.shipment-created": "shipment.created",
    "order.shipment-created": "shipment.created",
}


def work_queue(name: str) -> RabbitQueue:
    """A message that fails 50 times, or that a handler rejects, moves to its queue's `.dlq`."""
    return RabbitQueue(
        name,
        queue_type=QueueType.QUORUM,
        routing_key=SUBSCRIPTIONS[name],
        arguments={
            "x-dead-letter-exchange": DEAD_LETTERS.name,
            "x-dead-letter-routing-key": name,
            "x-dead-letter-strategy": "at-least-once",
            "x-delivery-limit": 50,
            "x-overflow": "reject-publish",
        },
    )


async def declare(broker: RabbitBroker) -> None:
    """Declares all exchanges and queues."""
    exchanges = {exchange.name: await broker.declare_exchange(exchange) for exchange in (UNROUTED, EVENTS, DEAD_LETTERS)}
    for name, routing_key in SUBSCRIPTIONS.items():
        queue = await broker.declare_queue(work_queue(name))
        await queue.bind(exchanges[EVENTS.name], routing_key)
        dead_letters = await broker.declare_queue(RabbitQueue(f"{name}.dlq", queue_type=QueueType.QUORUM))
        await dead_letters.bind(exchanges[DEAD_LETTERS.name], name)
    unrouted = await broker.declare_queue(RabbitQueue(UNROUTED.name, queue_type=QueueType.QUORUM))
    await unrouted.bind(exchanges[UNROUTED.name])
