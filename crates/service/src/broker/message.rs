//! A message as we publish it.

use lapin::{
    BasicProperties,
    types::{FieldTable, ShortString},
};
use orderflow_events::CONTENT_TYPE;

use super::names;
use crate::store::outbox::Outgoing;

/// RabbitMQ's delivery mode for messages that survive a restart.
const PERSISTENT: u8 = 2;

/// The longest text that AMQP 0-9-1 carries in an address or property, in bytes: its short string.
const LONGEST_TEXT: usize = 255;

/// The largest body, in bytes: RabbitMQ's limit since 4.0 unless `max_message_size` is raised.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// An event that RabbitMQ cannot carry. lapin panics at a longer text. A larger body closes the channel, which fails
/// every unconfirmed message on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too large for RabbitMQ: at most 255 bytes of kind, type and source, at most 16 MiB of body")]
pub struct TooLarge;

/// A message with its destination.
#[derive(Debug, Clone)]
pub struct Message {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Content type, ids, headers.
    pub properties: BasicProperties,
    /// The body.
    pub body: Vec<u8>,
}

impl Message {
    /// Returns an event's message for every queue that is bound to its kind. The body is the stored one, byte for byte,
    /// even if this version does not know the kind. If no queue is bound to it, the message ends up in
    /// `orders.unrouted`.
    ///
    /// # Errors
    /// Returns [`TooLarge`]; no later attempt can succeed.
    pub fn event(event: &Outgoing) -> Result<Self, TooLarge> {
        if event.event.len() > LONGEST_TEXT || event.body.len() > LARGEST_BODY {
            return Err(TooLarge);
        }
        // AMQP counts whole seconds since 1970.
        let seconds = u64::try_from(event.occurred_at.timestamp()).unwrap_or(0);
        let properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(event.event_id.to_string().into())
            .with_app_id(short(&event.source)?)
            .with_timestamp(seconds)
            .with_correlation_id(event.correlation_id.to_string().into())
            .with_headers(FieldTable::default());
        let properties = match &event.cloud_type {
            Some(cloud_type) => properties.with_type(short(cloud_type)?),
            None => properties,
        };
        Ok(Self {
            exchange: names::EVENTS.to_owned(),
            routing_key: event.event.clone(),
            properties,
            body: event.body.clone().into_bytes(),
        })
    }

    /// Returns the same message for one queue only, as a first attempt: it goes through `orders.return`, where every
    /// work queue is bound by its own name.
    #[must_use]
    pub fn to_queue(self, queue: &str) -> Self {
        Self { exchange: names::RETURN.to_owned(), routing_key: queue.to_owned(), ..self }
    }
}

fn short(text: &str) -> Result<ShortString, TooLarge> {
    if text.len() > LONGEST_TEXT {
        return Err(TooLarge);
    }
    Ok(text.into())
}
