//! What is read of queues: from the broker how much there is, from the database how fast it is worked. Each by itself, and
//! each bounded in time, so that one that is away or hangs does not hide the other.

use std::{collections::HashMap, time::Duration};

use crate::{
    broker::{Management, ManagementError, QueueDepth},
    config::AdminConfig,
    store::{
        Connection, Database, StoreError, failures,
        pace::{self, Measured},
    },
    telemetry,
};

/// What the database knows of queues.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// What each worker process measured.
    pub paces: Vec<Measured>,
    /// Messages in retry tiers, by work queue.
    pub retrying: HashMap<String, i64>,
}

impl Known {
    /// Reads it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(connection: &mut Connection) -> Result<Self, StoreError> {
        Ok(Self { paces: pace::believed(connection).await?, retrying: failures::retrying(connection).await? })
    }
}

/// Asks the broker, for at most `bound`; or why it does not say.
pub async fn broker(config: &AdminConfig, bound: Duration) -> Result<Vec<QueueDepth>, String> {
    let asking = async { Management::within(config.clone(), bound)?.depths().await };
    asking.await.map_err(|error: ManagementError| error.explained())
}

/// Asks the database, for at most `bound`; or why it does not say.
pub async fn database(database: &Database, bound: Duration) -> Result<Known, String> {
    database.run(bound, Known::read).await.map_err(|error| explained(&error))
}

/// What a person reads of a database that does not answer.
pub fn explained(error: &StoreError) -> String {
    let why = telemetry::chain(error);
    if error.is_unavailable() { format!("{why}. Is PostgreSQL up, and is DATABASE_URL right?") } else { why }
}
