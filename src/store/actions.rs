//! What operators did: who, what, to what, when, and how it ended. Written once, never changed, never deleted.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, Insertable, QueryDsl as _, Queryable, Selectable, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use orderflow_events::timestamp;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::schema::operations::actions;

/// How something that was done stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is about to be done. Where no other row follows, its process died over it.
    Begun,
    /// Done.
    Done,
    /// It ended early by itself, as it is meant to; what was done until then is in the details.
    Stopped,
    /// It could not be done, or not all of it.
    Failed,
}

impl Outcome {
    /// As the table has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Done => "done",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// What is to be written down.
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = actions)]
pub struct NewAction<'a> {
    /// An operator, or the system's user.
    pub who: &'a str,
    /// `read` or `operate`; `command` for a command.
    pub role: &'a str,
    /// `stock.set`.
    pub what: &'a str,
    /// A product, a queue.
    pub target: &'a str,
    /// No personal data.
    pub details: &'a Value,
    /// One for all rows of one doing.
    pub request_id: Uuid,
    /// See [`Outcome`].
    pub outcome: &'a str,
}

/// What was written down.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = actions)]
pub struct Action {
    /// Rises with each.
    pub action_id: i64,
    /// By the database's clock.
    #[serde(with = "timestamp")]
    pub at: DateTime<Utc>,
    /// An operator, or the system's user.
    pub who: String,
    /// `read` or `operate`; `command` for a command.
    pub role: String,
    /// What was done.
    pub what: String,
    /// To what.
    pub target: String,
    /// What else there is to say.
    pub details: Value,
    /// One for all rows of one doing; the front end's log has it too.
    pub request_id: Uuid,
    /// See [`Outcome`].
    pub outcome: String,
}

/// Writes it down.
///
/// # Errors
/// Those of the database.
pub async fn record(connection: &mut Connection, action: &NewAction<'_>) -> Result<(), StoreError> {
    diesel::insert_into(actions::table).values(action).execute(connection).await?;
    Ok(())
}

/// What was done, the newest first, at most `limit`; before the action with this number where there is one.
///
/// # Errors
/// Those of the database.
pub async fn page(connection: &mut Connection, before: Option<i64>, limit: i64) -> Result<Vec<Action>, StoreError> {
    let older = actions::table.filter(actions::action_id.lt(before.unwrap_or(i64::MAX)));
    Ok(older.order(actions::action_id.desc()).limit(limit).select(Action::as_select()).load(connection).await?)
}
