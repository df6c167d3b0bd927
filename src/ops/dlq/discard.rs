use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use chrono::Utc;
use diesel_async::AsyncConnection as _;
use orderflow_service::{
    config::Source,
    store::{ANSWER_WITHIN, Connection, StoreError, failures},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    Answer, Desk, Head, Selection, Snapshot, ask, group::groups, key, not_from_database, report, selection::put,
    show::Shown,
};
use crate::{
    broker::DeadLetter,
    ops::{Exit, Failed, Principal, What, principal, words::count},
    store::{actions::Outcome, discarded},
};

/// The options of `orderflow dlq discard`.
#[derive(Debug, Clone, clap::Args)]
pub struct DiscardOptions {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become help text")]
    pub selection: Selection,
    /// The file for the discarded messages; must not exist yet [default: dead-letters-TIME.jsonl]
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Skips the confirmation
    #[arg(long)]
    pub yes: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// `orderflow dlq discard`: removes dead letters permanently, after headers and bodies are safe in a file, one message
/// per line. Only messages that were there when it began are touched.
///
/// # Errors
/// See [`Failed`]. Messages that were not discarded by then are in their queues, and all of them are in the file.
pub async fn discard(source: &Source, options: &DiscardOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    options.selection.check()?;
    let mut desk = Desk::open(source).await?;
    let mut snapshot = options.selection.freeze(&mut desk).await?;
    if !options.json {
        report::selected(&snapshot, out)?;
    }
    if snapshot.dead_letters.is_empty() {
        desk.dead_letters.close().await?;
        return nothing(&snapshot, options.json, out);
    }
    let question = format!("Discard {}?", count(snapshot.dead_letters.len(), "dead letter"));
    if ask(&question, options.yes, out).await? == Answer::No {
        desk.dead_letters.close().await?;
        writeln!(out, "Nothing was discarded.")?;
        return Ok(Exit::No);
    }
    let file = options.file.clone().unwrap_or_else(default_file);
    let numbers =
        desk.numbers(snapshot.dead_letters.iter().filter_map(|letter| letter.order_id)).await.unwrap_or_default();
    keep(&file, &snapshot, &numbers)
        .map_err(|error| Failed::File { path: file.display().to_string(), source: error })?;
    let mut details = options.selection.details();
    put(&mut details, "file", json!(file));
    discard_snapshot(desk, &mut snapshot, &Principal::system_user(), (&options.selection.target(), details), &[])
        .await?;
    said(&snapshot, &file, options.json, out)
}

/// Removes dead letters from their queues permanently.
///
/// First records, in one transaction, who does so and the copies to keep in the database (none if they are safe
/// elsewhere). If that fails, nothing is removed. Records the outcome afterwards.
///
/// # Errors
/// See [`Failed`]. Messages that were not removed by then are in their queues; the list of actions records how many
/// were.
pub(crate) async fn discard_snapshot(
    desk: Desk,
    snapshot: &mut Snapshot,
    actor: &Principal,
    (target, mut details): (&str, Value),
    kept: &[Value],
) -> Result<(), Failed> {
    let what = (What::Discard, target);
    put(&mut details, "selected", snapshot.dead_letters.len().into());
    let beginning = async |connection: &mut Connection| write_beginning(connection, actor, what, &details, kept).await;
    desk.database.run(ANSWER_WITHIN, beginning).await?;
    let database = desk.database.clone();
    let (gone, removed) = remove(desk, snapshot).await;
    let (outcome, mut details) = match &removed {
        Ok(()) => (Outcome::Done, json!({})),
        Err(error) => (Outcome::Failed, principal::because(error)),
    };
    put(&mut details, "discarded", gone.into());
    let noting = async |connection: &mut Connection| actor.note(connection, what, &details, outcome).await;
    let noted: Result<(), StoreError> = database.run(ANSWER_WITHIN, noting).await;
    removed?;
    if let Err(error) = noted {
        snapshot.unavailable.push(format!(
            "{}: the list of actions does not record that the messages were discarded",
            not_from_database(&error)
        ));
    }
    Ok(())
}

/// Records the copies to keep and who discards them, both or neither.
async fn write_beginning(
    connection: &mut Connection,
    actor: &Principal,
    what: (What, &str),
    details: &Value,
    kept: &[Value],
) -> Result<(), StoreError> {
    connection
        .transaction::<_, StoreError, _>(async |connection| {
            discarded::keep(connection, actor.request_id(), kept).await?;
            actor.note(connection, what, details, Outcome::Begun).await
        })
        .await
}

/// Removes the messages. Returns how many were removed, and the error at which it stopped.
async fn remove(desk: Desk, snapshot: &mut Snapshot) -> (usize, Result<(), Failed>) {
    // A message that is dead-lettered from now on is a new dead letter.
    let last = last_death(&desk).await;
    let (gone, removed) = each(&snapshot.dead_letters, async |letter| letter.remove().await).await;
    let noted = note(&desk, snapshot.dead_letters.get(..gone).unwrap_or_default(), last).await;
    if let Err(error) = noted {
        snapshot.unavailable.push(format!(
            "{}: it still counts them as dead letters, which `orderflow republish --missing --purged` would republish",
            not_from_database(&error)
        ));
    }
    // Only a confirmed close guarantees that they are gone.
    let closed = desk.dead_letters.close().await;
    (gone, removed.and(closed).map_err(Failed::from))
}

/// Acts on one item after the other until one fails. Returns how many succeeded, and the error if one failed.
async fn each<T, E>(all: &[T], act: impl AsyncFn(&T) -> Result<(), E>) -> (usize, Result<(), E>) {
    for (done, one) in all.iter().enumerate() {
        if let Err(error) = act(one).await {
            return (done, Err(error));
        }
    }
    (all.len(), Ok(()))
}

fn nothing(snapshot: &Snapshot, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    if json {
        write_json(snapshot, None, out)?;
    } else {
        writeln!(out, "{}", report::NOTHING)?;
    }
    Ok(if snapshot.unavailable.is_empty() { Exit::No } else { Exit::Unreachable })
}

fn said(snapshot: &Snapshot, file: &Path, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    if json {
        write_json(snapshot, Some(file), out)?;
    } else {
        writeln!(out, "{} discarded; kept in {}", count(snapshot.dead_letters.len(), "dead letter"), file.display())?;
        for note in &snapshot.unavailable {
            writeln!(out, "note: {note}")?;
        }
    }
    Ok(if snapshot.unavailable.is_empty() { Exit::Ok } else { Exit::Unreachable })
}

fn write_json(snapshot: &Snapshot, file: Option<&Path>, out: &mut impl Write) -> Result<(), Failed> {
    let head = Head::now();
    let report = json!({
        "schema_version": head.schema_version, "generated_at": orderflow_events::timestamp::format(&head.generated_at),
        "discarded": snapshot.dead_letters.len(), "groups": groups(&snapshot.dead_letters), "file": file,
        "unavailable": snapshot.unavailable,
    });
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)?;
    Ok(())
}

