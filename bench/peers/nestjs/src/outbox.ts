import { AmqpConnection } from '@golevelup/nestjs-rabbitmq';
import { Injectable, Logger, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { PoolClient } from 'pg';
import { Database, statement } from './database';
import { NewEvent } from './event';
import { EVENTS } from './topology';

/** One statement writes log and outbox, as Orderflow's does. */
const APPEND = statement(
  'append',
  `WITH logged AS (
     INSERT INTO event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, data)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
   )
   INSERT INTO outbox (event_id, order_id, event, source, occurred_at, correlation_id, body, available_at)
   VALUES ($3, $1, $4, $5, $6, $7, $10, now() + interval '10 seconds')`,
);

const DELETE = statement('delete', 'DELETE FROM outbox WHERE event_id = $1');

const LEASE_DUE = statement(
  'lease due',
  `UPDATE outbox SET available_at = now() + interval '60 seconds', attempts = attempts + 1
   WHERE event_id IN (SELECT event_id FROM outbox WHERE available_at <= now() LIMIT 100 FOR UPDATE SKIP LOCKED)
   RETURNING event AS kind, body`,
);

@Injectable()
export class Outbox implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly logger = new Logger(Outbox.name);
  private relay?: NodeJS.Timeout;

  constructor(
    private readonly database: Database,
    private readonly amqp: AmqpConnection,
  ) {}

  /** Appends the event to its order's log and to the outbox, in the caller's transaction, and returns it. */
  async append(client: PoolClient, next: NewEvent): Promise<NewEvent> {
    const { kind, event } = next;
    await client.query(
      APPEND(event.subject, event.orderversion, event.id, kind, event.source, event.time, event.correlationid,
        event.causationid, JSON.stringify(event.data), JSON.stringify(event)),
    );
    return next;
  }

  /** Publishes a committed event, waits for the broker's confirm and deletes the outbox row. */
  async publish({ kind, event }: NewEvent): Promise<void> {
    await this.amqp.publish(EVENTS, kind, event, {
      persistent: true,
      contentType: 'application/cloudevents+json',
      messageId: event.id,
      type: event.type,
      appId: event.source,
      timestamp: Math.floor(Date.parse(event.time) / 1000),
      correlationId: event.correlationid,
    });
    await this.database.pool.query(DELETE(event.id));
  }

  /** Publishes the events of processes that died between commit and confirm. */
  private async publishDue(): Promise<void> {
    const due = await this.database.rows<{ kind: string; body: string }>(LEASE_DUE());
    await Promise.all(due.map(({ kind, body }) => this.publish({ kind, event: JSON.parse(body) })));
  }

  onApplicationBootstrap(): void {
    const publishDue = () => this.publishDue().catch((error: Error) => this.logger.error(error.message, error.stack));
    this.relay = setInterval(publishDue, 5_000);
  }

  onModuleDestroy(): void {
    clearInterval(this.relay);
  }
}
