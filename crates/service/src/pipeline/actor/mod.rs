//! The generic actor: a bounded pipeline behind one queue.
//!
//! deliveries → decode → prepare → act, many concurrently → **record together whatever has finished** → acknowledge
//!
//! It never waits for a batch to fill: while one batch is recorded, the next one gathers. A slow `act` delays only its
//! own event. Everything that waits or runs here is a delivery in hand, and the prefetch count bounds those.
//!
//! The actor itself only keeps count. The work runs on the process's multi-threaded runtime, so no connection or
//! transaction depends on the life of an actor. A panic in a handler becomes an error and does not end the actor.

mod settling;
mod steps;

use std::{collections::VecDeque, future::Future, sync::Arc};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, StreamHandler, WrapFuture as _,
};
use lapin::message::Delivery;
use orderflow_events::{DecodeError, EventData as _};
use tokio::{runtime::Handle, sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    failure::Failure,
    handler::Handler,
    pipeline::{
        acting::{Mode, ProbeBudget},
        deliveries::Deliveries,
        isolation::{self, Handling, LINGER},
        queue_context::{Event, QueueContext, Recordable},
        received::Received,
        unsettled::Unsettled,
    },
    telemetry,
};

/// Why an actor ended.
#[derive(Debug)]
pub enum Ended {
    /// It received [`Drain`], or the provider or the database became unavailable. All work begun is settled or left to
    /// the broker.
    Drained,
    /// Its deliveries stopped: the connection broke or the broker cancelled the consumer.
    Lost(String),
}

/// What an actor needs in addition to its deliveries.
pub struct Work<H> {
    /// The context of every step of the pipeline.
    pub queue: Arc<QueueContext<H>>,
    /// The runtime that the work runs on.
    pub runtime: Handle,
    /// The most events in one transaction.
    pub batch_size: usize,
    /// The mode in which the queue is worked.
    pub mode: Mode,
    /// Cancelled by the actor when its mode must change. Its supervisor then stops deliveries.
    pub enough: CancellationToken,
}

/// Handles the deliveries of one queue until they end or [`Drain`] arrives.
pub struct QueueActor<H: Handler> {
    work: Work<H>,
    deliveries: Deliveries,
    unsettled: Unsettled,
    arrived: Vec<Arc<Received>>,
    preparing: bool,
    ready: VecDeque<(Event<H>, H::Input)>,
    acting: usize,
    acted: Vec<Recordable<H>>,
    recording: usize,
    settling: usize,
    draining: bool,
    /// The deliveries have ended at the actor's own request; it still finishes what is in hand.
    over: bool,
    /// Messages to put back once the deliveries have ended. Earlier, they would be delivered to this actor again.
    aside: Option<Vec<Delivery>>,
    /// When the last suspect arrived, in mode [`Mode::Alone`].
    suspected: Instant,
    /// Cancelled as soon as the actor starts to drain.
    interrupted: CancellationToken,
    /// While probing: what is left for the current message.
    probe: Option<ProbeBudget>,
    ended: Option<oneshot::Sender<Ended>>,
}

impl<H: Handler> QueueActor<H> {
    /// Returns an actor with nothing in hand. `ended` receives the reason for its end; a sender dropped unused means a
    /// panic.
    #[must_use]
    pub fn new(work: Work<H>, ended: oneshot::Sender<Ended>) -> Self {
        let settle = &work.queue.settle;
        Self {
            deliveries: Deliveries::new(settle.queue.clone(), settle.metrics.clone()),
            work,
            unsettled: Unsettled::default(),
            arrived: Vec::new(),
            preparing: false,
            ready: VecDeque::new(),
            acting: 0,
            acted: Vec::new(),
            recording: 0,
            settling: 0,
            draining: false,
            over: false,
            aside: None,
            suspected: Instant::now(),
            interrupted: CancellationToken::new(),
            probe: None,
            ended: Some(ended),
        }
    }

    /// Starts every step that can start now. Call it after each change of state.
    fn pump(&mut self, context: &mut Context<Self>) {
        // Checked here as well as by the supervisor, so that nothing new begins once a call has found the provider
        // unavailable.
        if self.work.mode != Mode::HalfOpen
            && Mode::of(&*self.work.queue.handler, &self.work.queue.pause) == Mode::HalfOpen
        {
            self.begin_drain(context);
        }
        self.start_preparing(context);
        self.start_acting(context);
        self.start_recording(context);
        let idle = !self.preparing && self.acting == 0 && self.recording == 0 && self.settling == 0;
        let ending = self.draining || (self.over && self.deliveries.is_empty());
        if ending && idle && self.acted.is_empty() && self.aside.is_none() {
            self.end(context, Ended::Drained);
        }
    }

