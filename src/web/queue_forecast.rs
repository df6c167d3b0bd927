//! How things go at the moment, for the estimates on orders' pages: how much waits in each queue, how fast it is worked,
//! and what an order usually takes. Read for all pages together, and only while somebody looks at one.

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

/// Between two readings while pages are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// A picture that is older is not shown: nothing is then known.
const FRESH: Duration = Duration::from_secs(5);

/// How long a page waits for the first picture after nobody has looked for a while.
const WAIT: Duration = Duration::from_millis(600);

/// How often is looked what an order usually takes, once that is known.
const USUAL_EVERY: Duration = Duration::from_secs(60);

/// How things go.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Of each of [`way::WATCHED`]; empty while the broker does not answer.
    pub queues: HashMap<Subscription, Queue>,
    /// What an order usually takes until it is with the carrier, in seconds.
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
    /// Starts to read on the current runtime, whenever somebody asks, until `stop`.
    #[must_use]
    pub fn start(database: Database, check: BrokerCheck, stop: CancellationToken) -> Self {
        let (sender, picture) = watch::channel(None);
        let asked = Arc::new(Notify::new());
        tokio::spawn(read_when_asked(database, check, sender, Arc::clone(&asked), stop));
        Self { picture, asked }
    }

    /// How things go; `None` where that cannot be said in time.
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
    // That the database is away is said by the gate already.
    if !error.is_unavailable() {
        tracing::warn!(error = telemetry::chain(error), "orders' pages have no estimate: the pace cannot be read");
    }
}

/// Both or nothing: how much waits says little without how fast it goes.
async fn queues(database: &Database, check: &BrokerCheck) -> HashMap<Subscription, Queue> {
    match way::queues(database, check, way::WATCHED).await {
        Ok(queues) => queues,
        Err(NotKnown::Database(error)) => {
            unreadable(&error);
            HashMap::new()
        }
        // Readiness says that it is away.
        Err(NotKnown::Broker(_)) => HashMap::new(),
    }
}

#[cfg(test)]
impl Picture {
    /// A picture for tests, read just now.
    pub fn of(queues: HashMap<Subscription, Queue>, usual: Option<f64>) -> Self {
        Self { queues, usual, read: Instant::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use orderflow_order::domain::OrderStatus;

    #[test]
    fn what_is_before_an_order_is_watched() {
        let ways = [way::path(OrderStatus::Pending, false), way::path(OrderStatus::Pending, true)].concat();
        // Each kind of event alone, none, and all: every branch of the way back.
        let undoings = orderflow_events::EventKind::ALL.iter().map(|one| way::undoing(|kind| kind == *one));
        let undoings = undoings.chain([way::undoing(|_| false), way::undoing(|_| true)]).flatten();
        assert!(ways.into_iter().chain(undoings).all(|queue| way::WATCHED.contains(&queue)));
    }
}
