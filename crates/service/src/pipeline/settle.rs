//! The one place that settles deliveries: acknowledged when their work is committed, put into a retry tier, or
//! dead-lettered. Each delivery is settled once, and none before its work or its copy is safe.

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
    Backoff,
    broker::{
        Message, Publisher,
        headers::{self, ALONE, ATTEMPT, FAILED_AT, QUEUE, REASON, WORKER},
        names,
    },
    config::RetryDelays,
    failure::Failure,
    fault::{self, CrashPoint},
    metrics::{self, Outcome, QueueMetrics, WhyDead},
    pipeline::{
        event_metadata::{EventMetadata, attempt, event_id, log_span},
        failure_log::FailureLog,
        isolation,
    },
    process_identity,
    store::failures::FailedAttempt,
    trace::{Kind, Span},
};

/// A reason is read in a table of the management UI: longer ones are cut, in characters.
const LONGEST_REASON: usize = 500;

/// How long a failed delivery's copy is tried to be published before the delivery goes back to its queue instead.
///
/// Giving back counts, so this is minutes: a broker that accepts nothing for an hour must not drive messages to the queue's
/// delivery limit (50). With a call's own five minutes and twenty of waiting for a provider it stays below the 30 minutes
/// after which RabbitMQ closes the channel that holds a message.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(4 * 60);

/// Settles the deliveries of one queue.
#[derive(Debug, Clone)]
pub struct Settle {
    /// The work queue.
    pub queue: String,
    publisher: Publisher,
    retry_delays: RetryDelays,
    failures: FailureLog,
    /// What is counted of the queue.
    pub metrics: QueueMetrics,
}

impl Settle {
    /// For this queue.
    #[must_use]
    pub fn new(queue: String, publisher: Publisher, retry_delays: RetryDelays, failures: FailureLog) -> Self {
        let metrics = metrics::of_queue(&queue);
        Self { queue, publisher, retry_delays, failures, metrics }
    }

    /// Acknowledges deliveries whose work is committed.
    ///
    /// One that cannot be acknowledged any more (its channel is gone) comes again, and the inbox recognises it.
    pub async fn acknowledge(&self, deliveries: &[Delivery]) {
        fault::crash_here(CrashPoint::BeforeAck);
        let outcomes = join_all(deliveries.iter().map(|one| one.acker.ack(BasicAckOptions::default()))).await;
        fault::crash_here(CrashPoint::AfterAck);
        let lost = outcomes.iter().filter(|outcome| !matches!(outcome, Ok(true))).count();
        if lost > 0 {
            tracing::debug!(
                queue = self.queue,
                deliveries = lost,
                "the channel is gone; these deliveries will come again"
            );
        }
    }

    /// Puts a delivery at the end of its queue, as a copy of the same attempt whose count of returns starts anew. What came
    /// back often is marked, to be handled alone.
    pub async fn republish_copy(&self, delivery: &Delivery) {
        if self.replace(delivery, self.again(delivery)).await {
            self.metrics.settled(Outcome::PutBack, 1);
        }
    }

    /// Puts a failed delivery into its next retry tier, or dead-letters it where none is left or none would help. `cause` is
    /// the trace context of the step that failed.
    pub async fn fail(&self, delivery: &Delivery, failure: &Failure, cause: Option<&str>) {
        let attempt = attempt(delivery);
        let delay = self.delay(attempt, failure);
        let (exchange, next_attempt) = match delay {
            Some(delay) => (names::retry(delay), attempt.saturating_add(1)),
            None => (names::DEAD_LETTERS.to_owned(), attempt),
        };
        let head = EventMetadata::of(delivery);
        let failed = self.failed(delivery, attempt, failure, delay);
        let mut step = self.settling(head.as_ref(), cause);
        step.attempt(attempt);
        let copy = self.copy(delivery, exchange, next_attempt, &failed);
        // Only what is safe is said to be where it is to go: a broker that takes nothing gets this message back.
        let is_safe = self.replace(delivery, copy).await;
        let line = log_span(&self.queue, Some(delivery), head.as_ref());
        if !is_safe {
            line.in_scope(
                || tracing::warn!(reason = %failure, "a failed event could not be moved on; it is back in its queue"),
            );
            step.put_back();
            return;
        }
        line.in_scope(|| log(failure, delay));
        step.attempt_failed(&failed.reason, delay);
        match delay {
            Some(delay) => self.metrics.retried(delay),
            None => self.metrics.dead_lettered(why_dead(failure)),
        }
        // Last, since all this works with the database away too.
        self.failures.record(failed);
    }

