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
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    future::Future,
    sync::Arc,
};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, StreamHandler, WrapFuture as _,
};
use chrono::Utc;
use futures::future::join_all;
use lapin::message::Delivery;
use orderflow_events::Envelope;
use tokio::{runtime::Handle, sync::oneshot, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    broker::names,
    failure::Failure,
    handler::{Done, Handler},
    metrics::{InHand, QueueMetrics},
    pipeline::{
        acting::{Acted, Held, Mode, act},
        head::{Head, attempt, log_span},
        isolation::{self, Handling, LINGER},
        prepare::{Arrived, Ready, prepare},
        record::{Finished, Recorder},
    },
    telemetry,
    trace::{Kind, Step},
};

/// How many calls of `act` are under way at once where no line to a provider says it.
const AT_ONCE: usize = 64;

/// Batches at once where a batch is one event: as many as the other frameworks we compare with run by default.
const UNBATCHED_TRANSACTIONS: usize = 16;

/// Why an actor ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to, or its provider or the database became unavailable, and everything begun is settled or left to the
    /// broker.
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
    /// How the queue is worked.
    pub mode: Mode,
    /// Cancelled by the actor when it is to be worked in another mode: no more deliveries then.
    pub enough: CancellationToken,
}

/// An event in hand.
struct Taken<H: Handler> {
    /// Further deliveries of it that came meanwhile.
    others: Vec<Arrived<H>>,
    /// Measures how long.
    counted: InHand,
    /// The step of the order's trace that it is.
    step: Step,
}

/// Handles the deliveries of one queue until they end or it is told to stop.
pub struct QueueActor<H: Handler> {
    work: Work<H>,
    in_hand: HashMap<Uuid, Taken<H>>,
    arrived: Vec<Arrived<H>>,
    preparing: bool,
    ready: VecDeque<Ready<H>>,
    acting: usize,
    finished: Vec<Finished<H>>,
    recording: usize,
    settling: usize,
    draining: bool,
    /// The deliveries have ended, as it wanted; what is in hand is finished.
    over: bool,
    /// Messages to put back once the deliveries have ended. Put back sooner, they would be delivered here again.
    aside: Option<Vec<Delivery>>,
    /// When the last suspect came, in mode [`Mode::Alone`].
    suspected: Instant,
    /// Cancelled with the first sign that it is to end.
    interrupted: CancellationToken,
    /// While probing: about the message that it is done with.
    held: Option<Held>,
    ended: Option<oneshot::Sender<Ended>>,
}

impl<H: Handler> QueueActor<H> {
    /// An actor with nothing in hand. `ended` is told why it ends; that it is dropped untold means a panic.
    #[must_use]
    pub fn new(work: Work<H>, ended: oneshot::Sender<Ended>) -> Self {
        Self {
            work,
            in_hand: HashMap::new(),
            arrived: Vec::new(),
            preparing: false,
            ready: VecDeque::new(),
            acting: 0,
            finished: Vec::new(),
            recording: 0,
            settling: 0,
            draining: false,
            over: false,
            aside: None,
            suspected: Instant::now(),
            interrupted: CancellationToken::new(),
            held: None,
            ended: Some(ended),
        }
    }

