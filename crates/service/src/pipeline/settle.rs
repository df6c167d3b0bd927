//! Settles deliveries; nothing else does. Acknowledges a delivery whose work is committed, moves it to a retry tier, or
//! dead-letters it. Each is settled once, and only after its work or its copy is safe.

use std::time::Duration;

use chrono::{SubsecRound as _, Utc};
use futures::future::join_all;
use lapin::{
    message::Delivery,
    options::{BasicAckOptions, BasicRejectOptions},
    types::{AMQPValue, FieldTable},
};
use orderflow_events::timestamp;

use crate::{
    broker::{
        Message, PublishError, Publisher,
        headers::{self, ALONE, ATTEMPT, FAILED_AT, QUEUE, REASON, WORKER},
        names,
    },
    failure::Failure,
    fault::{self, CrashPoint},
    metrics::{self, Outcome, QueueMetrics, WhyDead},
    pipeline::{
        event_metadata::{EventMetadata, attempt, event_id, log_span},
        failure_log::FailureLog,
        isolation,
        retry_tiers::RetryTiers,
        tries::Tries,
        unsettled::Run,
    },
    process_identity,
    store::failures::FailedAttempt,
    trace::{Kind, Span},
};

/// The longest reason, in characters: the management UI shows it in a table.
const LONGEST_REASON: usize = 500;

/// Settles the deliveries of one queue.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The work queue.
    pub queue: String,
    publisher: Publisher,
    retry_tiers: RetryTiers,
    failures: FailureLog,
    /// The queue's metrics.
    pub metrics: QueueMetrics,
}

impl Settle {
    /// Returns the settler of this queue.
    #[must_use]
    pub fn new(queue: String, publisher: Publisher, retry_tiers: RetryTiers, failures: FailureLog) -> Self {
        let metrics = metrics::of_queue(&queue);
        Self { queue, publisher, retry_tiers, failures, metrics }
    }

    /// Acknowledges deliveries whose work or copies are safe, each with a frame of its own.
    ///
    /// If their channel is closed, RabbitMQ redelivers the messages and the inbox recognises them.
    pub async fn acknowledge(&self, deliveries: &[Delivery]) {
        let frames = deliveries.iter().map(|delivery| (delivery, BasicAckOptions::default(), 1));
        self.send_acknowledgements(frames.collect()).await;
    }

    /// Like [`Settle::acknowledge`], but with one frame for all deliveries of the run.
    pub async fn acknowledge_run(&self, run: &Run) {
        let count = run.deliveries().len();
        let options = BasicAckOptions { multiple: count > 1 };
        let frame = run.deliveries().last().map(|last| (last, options, count));
        self.send_acknowledgements(frame.into_iter().collect()).await;
    }

    /// Sends acknowledgements: each of a delivery, with these options, which settle this number of deliveries.
    async fn send_acknowledgements(&self, frames: Vec<(&Delivery, BasicAckOptions, usize)>) {
        if frames.is_empty() {
            return;
        }
        fault::crash_here(CrashPoint::BeforeAck);
        let sending =
            frames.into_iter().map(async |(delivery, options, count)| match delivery.acker.ack(options).await {
                Ok(true) => 0,
                Ok(false) | Err(_) => count,
            });
        let lost: usize = join_all(sending).await.into_iter().sum();
        fault::crash_here(CrashPoint::AfterAck);
        if lost > 0 {
            tracing::debug!(
                queue = self.queue,
                deliveries = lost,
                "the channel is closed; RabbitMQ redelivers these messages"
            );
        }
    }

    /// Puts a delivery at the end of its queue, as a copy of the same attempt whose count of returns starts again.
    /// Marks a copy of a message that was returned repeatedly, so that it is handled alone.
    pub async fn republish_copy(&self, delivery: &Delivery) {
        let mut tries = Tries::new(delivery);
        while tries.next().await {
            if self.publish(self.again(delivery)).await.is_ok() {
                self.acknowledge(std::slice::from_ref(delivery)).await;
                self.metrics.settled(Outcome::PutBack, 1);
                return;
            }
        }
        self.requeue(delivery).await;
    }

