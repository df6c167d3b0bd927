//! Queries broker and database once a second, separately, and passes on the answers. Every query has a time-out, so a
//! server that hangs counts as unavailable.

use std::time::Duration;

use orderflow_service::store::{
    Connection, Database, StoreError,
    failures::{self, RecentFailure},
    outbox,
};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};

use crate::{
    broker::QueueDepth,
    ops::{
        lack::explained,
        queues::inspect::{Broker, Depths, Known},
    },
    store::flow::{self, OrderRates},
};

/// Time between two queries.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take. Both servers need milliseconds, and operators should soon see that one does not answer.
const WITHIN: Duration = Duration::from_secs(3);

/// The number of failed attempts to read.
const FAILURES: i64 = 20;

/// What the database returned.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// About queues.
    pub known: Known,
    /// About the outbox.
    pub outbox: Option<outbox::Depths>,
    /// About orders.
    pub orders: OrderRates,
    /// The latest failed attempts, the newest first.
    pub failures: Vec<RecentFailure>,
}

/// An answer, or why it is missing.
#[derive(Debug)]
pub enum Said {
    /// The broker's.
    Broker(Result<Vec<QueueDepth>, String>),
    /// The database's.
    Database(Box<Result<View, String>>),
}

/// Queries the broker until the receiver is dropped.
pub async fn broker(broker: Broker, listener: mpsc::Sender<Said>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !listener.is_closed() {
        ticks.tick().await;
        let Depths { queues, unavailable } = broker.depths(WITHIN).await;
        // Values that only the management API has are shown as unknown.
        let said = Said::Broker(queues.ok_or_else(|| unavailable.join("; ")));
        if listener.send(said).await.is_err() {
            return;
        }
    }
}

/// Queries the database until the receiver is dropped. `count_up_to`: the most outbox rows to count.
pub async fn database(database: Database, count_up_to: i64, listener: mpsc::Sender<Said>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !listener.is_closed() {
        ticks.tick().await;
        let viewing = async |connection: &mut Connection| view(connection, count_up_to).await;
        let viewed = database.run(WITHIN, viewing).await.map_err(|error| explained(&error));
        if listener.send(Said::Database(Box::new(viewed))).await.is_err() {
            return;
        }
    }
}

async fn view(connection: &mut Connection, count_up_to: i64) -> Result<View, StoreError> {
    Ok(View {
        known: Known::read(connection).await?,
        outbox: Some(outbox::depths(connection, count_up_to).await?),
        orders: flow::rates(connection).await?,
        failures: failures::recent(connection, FAILURES).await?,
    })
}
