import { v7 as uuid } from 'uuid';

/** An event as published: CloudEvents 1.0 in structured JSON, like Orderflow's. */
export interface OrderEvent<Data = unknown> {
  specversion: '1.0';
  id: string;
  source: string;
  type: string;
  /** The order's id. */
  subject: string;
  time: string;
  datacontenttype: 'application/json';
  /** The event's position in its order's history, from 1. */
  orderversion: number;
  correlationid: string;
  causationid?: string;
  data: Data;
}

/** An event with its routing key. */
export interface NewEvent {
  kind: string;
  event: OrderEvent;
}

interface Origin {
  kind: string;
  source: string;
  order: string;
  version: number;
  correlation: string;
  cause?: string;
}

export function newEvent(origin: Origin, data: unknown): NewEvent {
  const event: OrderEvent = {
    specversion: '1.0',
    id: uuid(),
    source: origin.source,
    type: `orders.${origin.kind.replace('.', '-')}.v1`,
    subject: origin.order,
    time: new Date().toISOString(),
    datacontenttype: 'application/json',
    orderversion: origin.version,
    correlationid: origin.correlation,
    causationid: origin.cause,
    data,
  };
  return { kind: origin.kind, event };
}

/** Returns the event that `cause` leads to, with this version of its order. */
export function follow(cause: OrderEvent, kind: string, service: string, version: number, data: unknown): NewEvent {
  const { subject: order, correlationid: correlation, id } = cause;
  return newEvent({ kind, source: `/orderflow/${service}`, order, version, correlation, cause: id }, data);
}
