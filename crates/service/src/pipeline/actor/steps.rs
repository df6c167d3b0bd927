//! The steps of the pipeline: prepare, act, record. Each starts what it can, and sorts the outcome.

use std::sync::Arc;

use actix::Context;
use chrono::Utc;
use lapin::message::Delivery;
use tracing::Instrument as _;
use uuid::Uuid;

use super::QueueActor;
use crate::{
    fault::{self, Safeguard},
    handler::{Done, Handler},
    pipeline::{
        acting::{Acted, Mode, ProbeBudget, act},
        event_metadata::{EventMetadata, is_sent_again, log_span},
        prepare::prepare,
        queue_context::{Recordable, Verdict},
        record::{Committed, record},
    },
};

/// How many calls of `act` may run concurrently for a handler without a provider guard.
const AT_ONCE: usize = 64;

/// How many batches are recorded concurrently when a batch is a single event: the default concurrency of the frameworks
/// in our benchmark.
const UNBATCHED_TRANSACTIONS: usize = 16;

/// The `RUST_LOG` target of lines about single events (docs/LOGGING.md). A fixed name survives moving the module.
const EACH_EVENT: &str = "orderflow_worker";

impl<H: Handler> QueueActor<H> {
    pub(super) fn start_preparing(&mut self, context: &mut Context<Self>) {
        if self.preparing || self.arrived.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.arrived);
        if let Some(effect) = H::no_external_effect() {
            self.acted.extend(batch.into_iter().map(|event| Recordable::Received(event, effect)));
            return;
        }
        self.preparing = true;
        let queue = Arc::clone(&self.work.queue);
        self.run(context, async move { prepare(&queue, batch).await }, |actor, prepared, context| {
            actor.preparing = false;
            let mut ready = Vec::new();
            actor.sort(context, prepared, |_, _, passed| ready.push(passed));
            if ready.is_empty() {
                actor.probe = None;
            }
            actor.ready.extend(ready);
        });
    }

    pub(super) fn start_acting(&mut self, context: &mut Context<Self>) {
        if self.draining {
            let ready = self.ready.drain(..).map(|(event, _)| event.id);
            let unsettled = self.deliveries.forget(ready);
            self.leave_unacked(context, unsettled);
        }
        let at_once = self.work.queue.handler.guard().map_or(AT_ONCE, |guard| guard.concurrency());
        while self.acting < at_once {
            let Some((event, input)) = self.ready.pop_front() else { return };
            self.acting += 1;
            let delivery = self.deliveries.get(event.id).map(|(delivery, _)| delivery);
            let span = log_span(&self.work.queue.settle.queue, delivery, Some(&EventMetadata::from(&*event)));
            let probing = (self.work.mode == Mode::HalfOpen).then(|| *self.probe.get_or_insert_with(ProbeBudget::now));
            let acting =
                act(Arc::clone(&self.work.queue), Arc::clone(&event), input, probing, self.interrupted.clone());
            self.run(context, acting.instrument(span), move |actor, acted, context| {
                actor.acting -= 1;
                if !matches!(acted, Acted::ProviderUnavailable) {
                    actor.probe = None;
                }
                match acted {
                    Acted::Done(effect) => actor.acted.push(Recordable::Acted(Arc::new(Done { event, effect }))),
                    Acted::Failed(failure) => actor.fail(context, event.id, failure),
                    Acted::ProviderUnavailable => actor.keep_or_leave(context, event.id),
                }
            });
        }
    }

    /// The provider is unavailable. A probing message is prepared again, since its state may have changed meanwhile,
    /// and then retried. Any other message stays with the broker.
    fn keep_or_leave(&mut self, context: &mut Context<Self>, event: Uuid) {
        let probing = self.work.mode == Mode::HalfOpen && !self.draining;
        if probing {
            self.probe = self.probe.and_then(ProbeBudget::tried_again);
            if self.probe.is_some() {
                self.arrived.extend(self.deliveries.get(event).map(|(_, received)| Arc::clone(received)));
                return;
            }
        }
        let unsettled = self.deliveries.forget([event]);
        if probing {
            self.republish_copy(context, unsettled);
        } else {
            self.leave_unacked(context, unsettled);
            // The delivery is neither settled nor in hand any longer. Only a new channel delivers it again, so this
            // channel must end.
            self.begin_drain(context);
        }
    }

    pub(super) fn start_recording(&mut self, context: &mut Context<Self>) {
        // More than one batch at a time would only contend for locks, unless a batch is a single event.
        let at_once = (UNBATCHED_TRANSACTIONS / self.work.batch_size).max(1);
        while self.recording < at_once && !self.acted.is_empty() {
            let rest = self.acted.split_off(self.acted.len().min(self.work.batch_size));
            let batch = std::mem::replace(&mut self.acted, rest);
            self.recording += 1;
            let queue = Arc::clone(&self.work.queue);
            let too_soon = self.acknowledged_too_soon(&batch);
            let recording = async move {
                if let Some(deliveries) = too_soon {
                    queue.settle.acknowledge(&deliveries).await;
                }
                record(&queue, batch).await
            };
            self.run(context, recording, |actor, verdicts, context| {
                actor.recording -= 1;
                let mut committed = Vec::with_capacity(verdicts.len());
                actor.sort(context, verdicts, |actor, event, transaction| {
                    actor.measure(event, transaction);
                    committed.push(event);
                });
                // Acknowledge after the commit without waiting for the publisher confirm: the outbox is durable.
                actor.acknowledge(context, committed);
            });
        }
    }

    /// Returns the deliveries of a batch to acknowledge before its commit, if a fault test has disabled that safeguard.
    /// The fault runs must detect it. Their tags stay in [`Unsettled`](crate::pipeline::unsettled::Unsettled), so such a
    /// worker acknowledges one by one from then on.
    fn acknowledged_too_soon(&mut self, batch: &[Recordable<H>]) -> Option<Vec<Delivery>> {
        let events: Vec<_> = batch.iter().map(Recordable::id).collect();
        fault::without(Safeguard::AckAfterCommit).then(|| self.deliveries.settling(&events))
    }

    /// Passes on the events that passed a step, and settles the rest.
    fn sort<T>(
        &mut self,
        context: &mut Context<Self>,
        verdicts: impl IntoIterator<Item = (Uuid, Verdict<T>)>,
        mut passed: impl FnMut(&mut Self, Uuid, T),
    ) {
        let (mut applied, mut unavailable) = (Vec::new(), Vec::new());
        for (event, verdict) in verdicts {
            match verdict {
                Verdict::Passed(outcome) => passed(self, event, outcome),
                Verdict::Applied => applied.push(event),
                Verdict::Failed(failure) => self.fail(context, event, failure),
                Verdict::Unavailable => unavailable.push(event),
            }
        }
        self.acknowledge_repeated(context, applied);
        self.wait_for_database(context, unavailable);
    }

    /// Measures a committed event and logs it at debug level. Step times exclude replayed and republished events, which
    /// would add the time that they waited in a dead-letter queue or were missing.
    fn measure(&self, event: Uuid, transaction: Committed) {
        let Some((delivery, event)) = self.deliveries.get(event) else { return };
        let settle = &self.work.queue.settle;
        if !is_sent_again(delivery) {
            // Negative if clocks differ.
            settle.metrics.step((Utc::now() - event.time()).to_std().unwrap_or_default());
        }
        if tracing::enabled!(target: EACH_EVENT, tracing::Level::DEBUG) {
            let Committed { events, follow } = transaction;
            log_span(&settle.queue, Some(delivery), Some(&event.metadata())).in_scope(|| {
                tracing::debug!(target: EACH_EVENT, { batch.events = events, batch.follow = follow }, "an event is applied");
            });
        }
    }
}