    /// Takes a delivery in hand, or settles it if it cannot or must not be handled.
    fn receive(&mut self, context: &mut Context<Self>, delivery: Delivery) {
        self.work.queue.settle.metrics.delivered();
        match Handling::of(&delivery, self.work.mode != Mode::Working) {
            Handling::Usual => {
                // No suspect has arrived for a while: return to the full prefetch.
                if self.work.mode == Mode::Alone && self.suspected.elapsed() > LINGER {
                    self.work.enough.cancel();
                }
            }
            Handling::Alone => self.suspected = Instant::now(),
            Handling::SetAside => return self.set_aside(context, delivery),
            Handling::GiveUp(ends) => {
                self.suspected = Instant::now();
                return self.start_rejecting(context, delivery, Failure::reject(isolation::reason(ends)));
            }
        }
        match Received::decode(H::Event::EVENT, &delivery.data) {
            Ok(event) => self.arrived.extend(self.deliveries.take(delivery, event)),
            Err(error @ DecodeError::WrongType { .. }) => {
                self.start_rejecting(context, delivery, Failure::Misdirected { why: telemetry::chain(&error) });
            }
            Err(error) => self.start_rejecting(context, delivery, Failure::reject(telemetry::chain(&error))),
        }
    }

    /// Runs `work` on the process's runtime, then `after` on the actor, then every step that has become possible.
    fn run<F, R>(&self, context: &mut Context<Self>, work: F, after: R)
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
        R: FnOnce(&mut Self, F::Output, &mut Context<Self>) + 'static,
    {
        let task = self.work.runtime.spawn(work);
        let then = task.into_actor(self).map(|outcome, actor, context| match outcome {
            Ok(output) => {
                after(actor, output, context);
                actor.pump(context);
            }
            // Handlers run in their own tasks, so this is a bug in the pipeline. The deliveries concerned are
            // unsettled: a new channel receives them again.
            Err(error) => actor.end(context, Ended::Lost(error.to_string())),
        });
        context.spawn(then);
    }

    fn end(&mut self, context: &mut Context<Self>, ended: Ended) {
        if let Some(sender) = self.ended.take() {
            // The supervisor may already have ended at shutdown.
            let _ = sender.send(ended);
        }
        context.stop();
    }
}

/// Nothing here is ever pinned. Without this line every event and effect type would need its own `Unpin` bound.
impl<H: Handler> Unpin for QueueActor<H> {}

impl<H: Handler> Actor for QueueActor<H> {
    type Context = Context<Self>;

    /// Also leaves [`Mode::Alone`] when the queue is empty: other queues may be waiting for their turn.
    fn started(&mut self, context: &mut Self::Context) {
        if self.work.mode == Mode::Alone {
            context.run_interval(LINGER, |actor, _| {
                if actor.suspected.elapsed() > LINGER && actor.deliveries.is_empty() {
                    actor.work.enough.cancel();
                }
            });
        }
    }
}

/// Handles each delivery, and the end of the stream.
impl<H: Handler> StreamHandler<lapin::Result<Delivery>> for QueueActor<H> {
    fn handle(&mut self, delivery: lapin::Result<Delivery>, context: &mut Self::Context) {
        if let Ok(delivery) = &delivery {
            self.unsettled.arrived(delivery);
        }
        match delivery {
            // Deliveries that arrive during a drain return to the broker with the channel.
            Ok(delivery) if self.draining => self.leave_unacked(context, vec![delivery]),
            Ok(delivery) => {
                self.receive(context, delivery);
                self.pump(context);
            }
            Err(error) => self.end(context, Ended::Lost(telemetry::chain(&error))),
        }
    }

    /// The deliveries have ended. The default implementation would stop the actor and lose what is in hand, even during
    /// a drain.
    fn finished(&mut self, context: &mut Self::Context) {
        if let Some(aside) = self.aside.take() {
            self.republish_copy(context, aside);
        } else if self.work.enough.is_cancelled() {
            self.over = true;
        } else if !self.draining {
            return self.end(context, Ended::Lost("RabbitMQ cancelled the consumer".to_owned()));
        }
        self.pump(context);
    }
}

/// Asks an actor to finish the work that it has begun, then to end.
#[derive(Debug, Clone, Copy)]
pub struct Drain;

impl actix::Message for Drain {
    type Result = ();
}

impl<H: Handler> actix::Handler<Drain> for QueueActor<H> {
    type Result = ();

    fn handle(&mut self, _: Drain, context: &mut Self::Context) {
        self.begin_drain(context);
        self.pump(context);
    }
}