    /// A delivery's settlement as a step of its order's trace.
    fn settling(&self, head: Option<&EventMetadata>, cause: Option<&str>) -> Span {
        let cause = cause.or_else(|| head?.traceparent.as_deref());
        let mut step = Span::after(Kind::Client, format!("settle {}", self.queue), cause);
        if let Some(head) = head {
            step.message(head.about("settle", &self.queue));
        }
        step
    }

    /// Acknowledges a delivery once its copy is safe with the broker, and gives it back where the copy is not. Whether
    /// the copy is safe.
    async fn replace(&self, delivery: &Delivery, copy: Message) -> bool {
        let safe = self.publish(delivery, copy).await;
        if safe {
            self.acknowledge(std::slice::from_ref(delivery)).await;
        } else {
            self.requeue(delivery).await;
        }
        safe
    }

    /// Returns a delivery to its queue untouched, for another worker.
    ///
    /// Uses `basic.reject`, which every version of RabbitMQ counts. From 4.3 on a `basic.nack` does not count: a message whose
    /// copy can never be published would come back for ever.
    pub async fn requeue(&self, delivery: &Delivery) {
        self.metrics.settled(Outcome::PutBack, 1);
        // Where even this fails the channel is gone, and with it the broker gives the message back by itself.
        drop(delivery.acker.reject(BasicRejectOptions { requeue: true }).await);
    }

    /// How long to wait for the next attempt; `None` where there is none.
    fn delay(&self, attempt: u32, failure: &Failure) -> Option<Duration> {
        match failure {
            Failure::Reject { .. } | Failure::Misdirected { .. } => None,
            Failure::NotInLog { .. } if attempt > 1 => None,
            Failure::NotInLog { .. } => self.retry_delays.after_attempt(1),
            Failure::Retry { after, .. } | Failure::ProviderUnavailable { after, .. } => {
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
        isolation::mark(delivery, &mut headers);
        self.message(delivery, names::RETURN.to_owned(), headers)
    }

    fn failed(&self, delivery: &Delivery, attempt: u32, failure: &Failure, delay: Option<Duration>) -> FailedAttempt {
        // As exact as it is written in the header, so that message and record can be told to belong together.
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

fn why_dead(failure: &Failure) -> WhyDead {
    match failure {
        Failure::Reject { .. } | Failure::Misdirected { .. } => WhyDead::Rejected,
        Failure::NotInLog { .. } => WhyDead::NotInLog,
        Failure::Retry { .. } | Failure::ProviderUnavailable { .. } => WhyDead::Exhausted,
    }
}

/// One line for each failure, with its whole cause.
fn log(failure: &Failure, delay: Option<Duration>) {
    match delay {
        Some(delay) => {
            tracing::warn!(reason = %failure, again_in = ?delay, "an event could not be handled; it is tried again");
        }
        None => tracing::error!(reason = %failure, "an event could not be handled; it is in the dead-letter queue"),
    }
}

/// The delivery's headers without what the broker added, and without the mark: an ordinary failure clears a suspect.
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
        let delays = "1s,10s,1m".parse().expect("a list");
        Settle::new("payment.order-created".to_owned(), publisher, delays, FailureLog::start(database))
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
        assert_eq!(
            attempt(&delivery(names::RETURN, &[(ATTEMPT, AMQPValue::LongUInt(0))])),
            1,
            "there is always a next one"
        );
        assert_eq!(attempt(&delivery("", &header)), 1, "moved back by hand");
        assert_eq!(attempt(&delivery(names::EVENTS, &[])), 1);
        assert!(!is_sent_again(&delivery(names::RETURN, &header)));
        assert!(is_sent_again(&delivery(names::RETURN, &[(ATTEMPT, AMQPValue::LongUInt(1))])));
        assert!(!is_sent_again(&delivery(names::EVENTS, &[])));
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
        let (settle, delivery) = (settle(), delivery(names::RETURN, &[death, other]));
        let failed = settle.failed(&delivery, 1, &Failure::retry("é".repeat(900)), None);
        let copy = settle.copy(&delivery, "x".to_owned(), 2, &failed);
        let headers = copy.properties.headers().clone().expect("it has headers");
        let names: Vec<_> = headers.inner().keys().map(|name| name.as_str().to_owned()).collect();
        assert_eq!(names, ["x-orderflow-attempt", FAILED_AT, QUEUE, REASON, WORKER, "x-shop"]);
        assert_eq!(headers.inner().get(REASON), Some(&AMQPValue::LongString("é".repeat(LONGEST_REASON).into())));
    }

    #[tokio::test]
    async fn a_suspect_is_marked_when_it_is_put_back_and_no_longer_once_it_fails_like_any_other() {
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
    async fn what_is_put_back_is_the_same_attempt_with_a_new_count_of_returns() {
        for (exchange, header, attempt_now) in [(names::RETURN, 3, 3), ("", 7, 1)] {
            // As RabbitMQ 4.3 has them; older ones know the first only.
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
