//! Runs statements through a pooler in transaction mode, such as PgBouncer. Only within a transaction do two messages
//! reach the same PostgreSQL session, so every statement runs in one, and nothing is left in a session.

use std::sync::Arc;

use diesel::{ConnectionError, ConnectionResult, QueryResult, connection::CacheSize, result::Error as DieselError};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use tokio_postgres::Client;

use super::{connection::with_state, session::Session};

/// How to work with the pooler.
#[derive(Debug, Clone)]
pub(in crate::store) struct Pooled {
    /// The statements that begin a transaction with our bounds.
    pub(in crate::store) begin: Arc<str>,
    /// Whether the pooler carries prepared statements from session to session.
    pub(in crate::store) prepared: bool,
}

/// Ends a transaction whose rows are still in memory, and drops its prepared statements.
///
/// The driver closes a row's statement only when the row is dropped. That is too late: the statement would stay in this
/// session, and another process may use the same name. The pattern matches the driver's names; a pooler that carries
/// prepared statements uses its own.
const COMMIT_AND_FORGET: &str = "DO $$
DECLARE statement text;
BEGIN
    FOR statement IN SELECT name FROM pg_catalog.pg_prepared_statements WHERE name ~ '^s[0-9]+$' LOOP
        EXECUTE format('DEALLOCATE %I', statement);
    END LOOP;
END $$; COMMIT";

impl Pooled {
    /// Makes a Diesel connection, which sets itself up with two statements that it prepares. PgBouncer keeps these
    /// settings for each of its clients.
    ///
    /// # Errors
    /// Returns the errors of the statements.
    pub(super) async fn set_up(&self, client: Client) -> ConnectionResult<AsyncPgConnection> {
        let begun = client.batch_execute("BEGIN").await;
        begun.map_err(|error| ConnectionError::BadConnection(crate::telemetry::chain(&error)))?;
        let mut connection = AsyncPgConnection::try_from(client).await?;
        connection.batch_execute("COMMIT").await.map_err(ConnectionError::CouldntSetupConfiguration)?;
        if !self.prepared {
            connection.set_prepared_statement_cache_size(CacheSize::Disabled);
        }
        Ok(connection)
    }

    /// Runs a statement in its own transaction. If the caller is cancelled, the transaction stays open and the
    /// connection becomes unusable.
    ///
    /// # Errors
    /// Returns the errors of the statement.
    pub(super) async fn alone<T>(
        self,
        mut connection: &AsyncPgConnection,
        session: &Session,
        statement: impl Future<Output = QueryResult<T>>,
    ) -> QueryResult<T> {
        let named = |error: DieselError| with_state(error, session);
        session.begin_alone();
        connection.batch_execute(&self.begin).await.map_err(named)?;
        let outcome = statement.await.map_err(named);
        let end = match &outcome {
            Ok(_) if self.prepared => "COMMIT",
            Ok(_) => COMMIT_AND_FORGET,
            Err(_) => "ROLLBACK",
        };
        let ended = connection.batch_execute(end).await.map_err(named);
        if ended.is_ok() {
            session.end_alone();
        }
        let value = outcome?;
        ended.map(|()| value)
    }
}