    /// Moves a failed delivery to its next retry tier, or dead-letters it if no tier is left or retrying cannot help.
    /// Passes over a tier whose queue confirms nothing. `cause` is the trace context of the step that failed.
    pub async fn fail(&self, delivery: &Delivery, failure: &Failure, cause: Option<&str>) {
        let attempt = attempt(delivery);
        let head = EventMetadata::of(delivery);
        let mut step = self.settling(head.as_ref(), cause);
        step.attempt(attempt);
        // Log and count the move only once the copy is safe: if the broker accepts nothing, the message returns to its
        // queue.
        let moved = self.move_on(delivery, attempt, failure).await;
        let line = log_span(&self.queue, Some(delivery), head.as_ref());
        let Some((delay, failed)) = moved else {
            line.in_scope(
                || tracing::warn!(reason = %failure, "a failed event could not be moved to its next queue; it was requeued"),
            );
            step.put_back();
            return;
        };
        line.in_scope(|| log(failure, delay));
        step.attempt_failed(&failed.reason, delay);
        match delay {
            Some(delay) => self.metrics.retried(delay),
            None => self.metrics.dead_lettered(why_dead(failure)),
        }
        // Last, because everything before works without the database.
        self.failures.record(failed);
    }

    /// Publishes a failed delivery's copy to a retry tier or the dead-letter queue, then acknowledges the delivery.
    /// Returns the delay of the tier that has it, or `None` after requeueing the delivery.
    async fn move_on(
        &self,
        delivery: &Delivery,
        attempt: u32,
        failure: &Failure,
    ) -> Option<(Option<Duration>, FailedAttempt)> {
        let wanted = self.delay(attempt, failure);
        let mut tries = Tries::new(delivery);
        while tries.next().await {
            let delay = wanted.map(|wanted| self.retry_tiers.choose(wanted));
            let (exchange, next_attempt) = match delay {
                Some(delay) => (names::retry(delay), attempt.saturating_add(1)),
                None => (names::DEAD_LETTERS.to_owned(), attempt),
            };
            let failed = self.failed(delivery, attempt, failure, delay);
            let outcome = self.publish(self.copy(delivery, exchange, next_attempt, &failed)).await;
            if let Some(delay) = delay {
                self.retry_tiers.published(delay, outcome, &self.publisher);
            }
            if outcome.is_ok() {
                self.acknowledge(std::slice::from_ref(delivery)).await;
                return Some((delay, failed));
            }
        }
        self.requeue(delivery).await;
        None
    }

    /// Returns a delivery's settlement as a step of its order's trace.
    fn settling(&self, head: Option<&EventMetadata>, cause: Option<&str>) -> Span {
        let cause = cause.or_else(|| head?.traceparent.as_deref());
        let mut step = Span::after(Kind::Client, format!("settle {}", self.queue), cause);
        if let Some(head) = head {
            step.message(head.about("settle", &self.queue));
        }
        step
    }

    /// Returns a delivery to its queue untouched, for another worker.
    ///
    /// Uses `basic.reject`, which every version of RabbitMQ counts. Since 4.3, `basic.nack` does not count: a message
    /// whose copy can never be published would be redelivered for ever.
    pub async fn requeue(&self, delivery: &Delivery) {
        self.metrics.settled(Outcome::PutBack, 1);
        // If even this fails, the channel is closed, and the broker requeues the message on its own.
        drop(delivery.acker.reject(BasicRejectOptions { requeue: true }).await);
    }

    /// Returns how long to wait before the next attempt; `None` if there is no further attempt.
    fn delay(&self, attempt: u32, failure: &Failure) -> Option<Duration> {
        let delays = self.retry_tiers.delays();
        match failure {
            Failure::Reject { .. } | Failure::Misdirected { .. } => None,
            Failure::NotInLog { .. } if attempt > 1 => None,
            Failure::NotInLog { .. } => delays.after_attempt(1),
            Failure::Retry { after, .. } | Failure::ProviderUnavailable { after, .. } => {
                let usual = delays.after_attempt(attempt)?;
                let least = after.unwrap_or_default().max(usual);
                // The first tier that is long enough, or the last one if none is.
                let delays = delays.as_slice();
                delays.iter().find(|delay| **delay >= least).or(delays.last()).copied()
            }
        }
    }

    fn again(&self, delivery: &Delivery) -> Message {
        let mut headers = own_headers(delivery);
        // Consumers trust the attempt header on messages from `orders.return`, so set it here: this delivery may have
        // come through another exchange.
        headers.insert(ATTEMPT.into(), AMQPValue::LongUInt(attempt(delivery)));
        isolation::mark(delivery, &mut headers);
        self.message(delivery, names::RETURN.to_owned(), headers)
    }