fn default_file() -> PathBuf {
    format!("dead-letters-{}.jsonl", Utc::now().format("%Y%m%dT%H%M%S%3fZ")).into()
}

/// Writes every message to a new file that only its owner may read, and waits until it is on disk.
fn keep(path: &Path, snapshot: &Snapshot, numbers: &HashMap<Uuid, String>) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut writer = BufWriter::new(&file);
    for letter in &snapshot.dead_letters {
        serde_json::to_writer(&mut writer, &Shown::new(letter, numbers))?;
        writer.write_all(b"\n")?;
    }
    writer.flush()?;
    drop(writer);
    file.sync_all()?;
    // Sync the file's name too: it is an entry of its directory.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

async fn last_death(desk: &Desk) -> Result<i64, StoreError> {
    desk.database.run(ANSWER_WITHIN, async |connection: &mut Connection| failures::last_death(connection).await).await
}

async fn note(desk: &Desk, gone: &[DeadLetter], last: Result<i64, StoreError>) -> Result<(), StoreError> {
    let keys: Vec<_> = gone.iter().map(key).collect();
    let last = last?;
    let leaving =
        async |connection: &mut Connection| failures::leave(connection, &keys, failures::LeftBy::Discarded, last).await;
    desk.database.run(ANSWER_WITHIN, leaving).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_counts_the_successes_before_a_failure() {
        let act = async |one: &u32| if *one < 3 { Ok(()) } else { Err("away") };
        assert_eq!(each(&[1, 2, 3, 1], act).await, (2, Err("away")));
        assert_eq!(each(&[1, 2], act).await, (2, Ok(())));
        assert_eq!(each(&[], act).await, (0, Ok(())));
    }
}
