import { RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
import { Injectable } from '@nestjs/common';
import { statement } from './database';
import { OrderEvent } from './event';
import { Inbox } from './inbox';

/** Only a higher version overwrites, so deliveries may arrive in any order. */
const ADVANCE = statement(
  'advance',
  'UPDATE orders SET status = $2, version = $3, updated_at = now() WHERE id = $1 AND version < $3',
);

@Injectable()
export class OrderService {
  constructor(private readonly inbox: Inbox) {}

  @RabbitSubscribe({ queue: 'order.payment-completed', createQueueIfNotExists: false, queueOptions: { channel: 'consume' } })
  async paid(event: OrderEvent): Promise<void> {
    await this.advance('order.payment-completed', event, 'paid');
  }

  @RabbitSubscribe({ queue: 'order.inventory-reserved', createQueueIfNotExists: false, queueOptions: { channel: 'consume' } })
  async reserved(event: OrderEvent): Promise<void> {
    await this.advance('order.inventory-reserved', event, 'reserved');
  }

  @RabbitSubscribe({ queue: 'order.shipment-created', createQueueIfNotExists: false, queueOptions: { channel: 'consume' } })
  async shipped(event: OrderEvent): Promise<void> {
    await this.advance('order.shipment-created', event, 'shipped');
  }

  private async advance(subscription: string, event: OrderEvent, status: string): Promise<void> {
    await this.inbox.apply(subscription, event, async (client) => {
      await client.query(ADVANCE(event.subject, status, event.orderversion));
    });
  }
}
