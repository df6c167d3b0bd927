//! The operators' audit trail: who did what, to what, when, and how it ended. Rows are never changed or deleted.

use chrono::{DateTime, Utc};
use diesel::{ExpressionMethods as _, Insertable, QueryDsl as _, Queryable, Selectable, SelectableHelper as _};
use diesel_async::RunQueryDsl as _;
use orderflow_events::timestamp;
use orderflow_service::store::{Connection, StoreError};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::schema::operations::actions;

/// The state of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The action is about to start. If no other row follows, its process died before it finished.
    Begun,
    /// Done.
    Done,
    /// It stopped early, as designed. The details say what was done until then.
    Stopped,
    /// It failed completely or in part.
    Failed,
}

impl Outcome {
    /// Returns the outcome's name in the table.
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

/// An action to record.
#[derive(Debug, Clone, Copy, Insertable)]
#[diesel(table_name = actions)]
pub struct NewAction<'a> {
    /// The operator, or the system's user.
    pub who: &'a str,
    /// `read` or `operate`; `command` for a command.
    pub role: &'a str,
    /// What was done, for example `stock.set`.
    pub what: &'a str,
    /// What it was done to: a product, a queue.
    pub target: &'a str,
    /// Further details, without personal data.
    pub details: &'a Value,
    /// The same for all rows of one action.
    pub request_id: Uuid,
    /// See [`Outcome`].
    pub outcome: &'a str,
}

/// A recorded action.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Serialize)]
#[diesel(table_name = actions)]
pub struct Action {
    /// Increases with each row.
    pub action_id: i64,
    /// When it was recorded, by the database's clock.
    #[serde(with = "timestamp")]
    pub at: DateTime<Utc>,
    /// The operator, or the system's user.
    pub who: String,
    /// `read` or `operate`; `command` for a command.
    pub role: String,
    /// What was done, for example `stock.set`.
    pub what: String,
    /// What it was done to.
    pub target: String,
    /// Further details.
    pub details: Value,
    /// The same for all rows of one action; the front end's log has it too.
    pub request_id: Uuid,
    /// See [`Outcome`].
    pub outcome: String,
}

/// Records an action.
///
/// # Errors
/// Returns database errors.
pub async fn record(connection: &mut Connection, action: &NewAction<'_>) -> Result<(), StoreError> {
    diesel::insert_into(actions::table).values(action).execute(connection).await?;
    Ok(())
}

/// Returns at most `limit` actions, newest first. `before` limits them to actions with a smaller id.
///
/// # Errors
/// Returns database errors.
pub async fn page(connection: &mut Connection, before: Option<i64>, limit: i64) -> Result<Vec<Action>, StoreError> {
    let older = actions::table.filter(actions::action_id.lt(before.unwrap_or(i64::MAX)));
    Ok(older.order(actions::action_id.desc()).limit(limit).select(Action::as_select()).load(connection).await?)
}
