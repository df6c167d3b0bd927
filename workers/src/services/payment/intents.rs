//! Which of the provider's payment intents is an order's. Rows of their own, committed by themselves: they are written
//! while the provider is being asked, and not with what follows from its answer.

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

/// Sixty-four charges at once need two connections this way and not sixty-four. What waits is far above what the payment
/// service has under way.
const LIMITS: Limits = Limits { committers: 2, batch: 256, waiting: 4096, deadline: Duration::from_secs(30) };

/// How long the database may take at most: it usually takes milliseconds.
const REMEMBER_WITHIN: Duration = Duration::from_secs(2);

/// An order, and its intent where one is to be remembered.
type Asked = (Uuid, Option<String>);

/// What is remembered after that.
type Answer = Result<Option<String>, NoMemory>;

/// The payment service's memory for intents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intents {
    queue: GroupCommit<Asked, Answer>,
}

impl Intents {
    /// Starts the tasks that ask this database, on the current tokio runtime; they end when this is dropped.
    ///
    /// The database is given less time than `call`, which is what a call to the provider may take: the provider is not to be
    /// taken to be away because the database is.
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

/// Answers everybody of a batch, in the same order.
async fn answer_all(database: Database, within: Duration, asked: Vec<Asked>) -> Vec<Answer> {
    if fault::without(Safeguard::IdempotencyKey) {
        return asked.into_iter().map(|(_, intent)| Ok(intent)).collect();
    }
    let asking = async |connection: &mut Connection| remember_and_read(connection, &asked).await;
    match database.run(within, asking).await {
        Ok(known) => asked.iter().map(|(order, _)| Ok(known.get(order).cloned())).collect(),
        Err(error) => {
            tracing::warn!(error = telemetry::chain(&error), "payment intents cannot be looked up or remembered");
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

/// Keeps each of these orders from ever having an intent, unless it has one; returns those that have none.
///
/// # Errors
/// Those of the database.
pub(super) async fn give_up(connection: &mut Connection, orders: &[Uuid]) -> Result<HashSet<Uuid>, StoreError> {
    let given_up: Vec<(Uuid, String)> = orders.iter().map(|order| (*order, providers::given_up(*order))).collect();
    let new: Vec<(Uuid, &str)> = given_up.iter().map(|(order, instead)| (*order, instead.as_str())).collect();
    remember(connection, &new).await?;
    let known = read(connection, orders).await?;
    Ok(given_up.into_iter().filter(|(order, instead)| known.get(order) == Some(instead)).map(|(id, _)| id).collect())
}

/// Remembers these intents where the order has none yet.
async fn remember(connection: &mut Connection, new: &[(Uuid, &str)]) -> Result<(), StoreError> {
    let (orders, intents): (Vec<Uuid>, Vec<&str>) = new.iter().copied().unzip();
    if !orders.is_empty() {
        // By the orders' ids, so that two workers wait for each other one way only.
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

/// What is remembered of these orders. A statement of its own, and not RETURNING, which says nothing of the rows that were
/// there.
async fn read(connection: &mut Connection, orders: &[Uuid]) -> Result<HashMap<Uuid, String>, StoreError> {
    let rows: Vec<Row> = diesel::sql_query("SELECT order_id, intent_id FROM payment.intents WHERE order_id = ANY($1)")
        .bind::<Array<SqlUuid>, _>(orders)
        .prepared()
        .load(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.order_id, row.intent_id)).collect())
}
