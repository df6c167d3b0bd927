//! Runs a replay in the background, and stores its progress and its result.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use diesel_async::AsyncConnection as _;
use orderflow_service::{
    store::{ANSWER_WITHIN, Connection, StoreError},
    telemetry,
};
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use super::{Console, console::Broker, dead_letters};
use crate::{
    broker::DeadLetter,
    ops::{
        Failed, Principal, What,
        dlq::{
            Selection,
            sending::{self, Pace, Watch},
            tracker::Tracker,
        },
    },
    store::{
        actions::Outcome,
        replays::{self, Counts},
    },
    web::problem::Problem,
};

/// How often the progress is stored. Other processes mark the replay as abandoned after a minute without it.
const BEAT: Duration = Duration::from_secs(1);

/// How long the database may be unavailable before the replay gives up. It must end before other processes mark it as
/// abandoned.
const GIVE_UP: Duration = Duration::from_secs(40);

/// The pause between two attempts to store the result.
const AGAIN: Duration = Duration::from_secs(2);

/// The most attempts to store the result. They take up to about a minute, after which other processes mark the replay
/// as abandoned.
const ATTEMPTS: usize = 6;

/// A replay that has started.
pub struct Job {
    /// The console's shared state.
    pub console: Console,
    /// RabbitMQ.
    pub broker: Broker,
    /// The replay's id.
    pub replay_id: Uuid,
    /// The work queue.
    pub queue: String,
    /// The operator who started it.
    pub actor: Principal,
    /// The messages to replay.
    pub selection: Selection,
    /// The canaries, the rate and the time to wait for them.
    pub pace: Pace,
}

/// The result of a replay.
struct Ended {
    state: &'static str,
    outcome: Outcome,
    reason: Option<String>,
}

/// The progress of a replay, shared with the task that stores it.
#[derive(Debug, Clone, Default)]
struct Progress(Arc<Mutex<Counts>>);

impl Progress {
    fn now(&self) -> Counts {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, counts: Counts) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    fn of(&self, tracker: &Tracker<'_>, selected: usize) {
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        let (applied, died_again) = tracker.ended();
        self.set(Counts {
            selected: number(selected),
            sent: number(tracker.sent()),
            applied: number(applied),
            died_again: number(died_again),
        });
    }
}

struct Watching {
    progress: Progress,
    selected: usize,
}

impl Watch for Watching {
    fn first_applied(&mut self, _: &[&DeadLetter], _: Duration) -> Result<(), Failed> {
        Ok(())
    }

    fn polled(&mut self, tracker: &Tracker<'_>) -> Result<(), Failed> {
        self.progress.of(tracker, self.selected);
        Ok(())
    }
}

/// Runs the replay until it ends or the process stops. Messages not yet sent stay in their dead-letter queue.
pub async fn run(job: Job) {
    let progress = Progress::default();
    let stop = job.console.stop.clone();
    // Whichever ends first. Dropping `send` midway can at worst leave a message in its queue after its copy was sent;
    // the inbox recognises the duplicate.
    let ended = tokio::select! {
        ended = send(&job, &progress) => ended,
        reason = keep_writing(&job, &progress) => Ended::failed(reason),
        () = stop.cancelled() => Ended::stopped("the process that ran it is stopping".to_owned()),
    };
    tracing::info!(
        replay.id = %job.replay_id, queue = job.queue, state = ended.state, reason = ended.reason, "a replay has ended"
    );
    for attempt in 1..=ATTEMPTS {
        match write_end(&job, progress.now(), &ended).await {
            Ok(()) => return,
            Err(error) if attempt == ATTEMPTS => {
                tracing::error!(error = telemetry::chain(&error), "cannot store the result of a replay");
            }
            Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

impl Ended {
    fn stopped(reason: String) -> Self {
        Self { state: "stopped", outcome: Outcome::Stopped, reason: Some(reason) }
    }

    fn failed(reason: String) -> Self {
        Self { state: "failed", outcome: Outcome::Failed, reason: Some(reason) }
    }
}

async fn send(job: &Job, progress: &Progress) -> Ended {
    match try_to_send(job, progress).await {
        Ok(None) => Ended { state: "done", outcome: Outcome::Done, reason: None },
        Ok(Some(reason)) => Ended::stopped(reason),
        Err(problem) => Ended::failed(problem.detail().to_owned()),
    }
}

/// Runs the replay. Returns why it stopped before all messages were sent, or which message was dead-lettered again.
async fn try_to_send(job: &Job, progress: &Progress) -> Result<Option<String>, Problem> {
    let turn = job.console.turn().await?;
    let (desk, snapshot) = dead_letters::hold(&job.console, job.broker.clone(), &job.selection).await?;
    // The selected messages are held now, so other requests may read the rest.
    drop(turn);
    let mut tracker = Tracker::new(&desk, &snapshot.dead_letters).await?;
    let selected = snapshot.dead_letters.len();
    progress.of(&tracker, selected);
    if selected == 0 {
        dead_letters::put_back(desk).await?;
        return Ok(Some("no dead letter matches".to_owned()));
    }
    sending::too_long(&snapshot, job.pace)?;
    let mut watch = Watching { progress: progress.clone(), selected };
    let stopped = sending::send_all(&desk, &snapshot, &mut tracker, job.pace, &mut watch).await?;
    progress.of(&tracker, selected);
    let stopped = stopped.or_else(|| tracker.death());
    dead_letters::put_back(desk).await?;
    Ok(stopped)
}

/// Stores the progress until the replay must stop, and returns the reason.
async fn keep_writing(job: &Job, progress: &Progress) -> String {
    let mut written = Instant::now();
    let mut ticks = tokio::time::interval(BEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let counts = progress.now();
        let writing = async |connection: &mut Connection| replays::progress(connection, job.replay_id, counts).await;
        match job.console.database.run(ANSWER_WITHIN, writing).await {
            Ok(true) => written = Instant::now(),
            Ok::<_, StoreError>(false) => return "another process has marked it as abandoned".to_owned(),
            Err(error) if written.elapsed() > GIVE_UP => return telemetry::chain(&error),
            Err(_) => {}
        }
    }
}

/// Stores the result in the table of replays and in the log of actions, both or neither.
async fn write_end(job: &Job, counts: Counts, ended: &Ended) -> Result<(), StoreError> {
    let details = json!({
        "replay_id": job.replay_id, "selected": counts.selected, "sent": counts.sent, "applied": counts.applied,
        "died_again": counts.died_again, "why": ended.reason,
    });
    let writing = async |connection: &mut Connection| {
        connection
            .transaction::<_, StoreError, _>(async |connection| {
                replays::progress(connection, job.replay_id, counts).await?;
                replays::end(connection, job.replay_id, ended.state, ended.reason.as_deref()).await?;
                job.actor.note(connection, (What::Replay, &job.queue), &details, ended.outcome).await
            })
            .await
    };
    job.console.database.run(ANSWER_WITHIN, writing).await
}
