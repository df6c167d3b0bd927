//! Which of the provider's payment intents is an order's. Rows of their own, each committed by itself: they are written
//! while the provider is being asked, and not with what follows from its answer.

use diesel::{
    OptionalExtension as _, QueryableByName,
    sql_types::{Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl as _;
use futures::{FutureExt as _, future::BoxFuture};
use orderflow::store::{Database, StoreError};
use uuid::Uuid;

use crate::providers::IntentMemory;

/// The payment service's memory for intents. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intents {
    database: Database,
}

impl Intents {
    /// In this database.
    #[must_use]
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    async fn read(&self, order: Uuid) -> Result<Option<String>, StoreError> {
        let mut connection = self.database.connection().await?;
        let row: Option<Row> = diesel::sql_query("SELECT intent_id FROM payment.intents WHERE order_id = $1")
            .bind::<SqlUuid, _>(order)
            .get_result(&mut connection)
            .await
            .optional()?;
        Ok(row.map(|row| row.intent_id))
    }

    async fn write(&self, order: Uuid, intent: String) -> Result<String, StoreError> {
        let mut connection = self.database.connection().await?;
        diesel::sql_query(
            "INSERT INTO payment.intents (order_id, intent_id) VALUES ($1, $2) ON CONFLICT (order_id) DO NOTHING",
        )
        .bind::<SqlUuid, _>(order)
        .bind::<Text, _>(intent)
        .execute(&mut connection)
        .await?;
        // A statement of its own: only it sees the row of whoever was first, which the insert has waited for.
        drop(connection);
        self.read(order).await?.ok_or_else(|| StoreError::Corrupt(format!("the intent of order {order} is gone")))
    }
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    intent_id: String,
}

impl IntentMemory for Intents {
    fn recall(&self, order: Uuid) -> BoxFuture<'_, Result<Option<String>, StoreError>> {
        self.read(order).boxed()
    }

    fn remember(&self, order: Uuid, intent: String) -> BoxFuture<'_, Result<String, StoreError>> {
        self.write(order, intent).boxed()
    }
}
