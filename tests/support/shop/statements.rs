//! What tests read and write in a shop's database.

use diesel::{
    QueryableByName,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncConnection as _, RunQueryDsl as _};
use orderflow_service::store::Connection;

use super::Shop;

impl Shop {
    /// Opens a connection to the shop's database.
    ///
    /// # Panics
    /// Panics if it cannot be reached.
    pub async fn database(&self) -> Connection {
        Connection::establish(self.database_url().as_str()).await.expect("the database can be reached")
    }

    /// Runs a statement.
    ///
    /// # Panics
    /// Panics if the database refuses it.
    pub async fn execute(&self, sql: &str) {
        let executed = diesel::sql_query(sql).execute(&mut self.database().await).await;
        executed.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Returns the result of a query as text.
    ///
    /// # Panics
    /// Panics if the query fails or returns no row.
    pub async fn text(&self, sql: &str) -> String {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            text: String,
        }
        let row: Row = diesel::sql_query(format!("SELECT ({sql})::text AS text"))
            .get_result(&mut *self.connection.lock().await)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.text
    }

    /// Returns the result of a query as a number.
    ///
    /// # Panics
    /// Panics if the query fails or does not return a number.
    pub async fn number(&self, sql: &str) -> i64 {
        #[derive(QueryableByName)]
        struct Row {
            #[diesel(sql_type = BigInt)]
            number: i64,
        }
        let query = format!("SELECT ({sql})::bigint AS number");
        let row: Row = diesel::sql_query(&query)
            .get_result(&mut *self.connection.lock().await)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        row.number
    }
}
