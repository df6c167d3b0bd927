//! Asks broker and database once a second, each by itself, and hands on what they said. Every question is bounded, so a
//! server that hangs is one that is away.

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

/// Between two questions.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long an answer may take. Both servers need milliseconds; who watches wants to know soon that one does not answer.
const WITHIN: Duration = Duration::from_secs(3);

/// Failed attempts that are read.
const FAILURES: i64 = 20;

/// What the database said.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Of queues.
    pub known: Known,
    /// Of the outbox.
    pub outbox: Option<outbox::Depths>,
    /// Of orders.
    pub orders: OrderRates,
    /// The attempts that failed last, the newest first.
    pub failures: Vec<RecentFailure>,
}

/// An answer, or why there is none.
#[derive(Debug)]
pub enum Said {
    /// The broker's.
    Broker(Result<Vec<QueueDepth>, String>),
    /// The database's.
    Database(Box<Result<View, String>>),
}

/// Asks the broker until nobody listens any more.
pub async fn broker(broker: Broker, listener: mpsc::Sender<Said>) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !listener.is_closed() {
        ticks.tick().await;
        let Depths { queues, unavailable } = broker.depths(WITHIN).await;
        // What only the management API says is shown as not known.
        let said = Said::Broker(queues.ok_or_else(|| unavailable.join("; ")));
        if listener.send(said).await.is_err() {
            return;
        }
    }
}

/// Asks the database until nobody listens any more. `count_up_to`: outbox rows that are counted at most.
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
