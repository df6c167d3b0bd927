//! The one generic actor: a bounded pipeline behind one queue.
//!
//! deliveries → decode → prepare → act, many at once → **whatever has finished is recorded together** → acknowledge
//!
//! It never waits for a batch to fill: while one batch is being recorded, the next one gathers. A slow `act` holds back
//! nobody but itself. Everything that waits or runs here is a delivery in hand, and the prefetch count bounds those.
//!
//! The actor itself only keeps count; the work runs on the process's multi-threaded runtime, so that a connection's or
//! a transaction's life never depends on an actor's, and a panic in a handler is an error and not the actor's end.

use std::{
    collections::{HashSet, VecDeque},
    future::Future,
    sync::Arc,
};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, StreamHandler, WrapFuture as _,
};
use lapin::message::Delivery;
use orderflow::{events::Envelope, telemetry};
use tokio::{runtime::Handle, sync::oneshot};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    handler::{Done, Failure, Handler},
    prepare::{Arrived, Ready, prepare},
    record::{Finished, Recorder},
};

/// Batches at once where a batch is one event: as many as the other frameworks we compare with run by default.
const UNBATCHED_TRANSACTIONS: usize = 16;

/// Why an actor ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to, and everything begun is settled.
    Drained,
    /// Its deliveries stopped coming: the connection broke or the broker cancelled the consumer.
    Lost(String),
}

/// What an actor needs besides its deliveries.
pub struct Work<H> {
    /// Records and settles.
    pub recorder: Arc<Recorder<H>>,
    /// Where the work runs.
    pub runtime: Handle,
    /// The most events in one transaction.
    pub batch_size: usize,
}

/// Handles the deliveries of one queue until they end or it is told to stop.
pub struct QueueActor<H: Handler> {
    work: Work<H>,
    in_hand: HashSet<Uuid>,
    /// Further deliveries of events that are in hand.
    repeated: Vec<Arrived<H>>,
    arrived: Vec<Arrived<H>>,
    preparing: bool,
    ready: VecDeque<Ready<H>>,
    acting: usize,
    finished: Vec<Finished<H>>,
    recording: usize,
    settling: usize,
    draining: bool,
    ended: Option<oneshot::Sender<Ended>>,
}

impl<H: Handler> QueueActor<H> {
    /// An actor with nothing in hand. `ended` is told why it ends; that it is dropped untold means a panic.
    #[must_use]
    pub fn new(work: Work<H>, ended: oneshot::Sender<Ended>) -> Self {
        Self {
            work,
            in_hand: HashSet::new(),
            repeated: Vec::new(),
            arrived: Vec::new(),
            preparing: false,
            ready: VecDeque::new(),
            acting: 0,
            finished: Vec::new(),
            recording: 0,
            settling: 0,
            draining: false,
            ended: Some(ended),
        }
    }

    /// Takes every step that can be taken now. Called after whatever changed something.
    fn pump(&mut self, context: &mut Context<Self>) {
        self.start_preparing(context);
        self.start_acting(context);
        self.start_recording(context);
        let idle = !self.preparing && self.acting == 0 && self.recording == 0 && self.settling == 0;
        if self.draining && idle && self.finished.is_empty() {
            self.end(context, Ended::Drained);
        }
    }

    fn start_preparing(&mut self, context: &mut Context<Self>) {
        if self.preparing || self.arrived.is_empty() {
            return;
        }
        let batch = std::mem::take(&mut self.arrived);
        if H::without_reaching_outside().is_some() {
            self.finished.extend(batch.into_iter().filter_map(|arrived| {
                let effect = H::without_reaching_outside()?;
                Some(Finished { delivery: arrived.delivery, done: Done { event: arrived.event, effect } })
            }));
            return;
        }
        self.preparing = true;
        let recorder = Arc::clone(&self.work.recorder);
        let ids: Vec<Uuid> = batch.iter().map(|arrived| arrived.event.id).collect();
        self.run(context, async move { prepare(&recorder, batch).await }, move |actor, ready| {
            actor.preparing = false;
            let still: HashSet<Uuid> = ready.iter().map(|ready| ready.event.id).collect();
            actor.ready.extend(ready);
            let settled: Vec<Uuid> = ids.into_iter().filter(|id| !still.contains(id)).collect();
            actor.let_go(&settled);
        });
    }

    fn start_acting(&mut self, context: &mut Context<Self>) {
        while self.acting < H::AT_ONCE {
            let Some(Ready { delivery, event, input }) = self.ready.pop_front() else { return };
            self.acting += 1;
            let recorder = Arc::clone(&self.work.recorder);
            let id = event.id;
            let span = tracing::info_span!(
                "act", queue = %H::SUBSCRIPTION, order.id = %event.order_id, event.id = %event.id,
                correlation.id = %event.correlation_id
            );
            let acting = async move {
                let event = Arc::new(event);
                // A task of its own, so that a panic costs this event an attempt and nothing else.
                let (handler, its_event) = (Arc::clone(&recorder.handler), Arc::clone(&event));
                let outcome = tokio::spawn(async move { handler.act(&its_event, input).await }.in_current_span()).await;
                let outcome = outcome.unwrap_or_else(|_| Err(Failure::retry("the handler panicked while it acted")));
                match (outcome, Arc::try_unwrap(event)) {
                    (Ok(effect), Ok(event)) => Some(Finished { delivery, done: Done { event, effect } }),
                    (Err(failure), _) => {
                        recorder.settle.fail(&delivery, &failure).await;
                        None
                    }
                    // The task has ended, so nobody else holds the event.
                    (Ok(_), Err(_)) => {
                        recorder.settle.give_back(&delivery).await;
                        None
                    }
                }
            };
            self.run(context, acting.instrument(span), move |actor, finished| {
                actor.acting -= 1;
                if finished.is_none() {
                    actor.let_go(&[id]);
                }
                actor.finished.extend(finished);
            });
        }
    }

