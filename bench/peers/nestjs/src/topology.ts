import { RabbitMQExchangeConfig, RabbitMQQueueConfig } from '@golevelup/nestjs-rabbitmq';

export const EVENTS = 'orders.events';

/** Each queue and its routing key. */
const SUBSCRIPTIONS = {
  'payment.order-created': 'order.created',
  'email.order-created': 'order.created',
  'inventory.payment-completed': 'payment.completed',
  'order.payment-completed': 'payment.completed',
  'shipping.inventory-reserved': 'inventory.reserved',
  'order.inventory-reserved': 'inventory.reserved',
  'email.shipment-created': 'shipment.created',
  'order.shipment-created': 'shipment.created',
};

export const exchanges: RabbitMQExchangeConfig[] = [
  { name: 'orders.unrouted', type: 'fanout' },
  { name: EVENTS, type: 'topic', options: { alternateExchange: 'orders.unrouted' } },
  { name: 'orders.dlx', type: 'direct', options: { alternateExchange: 'orders.unrouted' } },
];

const QUORUM = { 'x-queue-type': 'quorum' };

/** A message that fails 50 times, or that a handler rejects, moves to its queue's `.dlq`. */
function withDeadLetters(queue: string, routingKey: string): RabbitMQQueueConfig[] {
  const limits = { 'x-delivery-limit': 50, 'x-overflow': 'reject-publish', 'x-dead-letter-strategy': 'at-least-once' };
  const deadLetters = { 'x-dead-letter-exchange': 'orders.dlx', 'x-dead-letter-routing-key': queue };
  return [
    { name: queue, exchange: EVENTS, routingKey, options: { arguments: { ...QUORUM, ...limits, ...deadLetters } } },
    { name: `${queue}.dlq`, exchange: 'orders.dlx', routingKey: queue, options: { arguments: QUORUM } },
  ];
}

export const queues: RabbitMQQueueConfig[] = [
  ...Object.entries(SUBSCRIPTIONS).flatMap(([queue, key]) => withDeadLetters(queue, key)),
  { name: 'orders.unrouted', exchange: 'orders.unrouted', routingKey: '', options: { arguments: QUORUM } },
];
