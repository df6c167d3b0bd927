//! Current queue figures for the estimates on status pages: each queue's backlog and throughput, and how long an order
//! usually takes. Read once for all pages, and only while at least one page is open.

use std::{collections::HashMap, sync::Arc, time::Duration};

use orderflow_service::{
    Subscription,
    broker::BrokerCheck,
    periodic,
    store::{ANSWER_WITHIN, Connection, Database, StoreError},
    telemetry,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    store::flow,
    way::{self, NotKnown, Queue},
};

/// The pause between two readings while pages are open.
const EVERY: Duration = Duration::from_secs(1);

/// An older picture is not used: an outdated estimate is worse than none.
const FRESH: Duration = Duration::from_secs(5);

/// How long a page waits for the first picture when no page was open before.
const WAIT: Duration = Duration::from_millis(600);

/// The interval at which the usual time of an order is read again, once it is known.
const USUAL_EVERY: Duration = Duration::from_secs(60);

/// The queues' state and the usual time of an order at one moment.
#[derive(Debug, Clone)]
pub struct Picture {
    /// The state of each queue in [`way::WATCHED`]; empty while the broker does not answer.
    pub queues: HashMap<Subscription, Queue>,
    /// How long an order usually takes to reach the carrier, in seconds.
    pub usual: Option<f64>,
    read: Instant,
}

/// The newest picture. Cheap to clone.
#[derive(Debug, Clone)]
pub struct QueueForecast {
    picture: watch::Receiver<Option<Arc<Picture>>>,
    asked: Arc<Notify>,
}

impl QueueForecast {
    /// Starts a task on the current runtime that reads a picture on request, until `stop`.
    #[must_use]
    pub fn start(database: Database, check: BrokerCheck, stop: CancellationToken) -> Self {
        let (sender, picture) = watch::channel(None);
        let asked = Arc::new(Notify::new());
        tokio::spawn(read_when_asked(database, check, sender, Arc::clone(&asked), stop));
        Self { picture, asked }
    }

    /// Returns a fresh picture, or `None` if none arrives in time.
    pub async fn now(&self) -> Option<Arc<Picture>> {
        self.asked.notify_one();
        let mut picture = self.picture.clone();
        let fresh =
            |picture: &Option<Arc<Picture>>| picture.as_ref().is_some_and(|picture| picture.read.elapsed() < FRESH);
        let found = tokio::time::timeout(WAIT, picture.wait_for(fresh)).await.ok()?.ok()?;
        found.clone()
    }
}

async fn read_when_asked(
    database: Database,
    check: BrokerCheck,
    picture: watch::Sender<Option<Arc<Picture>>>,
    asked: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut usual: Option<(Instant, Option<f64>)> = None;
    loop {
        tokio::select! {
            () = asked.notified() => {}
            () = stop.cancelled() => return,
        }
        if usual.is_none_or(|(at, seconds)| seconds.is_none() || at.elapsed() > USUAL_EVERY) {
            let reading = async |connection: &mut Connection| flow::usual_seconds(connection).await;
            match database.run(ANSWER_WITHIN, reading).await {
                Ok(seconds) => usual = Some((Instant::now(), seconds)),
                Err(error) => unreadable(&error),
            }
        }
        let queues = queues(&database, &check).await;
        let usual = usual.and_then(|(_, seconds)| seconds);
        picture.send_replace(Some(Arc::new(Picture { queues, usual, read: Instant::now() })));
        if !periodic::pause(EVERY, &stop).await {
            return;
        }
    }
}

fn unreadable(error: &StoreError) {
    // The admission gate already logs that the database is unavailable.
    if !error.is_unavailable() {
        tracing::warn!(
            error = telemetry::chain(error),
            "cannot read the pace of orders; status pages show no estimate"
        );
    }
}

/// Reads the backlog and the pace, both or neither: a backlog without a pace gives no estimate.
async fn queues(database: &Database, check: &BrokerCheck) -> HashMap<Subscription, Queue> {
    match way::queues(database, check, way::WATCHED).await {
        Ok(queues) => queues,
        Err(NotKnown::Database(error)) => {
            unreadable(&error);
            HashMap::new()
        }
        // Readiness reports that the broker is unavailable.
        Err(NotKnown::Broker(_)) => HashMap::new(),
    }
}

#[cfg(test)]
impl Picture {
    /// Returns a picture for tests, read just now.
    pub fn of(queues: HashMap<Subscription, Queue>, usual: Option<f64>) -> Self {
        Self { queues, usual, read: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orderflow_order::domain::OrderStatus;

    #[test]
    fn every_queue_ahead_of_an_order_is_watched() {
        let ways = [way::path(OrderStatus::Pending, false), way::path(OrderStatus::Pending, true)].concat();
        // Each event type alone, none, and all: every branch of the backward chain.
        let undoings = orderflow_events::EventKind::ALL.iter().map(|one| way::undoing(|kind| kind == *one));
        let undoings = undoings.chain([way::undoing(|_| false), way::undoing(|_| true)]).flatten();
        assert!(ways.into_iter().chain(undoings).all(|queue| way::WATCHED.contains(&queue)));
    }
}