    /// Takes every step that can be taken now. Called after whatever changed something.
    fn pump(&mut self, context: &mut Context<Self>) {
        // Seen here and not only by the shell: between two calls that find the provider away nothing more is begun.
        if self.work.mode != Mode::Probing
            && Mode::of(&*self.work.recorder.handler, &self.work.recorder.pause) == Mode::Probing
        {
            self.put_down(context);
        }
        self.start_preparing(context);
        self.start_acting(context);
        self.start_recording(context);
        let idle = !self.preparing && self.acting == 0 && self.recording == 0 && self.settling == 0;
        let ending = self.draining || (self.over && self.in_hand.is_empty());
        if ending && idle && self.finished.is_empty() && self.aside.is_none() {
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
        self.run(context, async move { prepare(&recorder, batch).await }, move |actor, (ready, left), context| {
            actor.preparing = false;
            actor.wait_for_database(context, left);
            let going_on: HashSet<Uuid> = ready.iter().map(|ready| ready.event.id).collect();
            if going_on.is_empty() {
                actor.held = None;
            }
            let settled: Vec<Uuid> = ids.into_iter().filter(|id| !going_on.contains(id)).collect();
            actor.let_go(&settled);
            actor.ready.extend(ready);
        });
    }

    fn start_acting(&mut self, context: &mut Context<Self>) {
        if self.draining {
            let ready: Vec<_> = self.ready.drain(..).map(|ready| ready.delivery).collect();
            self.leave(context, ready);
        }
        let at_once = self.work.recorder.handler.line().map_or(AT_ONCE, |line| line.concurrency());
        while self.acting < at_once {
            let Some(ready) = self.ready.pop_front() else { return };
            self.acting += 1;
            let head = Head::from(&ready.event);
            let span = log_span(&self.work.recorder.settle.queue, &ready.delivery, Some(&head));
            let id = head.id;
            let probing = (self.work.mode == Mode::Probing).then(|| *self.held.get_or_insert_with(Held::now));
            let acting = act(Arc::clone(&self.work.recorder), ready, probing, self.interrupted.clone());
            self.run(context, acting.instrument(span), move |actor, acted, context| {
                actor.acting -= 1;
                match acted {
                    Acted::Finished(finished) => {
                        actor.held = None;
                        actor.finished.push(finished);
                    }
                    Acted::Settled => {
                        actor.held = None;
                        actor.let_go(&[id]);
                    }
                    Acted::Away(arrived) => actor.keep_or_leave(context, arrived),
                }
            });
        }
    }

    /// The provider is away. A message to probe with is prepared anew, since much may have happened meanwhile, and tried
    /// again; any other stays with the broker.
    fn keep_or_leave(&mut self, context: &mut Context<Self>, arrived: Arrived<H>) {
        let probing = self.work.mode == Mode::Probing && !self.draining;
        if !probing {
            self.let_go(&[arrived.event.id]);
            self.leave(context, vec![arrived.delivery]);
            // Not settled and not in hand any more: it comes again with the next channel, so this one has to end.
            self.put_down(context);
            return;
        }
        self.held = self.held.and_then(Held::tried_again);
        if self.held.is_some() {
            self.arrived.push(arrived);
            return;
        }
        self.let_go(&[arrived.event.id]);
        self.put_back(context, vec![arrived.delivery]);
    }

    /// Begins nothing more, interrupts whoever waits for a turn, and ends when what was begun has ended. What is not
    /// begun goes back to the broker with the channel, and so to another worker at once.
    fn put_down(&mut self, context: &mut Context<Self>) {
        if !self.draining {
            self.draining = true;
            self.interrupted.cancel();
            let others = self.in_hand.values_mut().flat_map(|taken| taken.others.drain(..));
            let waiting: Vec<_> = self.arrived.drain(..).chain(others).map(|arrived| arrived.delivery).collect();
            self.leave(context, waiting);
        }
    }

    /// Leaves deliveries to the end of their channel.
    fn leave(&mut self, context: &mut Context<Self>, mut deliveries: Vec<Delivery>) {
        if let Some(aside) = &mut self.aside {
            aside.append(&mut deliveries);
        }
        deliveries.retain(isolation::is_not_left);
        self.put_back(context, deliveries);
    }

    /// Puts deliveries at the end of their queue.
    fn put_back(&mut self, context: &mut Context<Self>, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        self.settling += 1;
        let recorder = Arc::clone(&self.work.recorder);
        let putting_back = async move {
            join_all(deliveries.iter().map(|delivery| recorder.settle.put_back(delivery))).await;
        };
        self.run(context, putting_back, |actor, (), _| actor.settling -= 1);
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
            self.run(context, async move { recorder.record(batch).await }, move |actor, left, context| {
                actor.recording -= 1;
                actor.wait_for_database(context, left);
                actor.let_go(&ids);
            });
        }
    }

    /// The database is unavailable, and these are not settled. The queue is paused: what is in hand goes back to the
    /// broker with all its attempts. While one message at a time is tried, the next try is another one's, since it may
    /// be this message that the database chokes on.
    fn wait_for_database(&mut self, context: &mut Context<Self>, left: Vec<Delivery>) {
        if left.is_empty() {
            return;
        }
        self.work.recorder.pause.set(true);
        if self.work.mode == Mode::Probing && !self.draining {
            self.put_back(context, left);
        } else {
            self.leave(context, left);
            self.put_down(context);
        }
    }

    /// Forgets events whose deliveries are settled, and takes up those that came meanwhile.
    fn let_go(&mut self, events: &[Uuid]) {
        for event in events {
            let Some(Taken { mut others, counted, step }) = self.in_hand.remove(event) else { continue };
            counted.settled();
            drop(step);
            if let Some(mut next) = others.pop() {
                let step = processing(&self.work.recorder.settle.queue, &next.delivery, &mut next.event);
                self.in_hand.insert(*event, Taken { others, counted: self.metrics().take(), step });
                self.arrived.push(next);
            }
        }
    }

