//! `GET /admin/replays`, `POST /admin/replays`, `GET /admin/replays/{replay}`

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path, Payload},
};
use diesel_async::AsyncConnection as _;
use orderflow_service::{
    config::Role,
    store::{ANSWER_WITHIN, Connection, StoreError},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Console, auth,
    dead_letters::{self, Chosen},
    list::{self, Page, Query, answer},
    replay_run::{self, Job},
};
use crate::{
    ops::{
        Principal, What,
        dlq::{
            group::{Group, groups},
            sending::Pace,
            tracker::Tracker,
        },
    },
    store::{
        actions::Outcome,
        replays::{self, NewReplay, Replay},
    },
    web::problem::{Code, Problem},
};

/// The body of a request to replay dead letters.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Asked {
    /// Messages to replay before all others.
    canary: u8,
    /// The most messages per second.
    rate: u32,
    /// How long to wait until the first messages, and at the end the last ones, are applied.
    patience_seconds: u16,
    /// Only report what would be replayed.
    dry_run: bool,
    /// The selection, see [`Chosen`].
    #[serde(flatten)]
    chosen: Value,
}

/// The same defaults as the command's.
impl Default for Asked {
    fn default() -> Self {
        Self { canary: 1, rate: 50, patience_seconds: 30, dry_run: false, chosen: json!({}) }
    }
}

/// The messages that a replay would send.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// Always true.
    pub dry_run: bool,
    /// How many are selected.
    pub selected: usize,
    /// How many of these are already applied: a replay only removes them from their queue.
    pub already_applied: usize,
    /// The selected messages by cause.
    pub groups: Vec<Group>,
    /// What could not be read, and why.
    pub unavailable: Vec<String>,
}

/// Returns replays, newest first.
///
/// # Errors
/// 400 for invalid parameters, 401 and 403 as everywhere, 503 while the database is unavailable.
pub async fn list(request: HttpRequest, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&page(&console, &Query::of(&request)).await?))
}

/// Returns the page that the parameters `cursor` and `limit` select.
///
/// # Errors
/// The same as for [`list`].
pub async fn page(console: &Console, query: &Query) -> Result<Page<Replay>, Problem> {
    let (before, limit) = (query.cursor()?, query.limit()?);
    let reading = async |connection: &mut Connection| replays::page(connection, before, i64::from(limit) + 1).await;
    let found = console.database.run(ANSWER_WITHIN, reading).await?;
    Ok(Page::of(found, limit, |replay| replay.replay_id.to_string()))
}

/// Returns the progress of a replay.
///
/// # Errors
/// 404 for an unknown replay, 401 and 403 as everywhere, 503 while the database is unavailable.
pub async fn one(request: HttpRequest, id: Path<String>, console: Data<Console>) -> Result<HttpResponse, Problem> {
    auth::operator(&request, &console, Role::Read)?;
    Ok(answer(&get(&console, &id).await?))
}

/// Returns the replay with this id.
///
/// # Errors
/// The same as for [`one`].
pub async fn get(console: &Console, id: &str) -> Result<Replay, Problem> {
    let unknown = || Problem::new(Code::ReplayNotFound, "/admin/replays lists all replays.");
    let id: Uuid = id.parse().map_err(|_| unknown())?;
    let reading = async |connection: &mut Connection| replays::get(connection, id).await;
    let found: Option<Replay> = console.database.run(ANSWER_WITHIN, reading).await?;
    found.ok_or_else(unknown)
}

/// Starts a replay of a queue's dead letters, or reports what it would send.
///
/// # Errors
/// 409 while another replay of the queue is running, 422 for an invalid request, 401 and 403 as everywhere, 503 while
/// the database or the broker is unavailable.
pub async fn begin(request: HttpRequest, payload: Payload, console: Data<Console>) -> Result<HttpResponse, Problem> {
    let operator = auth::operator(&request, &console, Role::Operate)?;
    let asked: Asked = list::json(&request, payload).await?;
    let chosen: Chosen = serde_json::from_value(asked.chosen.clone())
        .map_err(|error| Problem::new(Code::InvalidRequest, format!("{error}.")))?;
    let pace = pace(&asked)?;
    if asked.dry_run {
        return Ok(answer(&plan(&console, &chosen).await?));
    }
    let id = start(&console, operator.actor(&request), &chosen, pace).await?;
    let path = format!("/admin/replays/{id}");
    let body = json!({ "replay_id": id, "state": "running", "links": { "self": path } });
    Ok(HttpResponse::Accepted().insert_header((header::LOCATION, path)).json(body))
}

