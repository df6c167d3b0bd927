import { Nack, RabbitSubscribe } from '@golevelup/nestjs-rabbitmq';
import { Injectable } from '@nestjs/common';
import { v7 as uuid } from 'uuid';
import { Database, statement } from './database';
import { follow, OrderEvent } from './event';
import { APPLIED, Inbox } from './inbox';
import { Outbox } from './outbox';

interface Due {
  total: string;
  currency: string;
  payment_method: string;
  version: number;
  applied: boolean;
}

const DUE = statement(
  'due',
  `SELECT total, currency, payment_method,
          (SELECT max(version) FROM event_log WHERE order_id = id) AS version, ${APPLIED}
   FROM orders WHERE id = $1`,
);

/** The provider's ledger stands for another company's database, so it is written in its own transaction. */
const CHARGE = statement(
  'charge',
  `INSERT INTO charges AS charge (idempotency_key, charge_id, reference, method, amount, currency, outcome)
   VALUES ($1, $2, $3, $4, $5, $6, 'succeeded')
   ON CONFLICT (idempotency_key) DO UPDATE SET requests = charge.requests + 1
   RETURNING charge_id`,
);

const RECORD = statement(
  'record payment',
  `INSERT INTO payments (order_id, payment_id, status, amount, currency, charge_id)
   VALUES ($1, $2, 'succeeded', $3, $4, $5)`,
);

@Injectable()
export class PaymentService {
  constructor(
    private readonly database: Database,
    private readonly inbox: Inbox,
    private readonly outbox: Outbox,
  ) {}

  @RabbitSubscribe({ queue: 'payment.order-created', createQueueIfNotExists: false, queueOptions: { channel: 'consume' } })
  async charge(event: OrderEvent): Promise<Nack | void> {
    const subscription = 'payment.order-created';
    const order = event.subject;
    const [due] = await this.database.rows<Due>(DUE(order, event.id, subscription));
    if (due?.applied) return;
    if (due?.payment_method !== 'pm_card_visa') return new Nack(false);
    const [{ charge_id: charge }] = await this.database.rows<{ charge_id: string }>(
      CHARGE(`charge-${order}`, `ch_sim_${uuid().replaceAll('-', '')}`, order, due.payment_method, due.total, due.currency),
    );
    const payment = `pay_${order.replaceAll('-', '')}`;
    await this.inbox.apply(subscription, event, async (client) => {
      await client.query(RECORD(order, payment, due.total, due.currency, charge));
      const data = { payment_id: payment, amount: Number(due.total), currency: due.currency };
      return this.outbox.append(client, follow(event, 'payment.completed', 'payment', due.version + 1, data));
    });
  }
}
