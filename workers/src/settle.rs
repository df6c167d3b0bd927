//! The one place that settles deliveries: acknowledged when their work is committed, put into a retry tier, or
//! dead-lettered. Each delivery is settled once, and none before its work or its copy is safe.

use std::time::Duration;

use chrono::Utc;
use futures::future::join_all;
use lapin::{
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use orderflow::{
    broker::{Backoff, Connector, Message, Publisher, names},
    config::RetryDelays,
    timestamp,
};

use crate::handler::Failure;

/// Which attempt a delivery is, from 1.
pub const ATTEMPT: &str = "x-orderflow-attempt";
/// Why the attempt before failed.
pub const REASON: &str = "x-orderflow-reason";
/// The work queue that the message belongs to.
pub const QUEUE: &str = "x-orderflow-queue";
/// The process in which it failed.
pub const WORKER: &str = "x-orderflow-worker";
/// When it failed.
pub const FAILED_AT: &str = "x-orderflow-failed-at";

/// How often the broker took a message back from a consumer that did not settle it.
const RETURNS: &str = "x-delivery-count";

/// From so many returns on a message that a paused queue leaves is put back by a copy: well below the queue's delivery
/// limit of 50, which is there for messages that kill their workers.
const MANY_RETURNS: u32 = 20;

/// A reason is read in a table of the management UI: longer ones are cut, in characters.
const LONGEST_REASON: usize = 500;

/// How long a failed delivery's copy is tried to be published before the delivery goes back to its queue instead.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(60);

/// What RabbitMQ adds when it moves a message. A copy of ours starts without: the broker would otherwise count its own
/// deaths on, and detects cycles by them.
const OF_THE_BROKER: [&str; 2] = ["x-death", RETURNS];
const OF_THE_BROKER_PREFIXES: [&str; 2] = ["x-first-death-", "x-last-death-"];

/// Settles the deliveries of one queue.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The work queue.
    pub queue: String,
    publisher: Publisher,
    retry_delays: RetryDelays,
}

impl Settle {
    /// For this queue.
    #[must_use]
    pub fn new(queue: String, publisher: Publisher, retry_delays: RetryDelays) -> Self {
        Self { queue, publisher, retry_delays }
    }

    /// Acknowledges deliveries whose work is committed.
    ///
    /// One that cannot be acknowledged any more (its channel is gone) comes again, and the inbox recognises it.
    pub async fn acknowledge(&self, deliveries: &[Delivery]) {
        let outcomes = join_all(deliveries.iter().map(|one| one.acker.ack(BasicAckOptions::default()))).await;
        let lost = outcomes.iter().filter(|outcome| !matches!(outcome, Ok(true))).count();
        if lost > 0 {
            tracing::debug!(
                queue = self.queue,
                deliveries = lost,
                "the channel is gone; these deliveries will come again"
            );
        }
    }

    /// Whether a delivery that is left to the end of its channel was left so often that it should be put back instead.
    /// The broker counts how often a message goes back with a channel, and a copy's count starts anew: so a provider
    /// that comes and goes does not drive it towards the queue's delivery limit.
    #[must_use]
    pub fn is_left_too_often(delivery: &Delivery) -> bool {
        returns(delivery) >= MANY_RETURNS
    }

    /// Puts a delivery at the end of its queue, as a copy of the same attempt.
    pub async fn put_back(&self, delivery: &Delivery) {
        self.replace(delivery, self.again(delivery)).await;
    }

    /// Puts a failed delivery into its next retry tier, or dead-letters it where none is left or none would help.
    pub async fn fail(&self, delivery: &Delivery, failure: &Failure) {
        let attempt = attempt(delivery);
        let delay = self.delay(attempt, failure);
        let (exchange, next_attempt) = match delay {
            Some(delay) => (names::retry(delay), attempt.saturating_add(1)),
            None => (names::DEAD_LETTERS.to_owned(), attempt),
        };
        let message_id = delivery.properties.message_id().as_ref().map_or("none", ShortString::as_str);
        match delay {
            Some(delay) => tracing::warn!(
                queue = self.queue, event.id = message_id, attempt, reason = %failure, again_in = ?delay,
                "an event could not be handled; it is tried again"
            ),
            None => tracing::error!(
                queue = self.queue, event.id = message_id, attempt, reason = %failure,
                "an event could not be handled; it is in the dead-letter queue"
            ),
        }
        let copy = self.copy(delivery, exchange, next_attempt, failure);
        self.replace(delivery, copy).await;
    }

