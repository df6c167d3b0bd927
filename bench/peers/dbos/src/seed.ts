import { DBOSClient } from '@dbos-inc/dbos-sdk';
import postgres from 'postgres';
import { v7 as uuid } from 'uuid';
import { options } from './database';
import { QUEUE, settings } from './settings';

const CHUNK = 500;

function created() {
  const order = uuid();
  const number = order.replaceAll('-', '').slice(-10).toUpperCase();
  const event = {
    specversion: '1.0', id: uuid(), source: '/orderflow/order', type: 'orders.order-created.v1', subject: order,
    time: new Date().toISOString(), datacontenttype: 'application/json', orderversion: 1, correlationid: uuid(),
    data: { number, total: 1499, currency: 'EUR', items: [{ sku: 'MUG-BLUE', quantity: 1, price: 1499 }] },
  };
  return { order, number, body: JSON.stringify(event) };
}

/** Places orders, and enqueues a workflow for each instead of publishing its event. */
export async function seed(count: number): Promise<void> {
  const client = await DBOSClient.create({ systemDatabaseUrl: settings.databaseUrl });
  const sql = postgres(options);
  for (let placed = 0; placed < count; placed += CHUNK) {
    const orders = Array.from({ length: Math.min(CHUNK, count - placed) }, created);
    const column = (name: 'order' | 'number' | 'body') => orders.map((order) => order[name]);
    await sql`SELECT place_orders(${column('order')}::uuid[], ${column('number')}, ${column('body')})`;
    const enqueue = (order: string) =>
      client.enqueue({ queueName: QUEUE, workflowName: 'fulfil', workflowID: order, appVersion: '1' }, order);
    await Promise.all(column('order').map(enqueue));
    await sql`DELETE FROM outbox WHERE order_id = ANY(${column('order')}::uuid[])`;
  }
  await sql.end();
  await client.destroy();
}
