//! Stores which of the provider's payment intents belongs to which order. The rows are committed separately: they are
//! written during the call to the provider, not together with its result.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use diesel::{
    QueryableByName,
    sql_types::{Array, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use futures::{FutureExt as _, future::BoxFuture};
use orderflow_service::{
    fault::{self, Safeguard},
    group_commit::{GroupCommit, Limits},
    store::{Connection, Database, Prepare as _, StoreError},
    telemetry,
};
use uuid::Uuid;

use crate::providers::{self, IntentMemory, NoMemory};

/// With group commit, 64 concurrent charges need two connections and not 64. The queue holds far more requests than the
/// payment service has in flight.
const LIMITS: Limits = Limits { committers: 2, batch: 256, waiting: 4096, deadline: Duration::from_secs(30) };

/// The longest time for the database, which usually takes milliseconds.
const REMEMBER_WITHIN: Duration = Duration::from_secs(2);

/// An order, and the intent to store, if any.
type Asked = (Uuid, Option<String>);

/// The stored intent after that.
type Answer = Result<Option<String>, NoMemory>;

/// The payment service's storage for intents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intents {
    queue: GroupCommit<Asked, Answer>,
}

impl Intents {
    /// Starts the tasks that query this database, on the current tokio runtime. They end when this value is dropped.
    ///
    /// The database gets less time than `call`, the time-out of a call to the provider. Otherwise an unavailable
    /// database would look like an unavailable provider.
    #[must_use]
    pub fn start(database: Database, call: Duration) -> Self {
        let within = REMEMBER_WITHIN.min(call / 4);
        Self { queue: GroupCommit::start(LIMITS, move |asked| answer_all(database.clone(), within, asked)) }
    }

    async fn ask(&self, asked: Asked) -> Answer {
        self.queue.submit(asked).await.unwrap_or(Err(NoMemory))
    }
}

impl IntentMemory for Intents {
    fn recall(&self, order: Uuid) -> BoxFuture<'_, Answer> {
        self.ask((order, None)).boxed()
    }

    fn remember(&self, order: Uuid, intent: String) -> BoxFuture<'_, Result<String, NoMemory>> {
        async move { self.ask((order, Some(intent))).await?.ok_or(NoMemory) }.boxed()
    }
}

/// Answers all requests of a batch, in the same order.
async fn answer_all(database: Database, within: Duration, asked: Vec<Asked>) -> Vec<Answer> {
    if fault::without(Safeguard::IdempotencyKey) {
        return asked.into_iter().map(|(_, intent)| Ok(intent)).collect();
    }
    let asking = async |connection: &mut Connection| remember_and_read(connection, &asked).await;
    match database.run(within, asking).await {
        Ok(known) => asked.iter().map(|(order, _)| Ok(known.get(order).cloned())).collect(),
        Err(error) => {
            tracing::warn!(error = telemetry::chain(&error), "cannot read or store payment intents");
            vec![Err(NoMemory); asked.len()]
        }
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = SqlUuid)]
    order_id: Uuid,
    #[diesel(sql_type = Text)]
    intent_id: String,
}

async fn remember_and_read(connection: &mut Connection, asked: &[Asked]) -> Result<HashMap<Uuid, String>, StoreError> {
    let new: Vec<(Uuid, &str)> =
        asked.iter().filter_map(|(order, intent)| Some((*order, intent.as_deref()?))).collect();
    remember(connection, &new).await?;
    read(connection, &asked.iter().map(|(order, _)| *order).collect::<Vec<_>>()).await
}

/// Prevents these orders from ever getting an intent, unless they already have one. Returns the orders without one.
///
/// # Errors
/// Returns database errors.
pub(super) async fn give_up(connection: &mut Connection, orders: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    let given_up: Vec<(Uuid, String)> = orders.iter().map(|order| (*order, providers::given_up(*order))).collect();
    let new: Vec<(Uuid, &str)> = given_up.iter().map(|(order, instead)| (*order, instead.as_str())).collect();
    remember(connection, &new).await?;
    let known = read(connection, orders).await?;
    Ok(given_up.into_iter().filter(|(order, instead)| known.get(order) == Some(instead)).map(|(id, _)| id).collect())
}

/// Stores these intents for orders that have none yet.
async fn remember(connection: &mut Connection, new: &[(Uuid, &str)]) -> Result<(), StoreError> {
    let (orders, intents): (Vec<Uuid>, Vec<&str>) = new.iter().copied().unzip();
    if !orders.is_empty() {
        // Sorted by order id, so that two workers cannot deadlock.
        diesel::sql_query(
            "INSERT INTO payment.intents (order_id, intent_id)
             SELECT order_id, intent_id FROM unnest($1::uuid[], $2::text[]) AS row (order_id, intent_id)
             ORDER BY order_id ON CONFLICT (order_id) DO NOTHING",
        )
        .bind::<Array<SqlUuid>, _>(orders)
        .bind::<Array<Text>, _>(intents)
        .prepared()
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Returns the stored intents of these orders. A separate statement, since RETURNING omits the rows that already
/// existed.
async fn read(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, String>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query("SELECT order_id, intent_id FROM payment.intents WHERE order_id = ANY($1)")
        .bind::<Array<SqlUuid>, _>(orders)
        .prepared()
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.order_id, row.intent_id)).collect())
}