    /// Acknowledges a delivery once its copy is safe with the broker, and gives it back where the copy is not.
    async fn replace(&self, delivery: &Delivery, copy: Message) {
        if self.publish(delivery, copy).await {
            self.acknowledge(std::slice::from_ref(delivery)).await;
        } else {
            self.give_back(delivery).await;
        }
    }

    /// Returns a delivery to its queue untouched, for another worker.
    pub async fn give_back(&self, delivery: &Delivery) {
        // Where even this fails the channel is gone, and with it the broker gives the message back by itself.
        drop(delivery.acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await);
    }

    /// How long to wait for the next attempt; `None` where there is none.
    fn delay(&self, attempt: u32, failure: &Failure) -> Option<Duration> {
        match failure {
            Failure::Reject { .. } => None,
            Failure::Retry { after, .. } | Failure::Away { after, .. } => {
                let usual = self.retry_delays.after_attempt(attempt)?;
                let least = after.unwrap_or_default().max(usual);
                // The first tier that is long enough; a wish beyond the last tier gets the last.
                let delays = self.retry_delays.as_slice();
                delays.iter().find(|delay| **delay >= least).or(delays.last()).copied()
            }
        }
    }

    fn again(&self, delivery: &Delivery) -> Message {
        let mut headers = own_headers(delivery);
        // What comes by this exchange is believed its attempt, and not everything came by it.
        headers.insert(ATTEMPT.into(), AMQPValue::LongUInt(attempt(delivery)));
        self.message(delivery, names::RETURN.to_owned(), headers)
    }

    fn copy(&self, delivery: &Delivery, exchange: String, attempt: u32, failure: &Failure) -> Message {
        let mut headers = own_headers(delivery);
        let reason: String = failure.to_string().chars().take(LONGEST_REASON).collect();
        let text = |value: String| AMQPValue::LongString(value.into());
        headers.insert(ATTEMPT.into(), AMQPValue::LongUInt(attempt));
        headers.insert(REASON.into(), text(reason));
        headers.insert(QUEUE.into(), text(self.queue.clone()));
        headers.insert(WORKER.into(), text(format!("orderflow-worker {}", Connector::place())));
        headers.insert(FAILED_AT.into(), text(timestamp::format(&Utc::now())));
        self.message(delivery, exchange, headers)
    }

    fn message(&self, delivery: &Delivery, exchange: String, headers: FieldTable) -> Message {
        Message {
            exchange,
            routing_key: self.queue.clone(),
            properties: delivery.properties.clone().with_headers(headers),
            body: delivery.data.clone(),
        }
    }

    /// Whether the copy is safe with the broker. Tried until the delivery's own channel is gone, since the delivery
    /// then comes again anyway, or the deadline passes.
    async fn publish(&self, delivery: &Delivery, copy: Message) -> bool {
        let mut backoff = Backoff::default();
        let deadline = tokio::time::Instant::now() + PUBLISH_DEADLINE;
        while delivery.acker.usable() && tokio::time::Instant::now() < deadline {
            match self.publisher.publish(copy.clone()).await {
                Ok(()) => return true,
                Err(error) => {
                    tracing::debug!(queue = self.queue, %error, "a failed delivery's copy could not be published yet");
                }
            }
            backoff.wait().await;
        }
        false
    }
}

/// Which attempt this delivery is. Only what comes back from a retry tier is a further attempt: a dead letter that a
/// person moved back to its queue still has the header, but starts anew.
fn attempt(delivery: &Delivery) -> u32 {
    if delivery.exchange.as_str() != names::RETURN {
        return 1;
    }
    number(delivery, ATTEMPT).unwrap_or(1)
}

/// How often the broker has taken this delivery back, as it counts for the queue's delivery limit.
fn returns(delivery: &Delivery) -> u32 {
    number(delivery, RETURNS).unwrap_or(0)
}

fn number(delivery: &Delivery, name: &str) -> Option<u32> {
    match delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongUInt(number) => Some(*number),
        // The broker, other clients and the management UI write numbers as they like.
        AMQPValue::LongInt(number) => u32::try_from(*number).ok(),
        AMQPValue::LongLongInt(number) => u32::try_from(*number).ok(),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        _ => None,
    }
}

