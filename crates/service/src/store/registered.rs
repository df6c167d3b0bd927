//! The rows of registered services, which run outside these programs.

use diesel::{
    QueryableByName,
    sql_types::{Array, Text},
};
use diesel_async::RunQueryDsl as _;

use super::{Connection, StoreError};

/// The most services to read: far more than any shop runs, so that a mistake in the table cannot fill memory.
pub const MOST_SERVICES: usize = 100;

/// The most kinds of event per service and direction.
pub const MOST_EVENTS: usize = 100;

/// Where a service records the events that it has applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracks {
    /// In our inbox: missing deliveries are found.
    Inbox,
    /// Nowhere: missing deliveries cannot be found, so none are republished.
    Nothing,
}

impl Tracks {
    /// Returns the word in the table and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Nothing => "none",
        }
    }
}

/// A service that runs outside these programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredService {
    /// Its name.
    pub name: String,
    /// Where it records what it has applied.
    pub tracks: Tracks,
    /// The kinds of event that it consumes, each from its own queue.
    pub takes: Vec<String>,
    /// The kinds of event that it publishes.
    pub publishes: Vec<String>,
}

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    tracks: String,
    #[diesel(sql_type = Array<Text>)]
    takes: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    publishes: Vec<String>,
}

impl From<Row> for RegisteredService {
    fn from(Row { name, tracks, takes, publishes }: Row) -> Self {
        let tracks = if tracks == Tracks::Inbox.as_str() { Tracks::Inbox } else { Tracks::Nothing };
        Self { name, tracks, takes, publishes }
    }
}

/// Returns the registered services in alphabetical order: at most [`MOST_SERVICES`], with [`MOST_EVENTS`] in each
/// direction.
///
/// # Errors
/// Returns database errors.
pub async fn list(connection: &mut Connection) -> Result<Vec<RegisteredService>, StoreError> {
    let events = |direction: &str| {
        format!(
            "ARRAY(SELECT event FROM messaging.service_events WHERE service = name AND direction = '{direction}'
                   ORDER BY event LIMIT {MOST_EVENTS})"
        )
    };
    let query = format!(
        "SELECT name, tracks, {} AS takes, {} AS publishes FROM messaging.services ORDER BY name LIMIT {MOST_SERVICES}",
        events("takes"),
        events("publishes")
    );
    let rows: Vec<Row> = diesel::sql_query(query).load(connection).await?;
    Ok(rows.into_iter().map(RegisteredService::from).collect())
}

/// Writes a service in the caller's transaction, replacing any registration under the same name.
///
/// # Errors
/// Returns database errors.
pub async fn write(connection: &mut Connection, service: &RegisteredService) -> Result<(), StoreError> {
    diesel::sql_query(
        "INSERT INTO messaging.services (name, tracks) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET tracks = excluded.tracks",
    )
    .bind::<Text, _>(&service.name)
    .bind::<Text, _>(service.tracks.as_str())
    .execute(connection)
    .await?;
    diesel::sql_query("DELETE FROM messaging.service_events WHERE service = $1")
        .bind::<Text, _>(&service.name)
        .execute(connection)
        .await?;
    diesel::sql_query(
        "INSERT INTO messaging.service_events (service, direction, event)
         SELECT $1, 'takes', event FROM unnest($2::text[]) AS taken (event)
         UNION SELECT $1, 'publishes', event FROM unnest($3::text[]) AS published (event)",
    )
    .bind::<Text, _>(&service.name)
    .bind::<Array<Text>, _>(&service.takes)
    .bind::<Array<Text>, _>(&service.publishes)
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes a service in the caller's transaction. Returns `false` if no service has this name.
///
/// # Errors
/// Returns database errors.
pub async fn remove(connection: &mut Connection, name: &str) -> Result<bool, StoreError> {
    let removed = diesel::sql_query("DELETE FROM messaging.services WHERE name = $1")
        .bind::<Text, _>(name)
        .execute(connection)
        .await?;
    Ok(removed > 0)
}
