import { createHash } from 'node:crypto';
import { Nack, RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
import { Injectable } from '@nestjs/common';
import { Database, statement } from './database';
import { follow, OrderEvent } from './event';
import { APPLIED, Inbox } from './inbox';
import { Outbox } from './outbox';

interface Line {
  name: string;
  address_line1: string;
  address_line2: string | null;
  city: string;
  postal_code: string;
  country: string;
  sku: string;
  quantity: number;
  version: number;
  applied: boolean;
}

const PARCEL = statement(
  'parcel',
  `SELECT customer_name AS name, address_line1, address_line2, city, postal_code, country, sku, quantity,
          (SELECT max(version) FROM event_log WHERE order_id = id) AS version, ${APPLIED}
   FROM orders JOIN items ON order_id = id WHERE id = $1 ORDER BY line`,
);

const RECORD = statement(
  'record shipment',
  `INSERT INTO shipments (order_id, status, tracking_number) VALUES ($1, 'created', $2)`,
);

/** The carrier: its answer depends only on the key. */
function ship(idempotencyKey: string, _parcel: Line[]): string {
  return `SIM${createHash('sha1').update(idempotencyKey).digest('hex').slice(0, 12).toUpperCase()}`;
}

@Injectable()
export class ShippingService {
  constructor(
    private readonly database: Database,
    private readonly inbox: Inbox,
    private readonly outbox: Outbox,
  ) {}

  @RabbitSubscribe({ queue: 'shipping.inventory-reserved', createQueueIfNotExists: false, queueOptions: { channel: 'consume' } })
  async ship(event: OrderEvent): Promise<Nack | void> {
    const subscription = 'shipping.inventory-reserved';
    const order = event.subject;
    const parcel = await this.database.rows<Line>(PARCEL(order, event.id, subscription));
    if (parcel.length === 0) return new Nack(false);
    if (parcel[0].applied) return;
    const tracking = ship(`parcel-${order}`, parcel);
    await this.inbox.apply(subscription, event, async (client) => {
      await client.query(RECORD(order, tracking));
      const data = { tracking_number: tracking };
      return this.outbox.append(client, follow(event, 'shipment.created', 'shipping', parcel[0].version + 1, data));
    });
  }
}
