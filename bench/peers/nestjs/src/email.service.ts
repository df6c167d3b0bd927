import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Nack, RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
import { Injectable } from '@nestjs/common';
import { v7 as uuid } from 'uuid';
import { Database, statement } from './database';
import { OrderEvent } from './event';
import { APPLIED, Inbox } from './inbox';
import { composeMail, Line } from './mail';
import { settings } from './settings';

const ORDER = statement(
  'mail',
  `SELECT number, customer_name AS customer, customer_email AS address, total, currency, name, quantity, price, ${APPLIED}
   FROM orders JOIN items ON order_id = id WHERE id = $1 ORDER BY line`,
);

const RECORD = statement(
  'record mail',
  'INSERT INTO mails (order_id, kind, message_id, sent_at) VALUES ($1, $2, $3, now())',
);

@Injectable()
export class EmailService {
  constructor(
    private readonly database: Database,
    private readonly inbox: Inbox,
  ) {}

  @RabbitSubscribe({ queue: 'email.order-created', createQueueIfNotExists: false, queueOptions: { channel: 'consume' } })
  async received(event: OrderEvent): Promise<Nack | void> {
    return this.send('email.order-created', event, 'received', 'We have received your order',
      'Thank you for your order. We write again when it is on its way.');
  }

  @RabbitSubscribe({ queue: 'email.shipment-created', createQueueIfNotExists: false, queueOptions: { channel: 'consume' } })
  async shipped(event: OrderEvent<{ tracking_number: string }>): Promise<Nack | void> {
    return this.send('email.shipment-created', event, 'shipped', 'Your order is on its way',
      `Your parcel is with the carrier. Tracking number: ${event.data.tracking_number}`);
  }

  /** After a crash between file and commit, the mail is written again with the same Message-ID to the same file. */
  private async send(
    subscription: string, event: OrderEvent, kind: string, subject: string, message: string,
  ): Promise<Nack | void> {
    const lines = await this.database.rows<Line>(ORDER(event.subject, event.id, subscription));
    if (lines.length === 0) return new Nack(false);
    if (lines[0].applied) return;
    const id = `${event.subject}.${kind}@shop.example`;
    // Readers of the directory see only complete mails.
    const partial = join(settings.mailDir, `.${uuid()}.tmp`);
    await writeFile(partial, composeMail(id, subject, message, lines));
    await rename(partial, join(settings.mailDir, `${id}.eml`));
    await this.inbox.apply(subscription, event, async (client) => {
      await client.query(RECORD(event.subject, kind, id));
    });
  }
}