    /// Takes a delivery in hand. One whose event is in hand already waits for what becomes of that: it may be a mere
    /// repetition, which the inbox then recognises, but also the retry of the first, which comes back while the batch
    /// that the first was in is still being recorded.
    fn take(&mut self, delivery: Delivery, mut event: Envelope<H::Event>) {
        let metrics = &self.work.recorder.settle.metrics;
        match self.in_hand.entry(event.id) {
            Entry::Vacant(vacant) => {
                // Only for the first time: what a paused worker gave back has waited for its provider.
                if delivery.exchange.as_str() == names::EVENTS && !delivery.redelivered {
                    // Below zero where clocks differ.
                    metrics.lag((Utc::now() - event.time).to_std().unwrap_or_default());
                }
                let step = processing(&self.work.recorder.settle.queue, &delivery, &mut event);
                vacant.insert(Taken { others: Vec::new(), counted: metrics.take(), step });
                self.arrived.push(Arrived { delivery, event });
            }
            Entry::Occupied(mut first) => first.get_mut().others.push(Arrived { delivery, event }),
        }
    }

    fn metrics(&self) -> &QueueMetrics {
        &self.work.recorder.settle.metrics
    }

    /// Puts a message that came back often at the end of the queue. Beside it nothing more is begun: a neighbour may be the one
    /// that kills its workers, which would count against all that are in hand.
    fn set_aside(&mut self, context: &mut Context<Self>, delivery: Delivery) {
        self.suspected = Instant::now();
        if self.work.mode != Mode::Working {
            self.put_back(context, vec![delivery]);
            return;
        }
        tracing::warn!(
            queue = %self.work.recorder.subscription,
            "messages came back often, from workers that ended or lost their connections; handling one at a time"
        );
        self.aside = Some(vec![delivery]);
        self.work.enough.cancel();
        self.put_down(context);
    }

    /// Takes a delivery in hand, or settles it where it cannot be handled or must not be.
    fn receive(&mut self, context: &mut Context<Self>, delivery: Delivery) {
        self.metrics().delivered();
        match Handling::of(&delivery, self.work.mode != Mode::Working) {
            Handling::Usual => {
                // The suspects are done: back to a whole prefetch.
                if self.work.mode == Mode::Alone && self.suspected.elapsed() > LINGER {
                    self.work.enough.cancel();
                }
            }
            Handling::Alone => self.suspected = Instant::now(),
            Handling::SetAside => return self.set_aside(context, delivery),
            Handling::GiveUp(ends) => {
                self.suspected = Instant::now();
                return self.start_rejecting(context, delivery, isolation::reason(ends));
            }
        }
        match Envelope::decode(&delivery.data) {
            Ok(event) => self.take(delivery, event),
            Err(error) => self.start_rejecting(context, delivery, telemetry::chain(&error)),
        }
    }

    /// Settles a delivery that cannot be handled at all.
    fn start_rejecting(&mut self, context: &mut Context<Self>, delivery: Delivery, why: String) {
        self.settling += 1;
        let recorder = Arc::clone(&self.work.recorder);
        let rejecting = async move { recorder.settle.fail(&delivery, &Failure::reject(why), None).await };
        self.run(context, rejecting, |actor, (), _| actor.settling -= 1);
    }

    /// Runs `work` on the process's runtime and then `after` here, followed by whatever has become possible.
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

/// A delivery in hand as a step of its order's trace. What is done with the event from now on follows from that step.
fn processing<E>(queue: &str, delivery: &Delivery, event: &mut Envelope<E>) -> Step {
    let mut step = Step::after(Kind::Consumer, format!("process {queue}"), event.traceparent.as_deref());
    step.message(Head::from(&*event).about("process", queue));
    step.attempt(attempt(delivery));
    event.traceparent = Some(step.traceparent());
    step
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
            Ok(delivery) if self.draining => self.leave(context, vec![delivery]),
            Ok(delivery) => {
                self.receive(context, delivery);
                self.pump(context);
            }
            Err(error) => self.end(context, Ended::Lost(telemetry::chain(&error))),
        }
    }

    /// The deliveries have ended. The default would stop the actor, and with it what is in hand, even in a drain.
    fn finished(&mut self, context: &mut Self::Context) {
        if let Some(aside) = self.aside.take() {
            self.put_back(context, aside);
        } else if self.work.enough.is_cancelled() {
            self.over = true;
        } else if !self.draining {
            return self.end(context, Ended::Lost("RabbitMQ cancelled the consumer".to_owned()));
        }
        self.pump(context);
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
        self.put_down(context);
        self.pump(context);
    }
}