fn pace(asked: &Asked) -> Result<Pace, Problem> {
    let within = |name: &str, value: u32, most: u32| {
        let detail = format!("{name} must be from 1 to {most}.");
        if (1..=most).contains(&value) { Ok(()) } else { Err(Problem::new(Code::InvalidRequest, detail)) }
    };
    within("canary", asked.canary.into(), 100)?;
    within("rate", asked.rate, 1_000)?;
    within("patience_seconds", asked.patience_seconds.into(), 600)?;
    Ok(Pace {
        canaries: asked.canary.into(),
        rate: asked.rate,
        patience: Duration::from_secs(asked.patience_seconds.into()),
    })
}

/// Returns what a replay would send.
///
/// # Errors
/// 422 for an invalid selection, 503 while the database or the broker is unavailable.
pub async fn plan(console: &Console, chosen: &Chosen) -> Result<Plan, Problem> {
    let (selection, broker, held) = (chosen.selection()?, console.broker()?, console.clone());
    let planning = async move {
        let _turn = held.turn().await?;
        let (desk, snapshot) = dead_letters::hold(&held, broker, &selection).await?;
        let already_applied = Tracker::new(&desk, &snapshot.dead_letters).await?.applied();
        dead_letters::put_back(desk).await?;
        let (selected, groups) = (snapshot.dead_letters.len(), groups(&snapshot.dead_letters));
        Ok(Plan { dry_run: true, selected, already_applied, groups, unavailable: snapshot.unavailable })
    };
    console.finish(planning).await
}

/// Starts a replay of the selected messages, which then continues in the background.
///
/// # Errors
/// The same as for [`begin`].
pub async fn start(console: &Console, actor: Principal, chosen: &Chosen, pace: Pace) -> Result<Uuid, Problem> {
    let (selection, broker, own) = (chosen.selection()?, console.broker()?, console.clone());
    let (replay_id, queue) = (Uuid::now_v7(), chosen.queue.clone());
    let mut details = selection.details();
    if let Value::Object(fields) = &mut details {
        fields.insert("canary".to_owned(), pace.canaries.into());
        fields.insert("rate".to_owned(), pace.rate.into());
    }
    let starting = async move {
        let begun = own.database.run(ANSWER_WITHIN, async |connection: &mut Connection| {
            write_beginning(connection, replay_id, &queue, &actor, &details).await
        });
        if let Err(running) = begun.await? {
            let detail = format!("Another replay of this queue is running: /admin/replays/{running}.");
            return Err(Problem::new(Code::ReplayInProgress, detail).retry_after(1));
        }
        let job = Job { console: own.clone(), broker, replay_id, queue, actor, selection, pace };
        own.start(replay_run::run(job));
        Ok(replay_id)
    };
    console.finish(starting).await
}

/// Stores the replay and its entry in the log of actions, both or neither.
async fn write_beginning(
    connection: &mut Connection,
    replay_id: Uuid,
    queue: &str,
    actor: &Principal,
    selection: &Value,
) -> Result<Result<(), Uuid>, StoreError> {
    let (who, request_id) = (actor.who(), actor.request_id());
    let replay = NewReplay { replay_id, queue, who, request_id, selection, state: "running" };
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            let begun = replays::begin(connection, &replay).await?;
            if begun.is_ok() {
                let mut details = selection.clone();
                if let Value::Object(fields) = &mut details {
                    fields.insert("replay_id".to_owned(), json!(replay_id));
                }
                actor.note(connection, (What::Replay, queue), &details, Outcome::Begun).await?;
            }
            Ok(begun)
        })
        .await
}