    fn start_recording(&mut self, context: &mut Context<Self>) {
        // More than one batch at a time would only fight over locks, unless a batch is a single event.
        let at_once = (UNBATCHED_TRANSACTIONS / self.work.batch_size).max(1);
        while self.recording < at_once && !self.finished.is_empty() {
            let rest = self.finished.split_off(self.finished.len().min(self.work.batch_size));
            let batch = std::mem::replace(&mut self.finished, rest);
            self.recording += 1;
            let recorder = Arc::clone(&self.work.recorder);
            let ids: Vec<Uuid> = batch.iter().map(|finished| finished.done.event.id).collect();
            self.run(context, async move { recorder.record(batch).await }, move |actor, ()| {
                actor.recording -= 1;
                actor.let_go(&ids);
            });
        }
    }

    /// Forgets events whose deliveries are settled, and takes the next delivery of each in hand, where there is one.
    fn let_go(&mut self, events: &[Uuid]) {
        for event in events {
            self.in_hand.remove(event);
        }
        for arrived in std::mem::take(&mut self.repeated) {
            self.take(arrived);
        }
    }

    /// Takes a delivery in hand. One whose event is in hand already waits until that one is settled. It is not simply
    /// acknowledged: it may be the copy that a failed delivery left in a retry tier, come back while the rest of its
    /// batch is still being recorded.
    fn take(&mut self, arrived: Arrived<H>) {
        if self.in_hand.insert(arrived.event.id) {
            self.arrived.push(arrived);
        } else {
            self.repeated.push(arrived);
        }
    }

    /// Settles a delivery that cannot be handled at all.
    fn start_rejecting(&mut self, context: &mut Context<Self>, delivery: Delivery, why: String) {
        self.settling += 1;
        let recorder = Arc::clone(&self.work.recorder);
        let rejecting = async move { recorder.settle.fail(&delivery, &Failure::reject(why)).await };
        self.run(context, rejecting, |actor, ()| actor.settling -= 1);
    }

    /// Runs `work` on the process's runtime and then `after` here, followed by whatever has become possible.
    fn run<F, R>(&self, context: &mut Context<Self>, work: F, after: R)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        R: FnOnce(&mut Self, F::Output) + 'static,
    {
        let task = self.work.runtime.spawn(work);
        let then = task.into_actor(self).map(|outcome, actor, context| match outcome {
            Ok(output) => {
                after(actor, output);
                actor.pump(context);
            }
            // Handlers run in tasks of their own, so this is a fault of this pipeline. The deliveries concerned are
            // unsettled: a new channel gets them again.
            Err(error) => actor.end(context, Ended::Lost(error.to_string())),
        });
        context.spawn(then);
    }

    fn end(&mut self, context: &mut Context<Self>, ended: Ended) {
        if let Some(told) = self.ended.take() {
            // The shell may itself be gone at the end of the process.
            let _ = told.send(ended);
        }
        context.stop();
    }
}

/// Nothing here is ever pinned; without this line every event and effect would have to say so of itself.
impl<H: Handler> Unpin for QueueActor<H> {}

impl<H: Handler> Actor for QueueActor<H> {
    type Context = Context<Self>;
}

/// A delivery, or the end of them.
impl<H: Handler> StreamHandler<lapin::Result<Delivery>> for QueueActor<H> {
    fn handle(&mut self, delivery: lapin::Result<Delivery>, context: &mut Self::Context) {
        match delivery {
            // What comes while the actor drains goes back to the broker with the channel.
            Ok(_) if self.draining => {}
            Ok(delivery) => {
                match Envelope::decode(&delivery.data) {
                    Ok(event) => self.take(Arrived { delivery, event }),
                    Err(error) => self.start_rejecting(context, delivery, telemetry::chain(&error)),
                }
                self.pump(context);
            }
            Err(error) => self.end(context, Ended::Lost(telemetry::chain(&error))),
        }
    }

    /// The deliveries have ended. The default would stop the actor, and with it what is in hand, even in a drain.
    fn finished(&mut self, context: &mut Self::Context) {
        if !self.draining {
            self.end(context, Ended::Lost("RabbitMQ cancelled the consumer".to_owned()));
        }
    }
}

/// Asks an actor to finish what it has begun and to end.
#[derive(Debug, Clone, Copy)]
pub struct Drain;

impl actix::Message for Drain {
    type Result = ();
}

impl<H: Handler> actix::Handler<Drain> for QueueActor<H> {
    type Result = ();

    fn handle(&mut self, _: Drain, context: &mut Self::Context) {
        self.draining = true;
        // What is not begun goes back to the broker with the channel, and so to another worker at once.
        self.arrived.clear();
        self.repeated.clear();
        self.ready.clear();
        self.pump(context);
    }
}
