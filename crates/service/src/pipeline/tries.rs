//! Bounds how long a delivery's copy is retried when it cannot be published.

use std::time::Duration;

use lapin::message::Delivery;
use tokio::time::Instant;

use crate::Backoff;

/// How long to retry publishing a failed delivery's copy before requeueing the delivery.
///
/// Minutes, because every requeue counts: a broker that accepts nothing for an hour must not drive messages to the
/// queue's delivery limit (50). Together with a call's five minutes and twenty of waiting for a provider, it stays
/// below the 30 minutes after which RabbitMQ closes the channel that holds a message.
const PUBLISH_DEADLINE: Duration = Duration::from_secs(4 * 60);

/// The tries to publish a delivery's copy: until the deadline, or until the delivery's channel is closed, because the
/// broker then redelivers the message anyway.
pub struct Tries<'d> {
    delivery: &'d Delivery,
    deadline: Instant,
    backoff: Option<Backoff>,
}

impl<'d> Tries<'d> {
    /// Begins the tries for this delivery.
    #[must_use]
    pub fn new(delivery: &'d Delivery) -> Self {
        Self { delivery, deadline: Instant::now() + PUBLISH_DEADLINE, backoff: None }
    }

    /// Waits until the next try is due, the first one at once, and returns whether there is one.
    pub async fn next(&mut self) -> bool {
        match &mut self.backoff {
            Some(backoff) => backoff.wait().await,
            none => *none = Some(Backoff::default()),
        }
        self.delivery.acker.usable() && Instant::now() < self.deadline
    }
}
