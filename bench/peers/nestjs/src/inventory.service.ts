import { Nack, RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
import { Injectable } from '@nestjs/common';
import { DatabaseError } from 'pg';
import { Database, statement } from './database';
import { follow, OrderEvent } from './event';
import { Inbox } from './inbox';
import { Outbox } from './outbox';

const WANTED = statement(
  'wanted',
  `SELECT count(DISTINCT sku)::int AS products,
          (SELECT max(version) FROM event_log WHERE order_id = $1) AS version
   FROM items WHERE order_id = $1`,
);

/** Locks the products by sku, so that two orders cannot deadlock. The check on `available` prevents overselling. */
const RESERVE = statement(
  'reserve',
  `WITH wanted AS (
     SELECT sku, sum(quantity) AS pieces FROM items WHERE order_id = $1 GROUP BY sku
   ), locked AS (
     SELECT sku FROM stock WHERE sku IN (SELECT sku FROM wanted) ORDER BY sku FOR UPDATE
   ), decided AS (
     INSERT INTO reservations (order_id, outcome) VALUES ($1, 'reserved')
   ), moved AS (
     INSERT INTO movements (sku, kind, quantity, order_id)
     SELECT sku, 'reserved', -pieces, $1 FROM wanted
   )
   UPDATE stock SET available = available - pieces FROM wanted JOIN locked USING (sku) WHERE stock.sku = wanted.sku`,
);

const CHECK_VIOLATION = '23514';

@Injectable()
export class InventoryService {
  constructor(
    private readonly database: Database,
    private readonly inbox: Inbox,
    private readonly outbox: Outbox,
  ) {}

  @RabbitSubscribe({ queue: 'inventory.payment-completed', createQueueIfNotExists: false, queueOptions: { channel: 'consume' } })
  async reserve(event: OrderEvent): Promise<Nack | void> {
    const order = event.subject;
    const [{ products, version }] = await this.database.rows<{ products: number; version: number }>(WANTED(order));
    try {
      await this.inbox.apply('inventory.payment-completed', event, async (client) => {
        const data = { products };
        const next = await this.outbox.append(client, follow(event, 'inventory.reserved', 'inventory', version + 1, data));
        // Last, so that the product's row is locked as shortly as can be.
        const { rowCount } = await client.query(RESERVE(order));
        if (rowCount !== products) throw new Error(`order ${order} wants a product without stock`);
        return next;
      });
    } catch (error) {
      if (error instanceof DatabaseError && error.code === CHECK_VIOLATION) return new Nack(false);
      throw error;
    }
  }
}
