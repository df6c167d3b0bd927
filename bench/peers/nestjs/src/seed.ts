import { v7 as uuid } from 'uuid';
import { Database, statement } from './database';
import { NewEvent, newEvent } from './event';
import { Outbox } from './outbox';

const CHUNK = 500;

const PLACE = statement('place', 'SELECT place_orders($1, $2, $3)');

function created(): NewEvent {
  const order = uuid();
  const data = {
    number: order.replaceAll('-', '').slice(-10).toUpperCase(),
    total: 1499,
    currency: 'EUR',
    items: [{ sku: 'MUG-BLUE', quantity: 1, price: 1499 }],
  };
  return newEvent({ kind: 'order.created', source: '/orderflow/order', order, version: 1, correlation: uuid() }, data);
}

/** Places orders and publishes their first events. */
export async function seed(database: Database, outbox: Outbox, count: number): Promise<void> {
  for (let placed = 0; placed < count; placed += CHUNK) {
    const events = Array.from({ length: Math.min(CHUNK, count - placed) }, created);
    const orders = events.map(({ event }) => event.subject);
    const numbers = events.map(({ event }) => (event.data as { number: string }).number);
    await database.pool.query(PLACE(orders, numbers, events.map(({ event }) => JSON.stringify(event))));
    await Promise.all(events.map((event) => outbox.publish(event)));
  }
}