    fn failed(&self, delivery: &Delivery, attempt: u32, failure: &Failure, delay: Option<Duration>) -> FailedAttempt {
        // Milliseconds, as in the header, so that message and record can be matched.
        let failed_at = Utc::now().trunc_subsecs(3);
        FailedAttempt {
            event_id: event_id(delivery).filter(|_| failure.is_of_the_named_event()),
            subscription: self.queue.clone(),
            attempt: i32::try_from(attempt).unwrap_or(i32::MAX),
            reason: failure.to_string().chars().take(LONGEST_REASON).collect(),
            worker: format!("{} {}", process_identity::program(), process_identity::place()),
            failed_at,
            retry_at: delay.map(|delay| failed_at + delay),
        }
    }

    fn copy(&self, delivery: &Delivery, exchange: String, attempt: u32, failed: &FailedAttempt) -> Message {
        let mut headers = own_headers(delivery);
        let text = |value: &str| AMQPValue::LongString(value.into());
        headers.insert(ATTEMPT.into(), AMQPValue::LongUInt(attempt));
        headers.insert(REASON.into(), text(&failed.reason));
        headers.insert(QUEUE.into(), text(&self.queue));
        headers.insert(WORKER.into(), text(&failed.worker));
        headers.insert(FAILED_AT.into(), text(&timestamp::format(&failed.failed_at)));
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

    async fn publish(&self, copy: Message) -> Result<(), PublishError> {
        let outcome = self.publisher.publish(copy).await;
        if let Err(error) = outcome {
            tracing::debug!(queue = self.queue, %error, "a delivery's copy could not be published yet");
        }
        outcome
    }
}

fn why_dead(failure: &Failure) -> WhyDead {
    match failure {
        Failure::Reject { .. } | Failure::Misdirected { .. } => WhyDead::Rejected,
        Failure::NotInLog { .. } => WhyDead::NotInLog,
        Failure::Retry { .. } | Failure::ProviderUnavailable { .. } => WhyDead::Exhausted,
    }
}

/// Logs one line per failure, with its whole cause.
fn log(failure: &Failure, delay: Option<Duration>) {
    match delay {
        Some(delay) => {
            tracing::warn!(reason = %failure, again_in = ?delay, "an event could not be handled; it is tried again");
        }
        None => tracing::error!(reason = %failure, "an event could not be handled; it is in the dead-letter queue"),
    }
}

/// Returns the delivery's headers without those that the broker added, and without the mark: an ordinary failure clears
/// a suspect.
fn own_headers(delivery: &Delivery) -> FieldTable {
    let table = delivery.properties.headers().as_ref();
    let kept = table.map(headers::for_copy).unwrap_or_default();
    let mut own = FieldTable::default();
    for (name, value) in kept.inner().iter().filter(|(name, _)| name.as_str() != ALONE) {
        own.insert(name.clone(), value.clone());
    }
    own
}

#[cfg(test)]
mod tests {
    use lapin::{BasicProperties, types::FieldTable};

    use super::*;
    use crate::pipeline::event_metadata::is_sent_again;

