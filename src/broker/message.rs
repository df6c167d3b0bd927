//! A message as we publish it.

use lapin::{BasicProperties, types::FieldTable};

use super::names;
use crate::{events::CONTENT_TYPE, store::outbox::Outgoing};

/// RabbitMQ's delivery mode for messages that survive a restart.
const PERSISTENT: u8 = 2;

/// What is published where.
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
    /// An event for every queue that is bound to its kind. The body is the stored one, byte for byte: of a kind that this
    /// version does not know, too. Such a message ends in `orders.unrouted` where no queue is bound to it.
    #[must_use]
    pub fn event(event: &Outgoing) -> Self {
        // AMQP counts whole seconds since 1970.
        let seconds = u64::try_from(event.occurred_at.timestamp()).unwrap_or(0);
        let properties = BasicProperties::default()
            .with_content_type(CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT)
            .with_message_id(event.event_id.to_string().into())
            .with_app_id(event.source.clone().into())
            .with_timestamp(seconds)
            .with_correlation_id(event.correlation_id.to_string().into())
            .with_headers(FieldTable::default());
        let properties = match &event.cloud_type {
            Some(cloud_type) => properties.with_type(cloud_type.clone().into()),
            None => properties,
        };
        Self {
            exchange: names::EVENTS.to_owned(),
            routing_key: event.event.clone(),
            properties,
            body: event.body.clone().into_bytes(),
        }
    }

    /// The same message for one queue alone, as a first attempt: it goes by `orders.return`, where every work queue is
    /// bound by its own name.
    #[must_use]
    pub fn to_queue(self, queue: &str) -> Self {
        Self { exchange: names::RETURN.to_owned(), routing_key: queue.to_owned(), ..self }
    }
}
