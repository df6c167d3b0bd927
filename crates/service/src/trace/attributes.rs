//! What is said of steps, by the names of OpenTelemetry's semantic conventions, and the few of our own.

use std::time::Duration;

use opentelemetry_semantic_conventions::attribute;
use uuid::Uuid;

use super::Span;

/// `order.id`: ours, as in the log.
const ORDER: &str = "order.id";
/// What the conventions call our correlation id.
const CORRELATION: &str = "messaging.message.conversation_id";
/// Which attempt it is, from 1.
const ATTEMPT: &str = "orderflow.attempt";
/// What became of a failed attempt: `retried`, `dead_lettered`, or `put_back` where the broker took nothing.
const OUTCOME: &str = "orderflow.outcome";
/// After how many seconds it is tried again.
const RETRY_AFTER: &str = "orderflow.retry_after_seconds";

/// A message that a step is about.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// `publish`, `process` or `settle`.
    pub operation: &'static str,
    /// The queue, or the exchange.
    pub destination: &'a str,
    /// The event's id, which is the message's.
    pub event: Uuid,
    /// The order.
    pub order: Uuid,
    /// The placing request's id.
    pub correlation: Uuid,
}

impl Span {
    /// Says which message it is about.
    pub fn message(&mut self, about: About<'_>) {
        if !self.is_recorded() {
            return;
        }
        self.set(attribute::MESSAGING_SYSTEM, "rabbitmq");
        self.set(attribute::MESSAGING_OPERATION_NAME, about.operation);
        let kind = if about.operation == "publish" { "send" } else { about.operation };
        self.set(attribute::MESSAGING_OPERATION_TYPE, kind);
        self.set(attribute::MESSAGING_DESTINATION_NAME, about.destination.to_owned());
        self.set(attribute::MESSAGING_MESSAGE_ID, about.event.to_string());
        self.set(ORDER, about.order.to_string());
        self.set(CORRELATION, about.correlation.to_string());
    }

    /// Says which order it is about, where there is no message.
    pub fn order(&mut self, order: Uuid) {
        self.set(ORDER, order.to_string());
    }

    /// Says that an attempt has failed, and when the next one is. Only without one is the step itself a failure: an order
    /// that ships at the second attempt has none.
    pub fn attempt_failed(&mut self, why: &str, again_after: Option<Duration>) {
        self.set("orderflow.reason", why.to_owned());
        match again_after {
            Some(after) => {
                self.set(OUTCOME, "retried");
                self.set(RETRY_AFTER, after.as_secs_f64());
            }
            None => {
                self.set(OUTCOME, "dead_lettered");
                self.failed(why);
            }
        }
    }

    /// Says that a failed attempt could not be moved on: the message is back in its queue as it was.
    pub fn put_back(&mut self) {
        self.set(OUTCOME, "put_back");
    }

    /// Says under which routing key it is published.
    pub fn routing_key(&mut self, key: &str) {
        self.set(attribute::MESSAGING_RABBITMQ_DESTINATION_ROUTING_KEY, key.to_owned());
    }

    /// Says which attempt it is, from 1.
    pub fn attempt(&mut self, attempt: u32) {
        self.set(ATTEMPT, i64::from(attempt));
    }

    /// Says that it is a transaction of PostgreSQL, for so many messages at once.
    pub fn transaction(&mut self, messages: usize) {
        self.set(attribute::DB_SYSTEM_NAME, "postgresql");
        self.set(attribute::MESSAGING_BATCH_MESSAGE_COUNT, i64::try_from(messages).unwrap_or(i64::MAX));
    }

    /// Says which request it answers.
    pub fn request(&mut self, method: &'static str, route: &str, id: Uuid) {
        self.set(attribute::HTTP_REQUEST_METHOD, method);
        self.set(attribute::HTTP_ROUTE, route.to_owned());
        self.set("request.id", id.to_string());
    }

    /// Says how it is answered; a 5xx is a failure of ours, a 4xx none.
    pub fn response(&mut self, status: u16) {
        self.set(attribute::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
        if status >= 500 {
            self.set(attribute::ERROR_TYPE, status.to_string());
            self.failed("");
        }
    }

    /// Says which provider it calls.
    pub fn provider(&mut self, name: &'static str) {
        self.set("peer.service", name);
    }
}