    fn settle() -> Settle {
        let source = [("AMQP_URL".to_owned(), "amqp://127.0.0.1:1/none".to_owned())].into_iter().collect();
        let config = crate::config::BrokerConfig::read(&source).expect("the URL is well-formed");
        let connector = crate::broker::Connector::new(&config, "test");
        let stopped = tokio_util::sync::CancellationToken::new();
        stopped.cancel();
        let publisher = Publisher::start(connector, stopped);
        let nowhere = crate::config::DatabaseConfig::at("postgres://127.0.0.1:1/none".to_owned());
        let database = crate::store::Database::new(&nowhere, "test", 1).expect("the URL is well-formed");
        let tiers = RetryTiers::new("1s,10s,1m".parse().expect("a list"));
        Settle::new("payment.order-created".to_owned(), publisher, tiers, FailureLog::start(database))
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
    fn only_message_from_a_retry_tier_is_a_further_attempt() {
        let header = [(ATTEMPT, AMQPValue::LongUInt(3))];
        assert_eq!(attempt(&delivery(names::RETURN, &header)), 3);
        assert_eq!(
            attempt(&delivery(names::RETURN, &[(ATTEMPT, AMQPValue::LongUInt(0))])),
            1,
            "there is always a next attempt"
        );
        assert_eq!(attempt(&delivery("", &header)), 1, "moved back by hand");
        assert_eq!(attempt(&delivery(names::EVENTS, &[])), 1);
        assert!(!is_sent_again(&delivery(names::RETURN, &header)));
        assert!(is_sent_again(&delivery(names::RETURN, &[(ATTEMPT, AMQPValue::LongUInt(1))])));
        assert!(!is_sent_again(&delivery(names::EVENTS, &[])));
    }

    #[tokio::test]
    async fn retry_tiers_are_used_in_turn_until_none_is_left() {
        let settle = settle();
        let transient = Failure::retry("busy");
        let seconds: Vec<_> =
            (1..=4).map(|attempt| settle.delay(attempt, &transient).map(|delay| delay.as_secs())).collect();
        assert_eq!(seconds, [Some(1), Some(10), Some(60), None]);
        assert_eq!(settle.delay(1, &Failure::reject("broken")), None);
    }

    #[tokio::test]
    async fn requested_wait_picks_the_first_tier_that_is_long_enough() {
        let settle = settle();
        let retry_after =
            |seconds| Failure::Retry { why: "busy".to_owned(), after: Some(Duration::from_secs(seconds)) };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(settle.delay(1, &retry_after(5)), seconds(10));
        assert_eq!(settle.delay(1, &retry_after(3_600)), seconds(60));
        assert_eq!(settle.delay(3, &retry_after(5)), seconds(60), "never sooner than the attempt's own tier");
    }

    #[tokio::test]
    async fn copy_states_the_failure_and_drops_the_headers_of_the_broker() {
        let death = ("x-first-death-queue", AMQPValue::LongString("orders.retry.1s".into()));
        let other = ("x-shop", AMQPValue::LongString("kept".into()));
        let (settle, delivery) = (settle(), delivery(names::RETURN, &[death, other]));
        let failed = settle.failed(&delivery, 1, &Failure::retry("é".repeat(900)), None);
        let copy = settle.copy(&delivery, "x".to_owned(), 2, &failed);
        let headers = copy.properties.headers().clone().expect("it has headers");
        let names: Vec<_> = headers.inner().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["x-orderflow-attempt", FAILED_AT, QUEUE, REASON, WORKER, "x-shop"]);
        assert_eq!(headers.inner().get(REASON), Some(&AMQPValue::LongString("é".repeat(LONGEST_REASON).into())));
    }

    #[tokio::test]
    async fn suspect_is_marked_when_put_back_and_unmarked_after_an_ordinary_failure() {
        let suspect = delivery(names::EVENTS, &[("x-delivery-count", AMQPValue::LongLongInt(3))]);
        let put_back = settle().again(&suspect);
        let headers = put_back.properties.headers().clone().expect("it has headers");
        assert_eq!(headers.inner().get(ALONE), Some(&AMQPValue::LongUInt(0)));
        let marked = delivery(names::RETURN, &[(ALONE, AMQPValue::LongUInt(0))]);
        let (settle, failure) = (settle(), Failure::retry("busy"));
        let copy = settle.copy(&marked, "x".to_owned(), 2, &settle.failed(&marked, 1, &failure, None));
        assert_eq!(copy.properties.headers().as_ref().and_then(|table| table.inner().get(ALONE)), None);
    }

    #[tokio::test]
    async fn message_put_back_keeps_its_attempt_and_restarts_its_count_of_returns() {
        for (exchange, header, attempt_now) in [(names::RETURN, 3, 3), ("", 7, 1)] {
            // RabbitMQ 4.3 sends both; older versions only the first.
            let counts = ["x-delivery-count", "x-acquired-count"].map(|name| (name, AMQPValue::LongLongInt(2)));
            let attempt_header = [(ATTEMPT, AMQPValue::LongUInt(header))];
            let delivery = delivery(exchange, &[&counts[..], &attempt_header].concat());
            assert_eq!(attempt(&delivery), attempt_now);
            let copy = settle().again(&delivery);
            let headers = copy.properties.headers().clone().expect("it has headers");
            assert_eq!(headers.inner().get(ATTEMPT), Some(&AMQPValue::LongUInt(attempt_now)));
            assert_eq!(headers.inner().len(), 1, "{headers:?}");
            assert_eq!((copy.exchange.as_str(), copy.routing_key.as_str()), (names::RETURN, "payment.order-created"));
        }
    }
}
