//! How deliveries leave the actor: acknowledged, failed, put back, or left until their channel ends.

use std::{future::Future, sync::Arc};

use actix::Context;
use futures::future::join_all;
use lapin::{message::Delivery, types::DeliveryTag};
use tokio::time::Instant;
use uuid::Uuid;

use super::QueueActor;
use crate::{
    failure::Failure,
    handler::Handler,
    metrics::Outcome,
    pipeline::{acting::Mode, isolation},
};

impl<H: Handler> QueueActor<H> {
    pub(super) fn acknowledge_repeated(&mut self, context: &mut Context<Self>, events: Vec<Uuid>) {
        if !events.is_empty() {
            let settle = &self.work.queue.settle;
            let deliveries = events.len();
            tracing::info!(queue = settle.queue, deliveries, "already applied events were delivered again");
            settle.metrics.settled(Outcome::Repeated, deliveries);
            self.acknowledge(context, events);
        }
    }

    pub(super) fn acknowledge(&mut self, context: &mut Context<Self>, events: Vec<Uuid>) {
        if events.is_empty() {
            return;
        }
        let deliveries = self.deliveries.settling(&events);
        let tags = tags(&deliveries);
        let (run, others) = self.unsettled.run_of(deliveries);
        let settle = self.work.queue.settle.clone();
        self.settle(context, events, tags, async move {
            tokio::join!(settle.acknowledge_run(&run), settle.acknowledge(&others));
        });
    }

    pub(super) fn fail(&mut self, context: &mut Context<Self>, event: Uuid, failure: Failure) {
        let cause = self.deliveries.get(event).and_then(|(_, event)| event.trace_context().map(str::to_owned));
        let deliveries = self.deliveries.settling(&[event]);
        let tags = tags(&deliveries);
        let settle = self.work.queue.settle.clone();
        self.settle(context, vec![event], tags, async move {
            for delivery in &deliveries {
                settle.fail(delivery, &failure, cause.as_deref()).await;
            }
        });
    }

    /// Runs the settlement of these deliveries, then forgets them and their events. Takes in hand further deliveries of
    /// the events that arrived meanwhile.
    fn settle<F>(&mut self, context: &mut Context<Self>, events: Vec<Uuid>, tags: Vec<DeliveryTag>, settling: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.settling += 1;
        self.run(context, settling, move |actor, (), _| {
            actor.settling -= 1;
            actor.unsettled.settled(&tags);
            let next = events.into_iter().filter_map(|event| actor.deliveries.settled(event));
            actor.arrived.extend(next);
        });
    }

    /// The database is unavailable, and these events are not settled. Pauses the queue: what is in hand returns to the
    /// broker with all its attempts. While the queue is probed with one message at a time, another message gets the
    /// next try, since this one may be the cause.
    pub(super) fn wait_for_database(&mut self, context: &mut Context<Self>, events: Vec<Uuid>) {
        if events.is_empty() {
            return;
        }
        self.work.queue.pause.set(true);
        let unsettled = self.deliveries.forget(events);
        if self.work.mode == Mode::HalfOpen && !self.draining {
            self.republish_copy(context, unsettled);
        } else {
            self.leave_unacked(context, unsettled);
            self.begin_drain(context);
        }
    }

    /// Starts nothing more, ends every wait for a probe permit, and ends the actor when the work in progress has ended.
    /// Messages not yet begun return to the broker with the channel, and so to another worker without delay.
    pub(super) fn begin_drain(&mut self, context: &mut Context<Self>) {
        if !self.draining {
            self.draining = true;
            self.interrupted.cancel();
            let arrived = self.arrived.drain(..).map(|event| event.id());
            let mut unsettled = self.deliveries.forget(arrived);
            unsettled.extend(self.deliveries.forget_repeats());
            self.leave_unacked(context, unsettled);
        }
    }

    /// Leaves deliveries unacknowledged until their channel ends. Republishes those that the broker's count would make
    /// suspects.
    pub(super) fn leave_unacked(&mut self, context: &mut Context<Self>, mut deliveries: Vec<Delivery>) {
        if let Some(aside) = &mut self.aside {
            aside.append(&mut deliveries);
        }
        deliveries.retain(isolation::is_not_left);
        self.republish_copy(context, deliveries);
    }

    /// Puts copies of deliveries at the end of their queue.
    pub(super) fn republish_copy(&mut self, context: &mut Context<Self>, deliveries: Vec<Delivery>) {
        if deliveries.is_empty() {
            return;
        }
        let queue = Arc::clone(&self.work.queue);
        let tags = tags(&deliveries);
        self.settle(context, Vec::new(), tags, async move {
            join_all(deliveries.iter().map(|delivery| queue.settle.republish_copy(delivery))).await;
        });
    }

    /// Puts a message that was returned repeatedly at the end of its queue. Nothing more is begun meanwhile: a
    /// neighbour may be the message that kills its workers, and that would count against every message in hand.
    pub(super) fn set_aside(&mut self, context: &mut Context<Self>, delivery: Delivery) {
        self.suspected = Instant::now();
        if self.work.mode != Mode::Working {
            self.republish_copy(context, vec![delivery]);
            return;
        }
        tracing::warn!(
            queue = %self.work.queue.subscription,
            "messages were returned repeatedly by workers that ended or lost their connections; handling one at a time"
        );
        self.aside = Some(vec![delivery]);
        self.work.enough.cancel();
        self.begin_drain(context);
    }

    /// Dead-letters a delivery that cannot be handled.
    pub(super) fn start_rejecting(&mut self, context: &mut Context<Self>, delivery: Delivery, failure: Failure) {
        let queue = Arc::clone(&self.work.queue);
        let tags = vec![delivery.delivery_tag];
        self.settle(context, Vec::new(), tags, async move { queue.settle.fail(&delivery, &failure, None).await });
    }
}

fn tags(deliveries: &[Delivery]) -> Vec<DeliveryTag> {
    deliveries.iter().map(|delivery| delivery.delivery_tag).collect()
}
