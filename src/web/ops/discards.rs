//! `GET /admin/discards`, `POST /admin/discards`

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload},
};
use orderflow_service::{
    config::Role,
    store::{ANSWER_WITHIN, Connection, StoreError},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{
    Console, auth,
    dead_letters::{self, Chosen},
    list::{self, Page, Query, answer},
};
use crate::{
    ops::{
        Principal,
        dlq::{
            Shown,
            discard::discard_snapshot,
            group::{Group, groups},
        },
    },
    store::discarded::{self, Discarded},
    web::problem::{Code, Problem},
};

/// The most messages that one request discards: each is first written to the database, which keeps it.
const MOST: u32 = 1_000;

/// The body of a request to discard dead letters.
#[derive(Debug, Clone, Deserialize)]
pub struct Asked {
    /// The selection, see [`Chosen`].
    #[serde(flatten)]
    pub chosen: Value,
    /// Only report what would be discarded.
    #[serde(default)]
    pub dry_run: bool,
}

/// The messages that were discarded, or would be.
#[derive(Debug, Serialize)]
pub struct DiscardReport {
    /// Whether this was only a dry run.
    pub dry_run: bool,
    /// Identifies the entry in the log of actions and the kept messages.
    pub request_id: Uuid,
    /// How many were selected.
    pub selected: usize,
    /// The selected messages by cause.
    pub groups: Vec<Group>,
    /// How many were discarded.
    pub discarded: usize,
    /// What could not be read or recorded, and why.
    pub unavailable: Vec<String>,
}

/// Returns the messages discarded here in the last 90 days, newest first.
///
/// # Errors
/// 400 for invalid parameters, 401 and 403 as everywhere, 503 while the database is unavailable.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    let query = Query::of(&request);
    let (before, limit) = (query.cursor()?, query.limit()?);
    let reading = async |connection: &mut Connection| discarded::page(connection, before, i64::from(limit) + 1).await;
    let found: Vec<Discarded> = console.database.run(ANSWER_WITHIN, reading).await?;
    Ok(answer(&Page::of(found, limit, |one| one.discarded_id.to_string())))
}

/// Discards dead letters after storing a copy of each.
///
/// # Errors
/// 404 if none matches, 422 for an invalid request, 401 and 403 as everywhere, 503 while the database or the broker is
/// unavailable; messages that were not discarded are then still in their queue.
pub async fn discard(request: HttpRequest, payload: Payload, console: Data<Console>) -> Result<HttpResponse, Problem> {
    let operator = auth::operator(&request, &console, Role::Operate)?;
    let Asked { chosen, dry_run } = list::json(&request, payload).await?;
    let chosen: Chosen =
        serde_json::from_value(chosen).map_err(|error| Problem::new(Code::InvalidRequest, format!("{error}.")))?;
    Ok(answer(&discard_chosen(&console, operator.actor(&request), chosen, dry_run).await?))
}

/// Discards the selected messages, or only reports them.
///
/// # Errors
/// The same as for [`discard`].
pub async fn discard_chosen(
    console: &Console,
    actor: Principal,
    mut chosen: Chosen,
    dry_run: bool,
) -> Result<DiscardReport, Problem> {
    if *chosen.limit.get_or_insert(MOST) > MOST {
        return Err(Problem::new(Code::InvalidRequest, format!("limit must be at most {MOST}.")));
    }
    let (selection, broker, held) = (chosen.selection()?, console.broker()?, console.clone());
    let discarding = async move {
        let _turn = held.turn().await?;
        let (desk, mut snapshot) = dead_letters::hold(&held, broker, &selection).await?;
        let mut report = DiscardReport {
            dry_run,
            request_id: actor.request_id(),
            selected: snapshot.dead_letters.len(),
            groups: groups(&snapshot.dead_letters),
            discarded: 0,
            unavailable: Vec::new(),
        };
        if snapshot.dead_letters.is_empty() || dry_run {
            dead_letters::put_back(desk).await?;
            report.unavailable = snapshot.unavailable;
            return if dry_run { Ok(report) } else { Err(none()) };
        }
        let numbers = desk.numbers(snapshot.dead_letters.iter().filter_map(|letter| letter.order_id)).await?;
        let dead_letters: Vec<Value> = snapshot
            .dead_letters
            .iter()
            .map(|letter| serde_json::to_value(Shown::new(letter, &numbers)))
            .collect::<Result<_, _>>()
            .map_err(StoreError::from)?;
        discard_snapshot(desk, &mut snapshot, &actor, (&selection.target(), selection.details()), &dead_letters)
            .await?;
        report.discarded = snapshot.dead_letters.len();
        report.unavailable = snapshot.unavailable;
        Ok(report)
    };
    console.finish(discarding).await
}

/// Returns the problem of a selection that matches nothing.
#[must_use]
pub fn none() -> Problem {
    Problem::new(Code::DeadLettersNotFound, "/admin/dead-letters lists all dead letters.")
}
