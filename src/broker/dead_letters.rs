//! Reads dead letters for operators, and settles them on request: the only place outside the workers that settles.
//!
//! Messages are read with manual acknowledgement. If this process dies, the broker requeues those that were not
//! settled. The delivery limit of a dead-letter queue is practically infinite.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use lapin::{
    Channel, Connection, ErrorKind,
    message::Delivery,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use orderflow_service::{
    Subscription,
    broker::{BrokerError, Connector, Message, NotReady, headers, names},
    telemetry,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::services::roster;

/// How long to wait for one answer of the broker, and for the next message that it has counted.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait for requeued messages to become countable. They never do if another reader consumes them first.
const COUNTED_WITHIN: Duration = Duration::from_secs(1);

/// The time between two counts.
const COUNT_EVERY: Duration = Duration::from_millis(10);

/// AMQP's reply code for an object that does not exist.
const NOT_FOUND: u16 = 404;

/// A message in a dead-letter queue. This process holds it until it is settled or [`DeadLetters`] is closed.
#[derive(Debug)]
pub struct DeadLetter {
    /// The subscription whose dead-letter queue it is in.
    pub subscription: Subscription,
    /// The name that operators use for it: the message's id, or `sha256:` and the beginning of its body's hash.
    pub id: String,
    /// The event's id, if it is one of our events.
    pub event_id: Option<Uuid>,
    /// The order, if the body names one.
    pub order_id: Option<Uuid>,
    /// The CloudEvents type, if there is one.
    pub event_type: Option<String>,
    /// Why it was dead-lettered.
    pub reason: String,
    /// The number of the last attempt; `None` if no worker dead-lettered it.
    pub attempt: Option<u32>,
    /// The process where the last attempt failed.
    pub worker: Option<String>,
    /// When it was dead-lettered.
    pub died_at: Option<DateTime<Utc>>,
    /// The work queue that a replay sends it to.
    pub home: Subscription,
    delivery: Delivery,
    /// How many messages of the same read were removed, shared with [`Held`].
    removed: Arc<AtomicU32>,
}

/// What a read of a queue returned.
#[derive(Debug, Default)]
pub struct Found {
    /// The messages, oldest first.
    pub dead_letters: Vec<DeadLetter>,
    /// How many more messages there were.
    pub more: u32,
}

/// A reader of dead-letter queues, with its own connection.
#[derive(Debug)]
pub struct DeadLetters {
    connection: Connection,
    held: Vec<Held>,
}

/// A queue whose messages are held.
#[derive(Debug)]
struct Held {
    channel: Channel,
    queue: String,
    /// How many messages it had, including ours.
    there: u32,
    removed: Arc<AtomicU32>,
}

impl DeadLetters {
    /// Connects as a user that may read these queues: `orderflow-ops`, or an administrator.
    ///
    /// # Errors
    /// Fails if the broker cannot be reached.
    pub async fn open(connector: &Connector) -> Result<Self, BrokerError> {
        Ok(Self { connection: connector.connect("dead letters").await?, held: Vec::new() })
    }

    /// Reads and holds up to `limit` messages of a subscription's dead-letter queue. It leaves out messages that arrive
    /// afterwards or that another reader holds.
    ///
    /// # Errors
    /// Fails if the queue does not exist or the broker cannot be reached.
    pub async fn read(&mut self, subscription: Subscription, limit: u16) -> Result<Found, NotReady> {
        let queue = subscription.dead_letter_queue();
        match tokio::time::timeout(TIMEOUT, self.start(&queue, limit)).await {
            Ok(Ok(None)) => Ok(Found::default()),
            Ok(Ok(Some(reading))) => Ok(self.take(subscription, reading).await),
            Ok(Err(error)) => match error.kind() {
                ErrorKind::ProtocolError(amqp) if amqp.get_id() == NOT_FOUND => Err(NotReady::Missing(queue)),
                _ => Err(NotReady::Unreachable(telemetry::chain(&error))),
            },
            Err(_) => Err(NotReady::Unreachable(format!("no answer within {TIMEOUT:?}"))),
        }
    }

    /// Starts to consume as many messages as there are now, up to `limit`. Returns `None` if there are none.
    async fn start(&mut self, queue: &str, limit: u16) -> lapin::Result<Option<Reading>> {
        let channel = self.connection.create_channel().await?;
        let there = count(&channel, queue).await?;
        let wanted = u16::try_from(there).unwrap_or(u16::MAX).min(limit);
        if wanted == 0 {
            channel.close(200, "done".into()).await?;
            return Ok(None);
        }
        // The prefetch caps the deliveries, since nothing is acknowledged before the consumer is cancelled.
        channel.basic_qos(wanted, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default()).await?;
        let removed = Arc::new(AtomicU32::new(0));
        let held = Held { channel: channel.clone(), queue: queue.to_owned(), there, removed: Arc::clone(&removed) };
        self.held.push(held);
        Ok(Some(Reading { channel, consumer, wanted, more: there.saturating_sub(wanted.into()), removed }))
    }

    async fn take(&self, subscription: Subscription, mut reading: Reading) -> Found {
        let mut dead_letters = Vec::new();
        while dead_letters.len() < usize::from(reading.wanted) {
            // Fewer than were counted: another consumer received some of them.
            let Ok(Some(Ok(delivery))) = tokio::time::timeout(TIMEOUT, reading.consumer.next()).await else { break };
            dead_letters.push(DeadLetter::new(subscription, delivery, Arc::clone(&reading.removed)));
        }
        let cancelling = reading.channel.basic_cancel(reading.consumer.tag(), BasicCancelOptions::default());
        drop(tokio::time::timeout(TIMEOUT, cancelling).await);
        Found { dead_letters, more: reading.more }
    }

    /// Requeues everything that is still held, and waits up to a second until the next reader can find it.
    ///
    /// # Errors
    /// Fails if the broker does not confirm the end. Then it is also uncertain whether settled messages have left.
    pub async fn close(self) -> Result<(), BrokerError> {
        let closing = async {
            for held in &self.held {
                // Delivery tag 0 with "multiple" means every message that the channel holds.
                let all = BasicNackOptions { multiple: true, requeue: true };
                held.channel.basic_nack(0, all).await?;
                // The broker confirms this only after everything before it.
                held.channel.close(200, "done".into()).await?;
            }
            for held in &self.held {
                // Messages are requeued even if they cannot be counted.
                drop(until_counted(&self.connection, held).await);
            }
            self.connection.close(200, "done".into()).await
        };
        match tokio::time::timeout(TIMEOUT, closing).await {
            Ok(closed) => Ok(closed?),
            Err(_) => Err(BrokerError::TimedOut(TIMEOUT)),
        }
    }
}

/// Waits until the requeued messages are countable.
///
/// A quorum queue has requeued messages only once its log has them, a moment after the request. Until then it counts
/// too few, and a reader that starts then reads too few. The time limit never cuts off a pending request, since a
/// half-closed channel would keep its connection from closing.
async fn until_counted(connection: &Connection, held: &Held) -> lapin::Result<()> {
    let channel = connection.create_channel().await?;
    let expected = held.there.saturating_sub(held.removed.load(Ordering::Relaxed));
    let began = Instant::now();
    while count(&channel, &held.queue).await? < expected && began.elapsed() < COUNTED_WITHIN {
        tokio::time::sleep(COUNT_EVERY).await;
    }
    channel.close(200, "done".into()).await
}

/// Returns the number of messages in the queue that no consumer holds.
async fn count(channel: &Channel, queue: &str) -> lapin::Result<u32> {
    let passive = QueueDeclareOptions { passive: true, durable: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare(queue.into(), passive, FieldTable::default()).await?.message_count())
}

struct Reading {
    channel: Channel,
    consumer: lapin::Consumer,
    wanted: u16,
    more: u32,
    removed: Arc<AtomicU32>,
}

impl DeadLetter {
    fn new(subscription: Subscription, delivery: Delivery, removed: Arc<AtomicU32>) -> Self {
        let empty = FieldTable::default();
        let table = delivery.properties.headers().as_ref().unwrap_or(&empty);
        let text = |name| headers::text(table, name);
        let body: Value = serde_json::from_slice(&delivery.data).unwrap_or_default();
        let uuid = |name: &str| body.get(name).and_then(Value::as_str).and_then(|text| text.parse().ok());
        let message_id = delivery.properties.message_id().as_ref().map(ShortString::as_str);
        let home = text(headers::QUEUE).and_then(|queue| roster().of_queue(&queue)).unwrap_or(subscription);
        Self {
            subscription,
            id: message_id.map_or_else(|| hash(&delivery.data), str::to_owned),
            event_id: message_id.and_then(|id| id.parse().ok()).or_else(|| uuid("id")),
            order_id: uuid("subject"),
            event_type: body.get("type").and_then(Value::as_str).map(str::to_owned),
            reason: reason_of(table),
            attempt: headers::number(table, headers::ATTEMPT),
            worker: text(headers::WORKER),
            died_at: text(headers::FAILED_AT)
                .and_then(|time| DateTime::parse_from_rfc3339(&time).ok())
                .map(|time| time.to_utc())
                .or_else(|| died_at_of_the_broker(table)),
            home,
            delivery,
            removed,
        }
    }

    /// Returns the message's body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// Returns all headers.
    #[must_use]
    pub fn headers(&self) -> FieldTable {
        self.delivery.properties.headers().clone().unwrap_or_default()
    }

    /// Returns the content type.
    #[must_use]
    pub fn content_type(&self) -> Option<&str> {
        self.delivery.properties.content_type().as_ref().map(ShortString::as_str)
    }

    /// Returns the message as it was first delivered, for its work queue alone. It starts again at attempt 1.
    #[must_use]
    pub fn again(&self) -> Message {
        Message {
            exchange: names::RETURN.to_owned(),
            routing_key: self.home.queue(),
            properties: self.delivery.properties.clone().with_headers(headers::before_any_failure(&self.headers())),
            body: self.delivery.data.clone(),
        }
    }

    /// Removes it permanently from its queue.
    ///
    /// # Errors
    /// Fails if it is no longer held, since then it is in its queue again.
    pub async fn remove(&self) -> Result<(), BrokerError> {
        match tokio::time::timeout(TIMEOUT, self.delivery.acker.ack(BasicAckOptions::default())).await {
            Ok(Ok(true)) => {
                self.removed.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Ok(Ok(false)) => Err(BrokerError::NotHeld),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(BrokerError::TimedOut(TIMEOUT)),
        }
    }

    /// Requeues it at its old position.
    pub async fn put_back(self) {
        let requeue = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        // If this fails, the channel is closed, and the broker requeues the message itself.
        drop(tokio::time::timeout(TIMEOUT, self.delivery.acker.nack(requeue)).await);
    }
}

fn hash(body: &[u8]) -> String {
    let hex: String = hex::encode(Sha256::digest(body)).chars().take(12).collect();
    format!("sha256:{hex}")
}

/// Returns why it was dead-lettered, on one line: operators select by this text, and HTML forms change line breaks.
fn reason_of(table: &FieldTable) -> String {
    let given = headers::text(table, headers::REASON).unwrap_or_default();
    let words: Vec<_> = given.split_whitespace().collect();
    if words.is_empty() { reason_of_the_broker(table) } else { words.join(" ") }
}

/// Returns why a message that no worker dead-lettered is in a dead-letter queue.
fn reason_of_the_broker(table: &FieldTable) -> String {
    match headers::text(table, "x-first-death-reason").as_deref() {
        Some("delivery_limit") => {
            "RabbitMQ dead-lettered it after too many deliveries: its workers died or lost their connection".to_owned()
        }
        Some(reason) => format!("RabbitMQ dead-lettered it: {reason}"),
        None => "no reason given: it was moved here by hand".to_owned(),
    }
}

fn died_at_of_the_broker(table: &FieldTable) -> Option<DateTime<Utc>> {
    let AMQPValue::FieldArray(deaths) = table.inner().get("x-death")? else { return None };
    let AMQPValue::FieldTable(death) = deaths.as_slice().first()? else { return None };
    let AMQPValue::Timestamp(seconds) = death.inner().get("time")? else { return None };
    DateTime::from_timestamp(i64::try_from(*seconds).ok()?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_and_never_empty() {
        let reason = |text: &str| {
            let mut table = FieldTable::default();
            table.insert(headers::REASON.into(), AMQPValue::LongString(text.into()));
            reason_of(&table)
        };
        assert_eq!(reason("  the provider said:\r\n\tno\n"), "the provider said: no");
        for nothing in ["", " ", "\n\t"] {
            assert_eq!(reason(nothing), reason_of(&FieldTable::default()), "{nothing:?}");
        }
    }
}
