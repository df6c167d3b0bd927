//! The attributes of spans: those of OpenTelemetry's semantic conventions, and a few of our own.

use std::time::Duration;

use opentelemetry_semantic_conventions::attribute;
use uuid::Uuid;

use super::Span;

/// The order's id; our own attribute, named as in the log.
const ORDER: &str = "order.id";
/// The conventions' attribute for our correlation id.
const CORRELATION: &str = "messaging.message.conversation_id";
/// The number of the attempt, from 1.
const ATTEMPT: &str = "orderflow.attempt";
/// The outcome of a failed attempt: `retried`, `dead_lettered`, or `put_back` if it could not be published.
const OUTCOME: &str = "orderflow.outcome";
/// The seconds until the next attempt.
const RETRY_AFTER: &str = "orderflow.retry_after_seconds";

/// The message of a step.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// `publish`, `process` or `settle`.
    pub operation: &'static str,
    /// The queue or exchange.
    pub destination: &'a str,
    /// The id of the event, which is also the message's.
    pub event: Uuid,
    /// The order's id.
    pub order: Uuid,
    /// The id of the placing request.
    pub correlation: Uuid,
}

impl Span {
    /// Sets the attributes of the message.
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

    /// Sets the order's id, for steps without a message.
    pub fn order(&mut self, order: Uuid) {
        self.set(ORDER, order.to_string());
    }

    /// Sets the attributes of a failed attempt, and when the next one is. The span itself fails only if there is no
    /// next attempt: the trace of an order that ships on the second attempt has no failure.
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

    /// Records that a failed attempt could not be published anywhere: the message is requeued unchanged.
    pub fn put_back(&mut self) {
        self.set(OUTCOME, "put_back");
    }

    /// Sets the routing key.
    pub fn routing_key(&mut self, key: &str) {
        self.set(attribute::MESSAGING_RABBITMQ_DESTINATION_ROUTING_KEY, key.to_owned());
    }

    /// Sets the number of the attempt, from 1.
    pub fn attempt(&mut self, attempt: u32) {
        self.set(ATTEMPT, i64::from(attempt));
    }

    /// Sets the attributes of a PostgreSQL transaction for this many messages.
    pub fn transaction(&mut self, messages: usize) {
        self.set(attribute::DB_SYSTEM_NAME, "postgresql");
        self.set(attribute::MESSAGING_BATCH_MESSAGE_COUNT, i64::try_from(messages).unwrap_or(i64::MAX));
    }

    /// Sets the attributes of the HTTP request.
    pub fn request(&mut self, method: &'static str, route: &str, id: Uuid) {
        self.set(attribute::HTTP_REQUEST_METHOD, method);
        self.set(attribute::HTTP_ROUTE, route.to_owned());
        self.set("request.id", id.to_string());
    }

    /// Sets the status of the HTTP response. A 5xx fails the span; a 4xx does not.
    pub fn response(&mut self, status: u16) {
        self.set(attribute::HTTP_RESPONSE_STATUS_CODE, i64::from(status));
        if status >= 500 {
            self.set(attribute::ERROR_TYPE, status.to_string());
            self.failed("");
        }
    }

    /// Sets the provider's name.
    pub fn provider(&mut self, name: &'static str) {
        self.set("peer.service", name);
    }
}