/// The delivery's headers without what the broker added.
fn own_headers(delivery: &Delivery) -> FieldTable {
    let mut headers = FieldTable::default();
    for (name, value) in delivery.properties.headers().iter().flat_map(FieldTable::inner) {
        let name_text = name.as_str();
        let foreign = OF_THE_BROKER.contains(&name_text)
            || OF_THE_BROKER_PREFIXES.iter().any(|prefix| name_text.starts_with(prefix));
        if !foreign {
            headers.insert(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use lapin::BasicProperties;

    use super::*;

    fn settle() -> Settle {
        let config = orderflow::config::BrokerConfig { urls: vec!["amqp://127.0.0.1:1/none".to_owned().into()] };
        let connector = Connector::new(&config, "test").expect("the URL is well-formed");
        let stopped = tokio_util::sync::CancellationToken::new();
        stopped.cancel();
        let publisher = Publisher::start(connector, stopped);
        Settle::new("payment.order-created".to_owned(), publisher, "1s,10s,1m".parse().expect("a list"))
    }

    fn delivery(exchange: &str, headers: &[(&str, AMQPValue)]) -> Delivery {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.clone());
        }
        let mut delivery = Delivery::mock(1, exchange.into(), "payment.order-created".into(), false, b"{}".to_vec());
        delivery.properties = BasicProperties::default().with_headers(table);
        delivery
    }

    #[test]
    fn only_what_comes_back_from_a_retry_tier_is_a_further_attempt() {
        let header = [(ATTEMPT, AMQPValue::LongUInt(3))];
        assert_eq!(attempt(&delivery(names::RETURN, &header)), 3);
        assert_eq!(attempt(&delivery("", &header)), 1, "moved back by hand");
        assert_eq!(attempt(&delivery(names::EVENTS, &[])), 1);
    }

    #[tokio::test]
    async fn the_tiers_are_used_in_turn_and_then_there_is_none() {
        let settle = settle();
        let passing = Failure::retry("busy");
        let seconds: Vec<_> =
            (1..=4).map(|attempt| settle.delay(attempt, &passing).map(|delay| delay.as_secs())).collect();
        assert_eq!(seconds, [Some(1), Some(10), Some(60), None]);
        assert_eq!(settle.delay(1, &Failure::reject("broken")), None);
    }

    #[tokio::test]
    async fn a_wish_for_a_longer_wait_picks_the_first_tier_that_is_long_enough() {
        let settle = settle();
        let wish = |seconds| Failure::Retry { why: "busy".to_owned(), after: Some(Duration::from_secs(seconds)) };
        assert_eq!(settle.delay(1, &wish(5)), Some(Duration::from_secs(10)));
        assert_eq!(settle.delay(1, &wish(3_600)), Some(Duration::from_secs(60)));
        assert_eq!(
            settle.delay(3, &wish(5)),
            Some(Duration::from_secs(60)),
            "never sooner than the attempt's own tier"
        );
    }

    #[tokio::test]
    async fn a_copy_says_what_happened_and_forgets_what_the_broker_added() {
        let death = ("x-first-death-queue", AMQPValue::LongString("orders.retry.1s".into()));
        let other = ("x-shop", AMQPValue::LongString("kept".into()));
        let copy = settle().copy(
            &delivery(names::RETURN, &[death, other]),
            "x".to_owned(),
            2,
            &Failure::retry("é".repeat(900)),
        );
        let headers = copy.properties.headers().clone().expect("it has headers");
        let names: Vec<_> = headers.inner().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["x-orderflow-attempt", FAILED_AT, QUEUE, REASON, WORKER, "x-shop"]);
        assert_eq!(headers.inner().get(REASON), Some(&AMQPValue::LongString("é".repeat(LONGEST_REASON).into())));
    }

    #[tokio::test]
    async fn what_is_put_back_is_the_same_attempt_with_a_new_count_of_returns() {
        for (exchange, header, attempt_now) in [(names::RETURN, 3, 3), ("", 7, 1)] {
            let returned = (RETURNS, AMQPValue::LongLongInt(20));
            let delivery = delivery(exchange, &[returned, (ATTEMPT, AMQPValue::LongUInt(header))]);
            assert_eq!((returns(&delivery), attempt(&delivery)), (20, attempt_now));
            let copy = settle().again(&delivery);
            let headers = copy.properties.headers().clone().expect("it has headers");
            assert_eq!(headers.inner().get(ATTEMPT), Some(&AMQPValue::LongUInt(attempt_now)));
            assert_eq!(headers.inner().get(RETURNS), None);
            assert_eq!((copy.exchange.as_str(), copy.routing_key.as_str()), (names::RETURN, "payment.order-created"));
        }
    }
}
