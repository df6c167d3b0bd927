use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use chrono::Utc;
use serde_json::json;
use uuid::Uuid;

use super::{
    Answer, Desk, Head, Look, Selection, ask, count, group::groups, key, not_from_database, report, show::Shown,
};
use crate::{
    config::Source,
    ops::{Exit, Failed},
    store::{StoreError, failures},
};

/// How to discard.
#[derive(Debug, Clone, clap::Args)]
pub struct DiscardOptions {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become help text")]
    pub selection: Selection,
    /// The file for what is thrown away; it must not exist yet [default: dead-letters-TIME.jsonl]
    #[arg(long, value_name = "PATH")]
    pub file: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

/// `orderflow dlq discard`: takes dead letters out of their queues for good, after headers and bodies are safe in a
/// file, one message a line. Only what was there when it began is touched.
///
/// # Errors
/// See [`Failed`]. Messages that were not discarded then are in their queues, and all of them in the file.
pub async fn discard(source: &Source, options: &DiscardOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    options.selection.check()?;
    let mut desk = Desk::open(source).await?;
    let mut look = options.selection.freeze(&mut desk).await?;
    if !options.json {
        report::selected(&look, out)?;
    }
    if look.letters.is_empty() {
        desk.letters.close().await?;
        return nothing(&look, options.json, out);
    }
    let question = format!("Throw away {}?", count(look.letters.len(), "dead letter"));
    if ask(&question, options.yes, out).await? == Answer::No {
        desk.letters.close().await?;
        writeln!(out, "Nothing was thrown away.")?;
        return Ok(Exit::No);
    }
    let file = options.file.clone().unwrap_or_else(default_file);
    let numbers = desk.numbers(look.letters.iter().filter_map(|letter| letter.order_id)).await.unwrap_or_default();
    keep(&file, &look, &numbers).map_err(|error| Failed::File { path: file.display().to_string(), source: error })?;
    // What dies from now on is another death.
    let last = last_death(&desk).await;
    for letter in &look.letters {
        letter.remove().await?;
    }
    if let Err(error) = note(&desk, &look, last).await {
        look.unavailable.push(format!(
            "{}: it still counts them as dead letters, which `orderflow republish --missing --purged` would send again",
            not_from_database(&error)
        ));
    }
    // Only now it is certain that they are gone.
    desk.letters.close().await?;
    said(&look, &file, options.json, out)
}

fn nothing(look: &Look, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    if json {
        write_json(look, None, out)?;
    } else {
        writeln!(out, "{}", report::NOTHING)?;
    }
    Ok(if look.unavailable.is_empty() { Exit::No } else { Exit::Unreachable })
}

fn said(look: &Look, file: &Path, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    if json {
        write_json(look, Some(file), out)?;
    } else {
        writeln!(out, "{} thrown away; kept in {}", count(look.letters.len(), "dead letter"), file.display())?;
        for note in &look.unavailable {
            writeln!(out, "note: {note}")?;
        }
    }
    Ok(if look.unavailable.is_empty() { Exit::Ok } else { Exit::Unreachable })
}

fn write_json(look: &Look, file: Option<&Path>, out: &mut impl Write) -> Result<(), Failed> {
    let head = Head::now();
    let report = json!({
        "schema_version": head.schema_version, "generated_at": crate::timestamp::format(&head.generated_at),
        "discarded": look.letters.len(), "groups": groups(&look.letters), "file": file, "unavailable": look.unavailable,
    });
    serde_json::to_writer_pretty(&mut *out, &report)?;
    writeln!(out)?;
    Ok(())
}

fn default_file() -> PathBuf {
    format!("dead-letters-{}.jsonl", Utc::now().format("%Y%m%dT%H%M%S%3fZ")).into()
}

/// Writes every message to a new file that only its owner may read, and waits until it is on the disk.
fn keep(path: &Path, look: &Look, numbers: &HashMap<Uuid, String>) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut writer = BufWriter::new(&file);
    for letter in &look.letters {
        serde_json::to_writer(&mut writer, &Shown::new(letter, numbers))?;
        writer.write_all(b"\n")?;
    }
    writer.flush()?;
    drop(writer);
    file.sync_all()?;
    // The file's name too: it is an entry of its directory.
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

async fn last_death(desk: &Desk) -> Result<i64, StoreError> {
    failures::last_death(&mut *desk.database.connection().await?).await
}

async fn note(desk: &Desk, look: &Look, last: Result<i64, StoreError>) -> Result<(), StoreError> {
    let keys: Vec<_> = look.letters.iter().map(key).collect();
    failures::leave(&mut *desk.database.connection().await?, &keys, failures::LeftBy::Discarded, last?).await
}
