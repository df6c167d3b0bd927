//! How things go at the moment, for the estimates on orders' pages: how much waits in each queue, how fast it is worked,
//! and what an order usually takes. Read for all pages together, and only while somebody looks at one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::background;
use crate::{
    broker::{BrokerCheck, Look, Subscription},
    store::{
        ANSWER_WITHIN, Connection, Database, StoreError, flow,
        pace::{self, Pace},
    },
    telemetry,
};

/// Between two readings while pages are looked at.
const EVERY: Duration = Duration::from_secs(1);

/// A picture that is older is not shown: nothing is then known.
const FRESH: Duration = Duration::from_secs(5);

/// How long a page waits for the first picture after nobody has looked for a while.
const WAIT: Duration = Duration::from_millis(600);

/// How often is looked what an order usually takes, once that is known.
const USUAL_EVERY: Duration = Duration::from_secs(60);

/// The queues that an order's status waits for, forward and backward.
pub const WATCHED: &[Subscription] = &[
    Subscription::PaymentOrderCreated,
    Subscription::InventoryPaymentCompleted,
    Subscription::ShippingInventoryReserved,
    Subscription::OrderShipmentCreated,
    Subscription::ShippingOrderCancelRequested,
    Subscription::InventoryShipmentCancelled,
    Subscription::InventoryShipmentFailed,
    Subscription::PaymentInventoryReleased,
    Subscription::PaymentInventoryRejected,
    Subscription::OrderPaymentRefunded,
    Subscription::OrderPaymentVoided,
    Subscription::OrderOrderCancelled,
];

/// One queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Queue {
    /// Messages that wait in the broker.
    pub ready: u32,
    /// Whether anybody works it.
    pub is_worked: bool,
    /// Events a second with all slots in use; `None` where it was not measured.
    pub capacity: Option<f64>,
    /// The mean time of an event in hand, in seconds.
    pub processing: Option<f64>,
}

/// How things go.
#[derive(Debug, Clone)]
pub struct Picture {
    /// Of each of [`WATCHED`]; empty while the broker does not answer.
    pub queues: HashMap<Subscription, Queue>,
    /// What an order usually takes until it is with the carrier, in seconds.
    pub usual: Option<f64>,
    read: Instant,
}

/// The newest picture. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outlook {
    picture: watch::Receiver<Option<Arc<Picture>>>,
    asked: Arc<Notify>,
}

impl Outlook {
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
        if !background::pause(EVERY, &stop).await {
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
    let reading = async |connection: &mut Connection| pace::believed(connection).await;
    let paces = match database.run(ANSWER_WITHIN, reading).await {
        Ok(measured) => measured.into_iter().map(|measured| measured.pace).collect::<Vec<_>>(),
        Err(error) => {
            unreadable(&error);
            return HashMap::new();
        }
    };
    let mut queues = HashMap::new();
    for subscription in WATCHED {
        // A broker that does not answer once does not answer twelve times; readiness says that it is away.
        let Ok(look) = check.look(&subscription.queue()).await else { return HashMap::new() };
        queues.insert(*subscription, Queue::new(look, &paces, *subscription));
    }
    queues
}

impl Queue {
    fn new(look: Look, paces: &[Pace], subscription: Subscription) -> Self {
        let name = subscription.queue();
        let working = paces.iter().filter(|pace| pace.queue == name && pace.slots > 0);
        // Slots ÷ time in hand is the throughput at saturation, see `advice`. A time of zero is none.
        let measured = working
            .filter_map(|pace| Some((f64::from(pace.slots), pace.processing_seconds.filter(|time| *time > 0.0)?)));
        let (capacity, slots, weighted) = measured.fold((0.0, 0.0, 0.0), |(capacity, all, weighted), (slots, time)| {
            (capacity + slots / time, all + slots, weighted + slots * time)
        });
        Self {
            ready: look.ready,
            is_worked: look.consumers > 0,
            capacity: (capacity > 0.0).then_some(capacity),
            processing: (slots > 0.0).then(|| weighted / slots),
        }
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

    fn pace(slots: i32, processing_seconds: Option<f64>) -> Pace {
        Pace {
            queue: "payment.order-created".to_owned(),
            slots,
            in_hand: 0,
            events_per_second: 1.0,
            failures_per_second: 0.0,
            processing_seconds,
            lag_seconds: None,
        }
    }

    #[test]
    fn processes_add_up_and_those_that_are_paused_do_not_count() {
        let paces = [pace(100, Some(2.0)), pace(300, Some(1.0)), pace(0, Some(9.0)), pace(10, None)];
        let queue = Queue::new(Look { ready: 7, consumers: 2 }, &paces, Subscription::PaymentOrderCreated);
        assert_eq!(queue, Queue { ready: 7, is_worked: true, capacity: Some(350.0), processing: Some(1.25) });
        let other = Queue::new(Look { ready: 0, consumers: 0 }, &paces, Subscription::OrderShipmentCreated);
        assert_eq!(other, Queue { ready: 0, is_worked: false, capacity: None, processing: None });
    }
}
