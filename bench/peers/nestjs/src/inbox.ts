import { Injectable } from '@nestjs/common';
import { PoolClient } from 'pg';
import { Database, statement } from './database';
import { NewEvent, OrderEvent } from './event';
import { Outbox } from './outbox';

const CLAIM = statement(
  'claim',
  'INSERT INTO inbox (event_id, subscription) VALUES ($1, $2) ON CONFLICT DO NOTHING',
);

/** Whether an earlier delivery of event $2 to subscription $3 was applied: read it before any external call. */
export const APPLIED = 'EXISTS (SELECT FROM inbox WHERE event_id = $2 AND subscription = $3) AS applied';

/** Writes a delivery's rows. Returns the next event, already in the outbox, if there is one. */
type Record = (client: PoolClient) => Promise<NewEvent | void>;

@Injectable()
export class Inbox {
  constructor(
    private readonly database: Database,
    private readonly outbox: Outbox,
  ) {}

  /** Applies the event once, in one transaction, and publishes the next event. A second delivery changes nothing. */
  async apply(subscription: string, event: OrderEvent, record: Record): Promise<void> {
    const next = await this.database.transaction(async (client) => {
      const { rowCount } = await client.query(CLAIM(event.id, subscription));
      if (rowCount === 0) return;
      return record(client);
    });
    if (next) await this.outbox.publish(next);
  }
}
