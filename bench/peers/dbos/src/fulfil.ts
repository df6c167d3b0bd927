import { createHash } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DBOS } from '@dbos-inc/dbos-sdk';
import { v7 as uuid } from 'uuid';
import { tables } from './database';
import { composeMail, Line } from './mail';
import { settings } from './settings';

/** The end of an order's history: the last version and its event, and the correlation id of all its events. */
interface Place {
  version: number;
  event: string;
  correlation: string;
}

/** Appends the next event to the order's log, in the caller's transaction. */
async function append(order: string, place: Place, kind: string, service: string, data: object): Promise<Place> {
  const next = { version: place.version + 1, event: uuid(), correlation: place.correlation };
  await tables.client`
    INSERT INTO event_log (order_id, version, event_id, event, source, occurred_at, correlation_id, causation_id, data)
    VALUES (${order}, ${next.version}, ${next.event}, ${kind}, ${`/orderflow/${service}`}, now(), ${next.correlation},
            ${place.event}, ${JSON.stringify(data)}::text::jsonb)`;
  return next;
}

interface Due {
  total: number;
  currency: string;
  method: string;
  charge: string;
  place: Place;
}

/** The payment provider: its ledger stands for another company's database, and is idempotent by the order's id. */
const charge = tables.registerTransaction(
  async (order: string): Promise<Due> => {
    const [due] = await tables.client`
      SELECT total::int, currency, payment_method AS method, version, event_id AS event, correlation_id AS correlation
      FROM orders JOIN event_log USING (version) WHERE id = ${order} AND order_id = id`;
    const [{ charge_id }] = await tables.client`
      INSERT INTO charges AS charge (idempotency_key, charge_id, reference, method, amount, currency, outcome)
      VALUES (${`charge-${order}`}, ${`ch_sim_${uuid().replaceAll('-', '')}`}, ${order}, ${due.method}, ${due.total},
              ${due.currency}, 'succeeded')
      ON CONFLICT (idempotency_key) DO UPDATE SET requests = charge.requests + 1 RETURNING charge_id`;
    const { total, currency, method, version, event, correlation } = due;
    return { total, currency, method, charge: charge_id, place: { version, event, correlation } };
  },
  { name: 'charge' },
);

const pay = tables.registerTransaction(
  async (order: string, due: Due): Promise<Place> => {
    const payment = `pay_${order.replaceAll('-', '')}`;
    await tables.client`
      INSERT INTO payments (order_id, payment_id, status, amount, currency, charge_id)
      VALUES (${order}, ${payment}, 'succeeded', ${due.total}, ${due.currency}, ${due.charge})`;
    const data = { payment_id: payment, amount: due.total, currency: due.currency };
    return append(order, due.place, 'payment.completed', 'payment', data);
  },
  { name: 'pay' },
);

const reserve = tables.registerTransaction(
  async (order: string, place: Place): Promise<Place> => {
    const [{ products }] = await tables.client`
      SELECT count(DISTINCT sku)::int AS products FROM items WHERE order_id = ${order}`;
    const next = await append(order, place, 'inventory.reserved', 'inventory', { products });
    // Last, so that the product's row is locked as shortly as can be. The check on `available` refuses an overselling.
    await tables.client`
      WITH wanted AS (
        SELECT sku, sum(quantity) AS pieces FROM items WHERE order_id = ${order} GROUP BY sku
      ), locked AS (
        SELECT sku FROM stock WHERE sku IN (SELECT sku FROM wanted) ORDER BY sku FOR UPDATE
      ), decided AS (
        INSERT INTO reservations (order_id, outcome) VALUES (${order}, 'reserved')
      ), moved AS (
        INSERT INTO movements (sku, kind, quantity, order_id)
        SELECT sku, 'reserved', -pieces, ${order} FROM wanted
      )
      UPDATE stock SET available = available - pieces FROM wanted JOIN locked USING (sku) WHERE stock.sku = wanted.sku`;
    return next;
  },
  { name: 'reserve' },
);

/** The carrier: its answer depends only on the order. */
function trackingNumber(order: string): string {
  return `SIM${createHash('sha1').update(`parcel-${order}`).digest('hex').slice(0, 12).toUpperCase()}`;
}

const ship = tables.registerTransaction(
  async (order: string, place: Place): Promise<Place> => {
    const tracking = trackingNumber(order);
    await tables.client`
      INSERT INTO shipments (order_id, status, tracking_number) VALUES (${order}, 'created', ${tracking})`;
    return append(order, place, 'shipment.created', 'shipping', { tracking_number: tracking });
  },
  { name: 'ship' },
);

const advance = tables.registerTransaction(
  async (order: string, status: string, version: number): Promise<void> => {
    await tables.client`
      UPDATE orders SET status = ${status}, version = ${version}, updated_at = now()
      WHERE id = ${order} AND version < ${version}`;
  },
  { name: 'advance' },
);

/** After a crash between file and commit, the mail is written again with the same Message-ID to the same file. */
const mail = tables.registerTransaction(
  async (order: string, kind: string, subject: string, message: string): Promise<void> => {
    const lines = await tables.client<Line[]>`
      SELECT number, customer_name AS customer, customer_email AS address, total, currency, name, quantity, price
      FROM orders JOIN items ON order_id = id WHERE id = ${order} ORDER BY line`;
    const id = `${order}.${kind}@shop.example`;
    const partial = join(settings.mailDir, `.${uuid()}.tmp`);
    await writeFile(partial, composeMail(id, subject, message, lines));
    await rename(partial, join(settings.mailDir, `${id}.eml`));
    await tables.client`
      INSERT INTO mails (order_id, kind, message_id, sent_at) VALUES (${order}, ${kind}, ${id}, now())`;
  },
  { name: 'mail' },
);

/** The whole flow of an order. Each step is checkpointed; a restarted process continues after the last one. */
export const fulfil = DBOS.registerWorkflow(
  async (order: string): Promise<void> => {
    const due = await charge(order);
    await mail(order, 'received', 'We have received your order', 'Thank you for your order. We write again when it is on its way.');
    const paid = await pay(order, due);
    await advance(order, 'paid', paid.version);
    const reserved = await reserve(order, paid);
    await advance(order, 'reserved', reserved.version);
    const shipped = await ship(order, reserved);
    const tracking = trackingNumber(order);
    await mail(order, 'shipped', 'Your order is on its way', `Your parcel is with the carrier. Tracking number: ${tracking}`);
    await advance(order, 'shipped', shipped.version);
  },
  { name: 'fulfil' },
);
