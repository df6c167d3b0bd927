use std::{collections::HashMap, io::Write};

use lapin::types::{AMQPValue, FieldTable};
use orderflow_events::timestamp;
use orderflow_service::{Subscription, broker::headers, config::Source};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{
    Desk, Head, at, body_of, not_from_database,
    selection::{QueuePattern, check_queue},
};
use crate::{
    broker::DeadLetter,
    ops::{Exit, Failed},
    services::roster,
};

/// The options of `orderflow dlq show`.
#[derive(Debug, Clone, clap::Args)]
pub struct ShowOptions {
    /// The message's id, as `orderflow dlq list` shows it
    #[arg(value_name = "MESSAGE-ID", required_unless_present = "queue")]
    pub message: Option<String>,
    /// Only this queue, by name or pattern
    #[arg(long, value_name = "NAME-OR-GLOB")]
    pub queue: Option<QueuePattern>,
    /// At most this many: queue by queue, the oldest first
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    head: Head,
    messages: Vec<Shown>,
    unavailable: Vec<String>,
}

/// A message with everything known about it, for output or a file.
#[derive(Serialize)]
pub struct Shown {
    /// The dead-letter queue.
    pub queue: String,
    /// The id that selects it.
    pub message_id: String,
    /// The order, if the body names one.
    pub order_id: Option<Uuid>,
    /// The order's number, if the database knows it.
    pub order: Option<String>,
    /// The CloudEvents type.
    pub event: Option<String>,
    /// Why it was dead-lettered.
    pub reason: String,
    /// The number of the last attempt.
    pub attempt: Option<u32>,
    /// The process of the last attempt.
    pub worker: Option<String>,
    /// When it was dead-lettered.
    pub died_at: Option<String>,
    /// The work queue to which a replay sends it.
    pub returns_to: String,
    /// Its content type.
    pub content_type: Option<String>,
    /// All its headers.
    pub headers: Map<String, Value>,
    /// Its body, as readable as possible.
    pub body: Value,
}

impl Shown {
    /// Builds it from a dead letter and the numbers of orders.
    pub fn new(letter: &DeadLetter, numbers: &HashMap<Uuid, String>) -> Self {
        Self {
            queue: letter.subscription.dead_letter_queue(),
            message_id: letter.id.clone(),
            order_id: letter.order_id,
            order: letter.order_id.and_then(|id| numbers.get(&id)).cloned(),
            event: letter.event_type.clone(),
            reason: letter.reason.clone(),
            attempt: letter.attempt,
            worker: letter.worker.clone(),
            died_at: letter.died_at.as_ref().map(timestamp::format),
            returns_to: letter.home.queue(),
            content_type: letter.content_type().map(str::to_owned),
            headers: table(&letter.headers()),
            body: body_of(letter),
        }
    }
}

/// `orderflow dlq show`: headers and body of dead letters.
///
/// # Errors
/// See [`Failed`].
pub async fn show(source: &Source, options: &ShowOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    check_queue(options.queue.as_ref())?;
    let mut desk = Desk::open(source).await?;
    let wanted = |one: &Subscription| options.queue.as_ref().is_none_or(|pattern| pattern.matches(*one));
    let subscriptions: Vec<_> = roster().subscriptions().iter().copied().filter(wanted).collect();
    let mut snapshot = desk.read(&subscriptions).await?;
    snapshot.dead_letters.retain(|letter| options.message.as_ref().is_none_or(|id| *id == letter.id));
    snapshot.dead_letters.truncate(usize::try_from(options.limit).unwrap_or(usize::MAX));
    let numbers = match desk.numbers(snapshot.dead_letters.iter().filter_map(|letter| letter.order_id)).await {
        Ok(numbers) => numbers,
        Err(error) => {
            snapshot.unavailable.push(not_from_database(&error));
            HashMap::new()
        }
    };
    let messages: Vec<_> = snapshot.dead_letters.iter().map(|letter| Shown::new(letter, &numbers)).collect();
    desk.dead_letters.close().await?;
    let exit = match (messages.is_empty(), snapshot.unavailable.is_empty()) {
        (_, false) => Exit::Unreachable,
        (true, true) => Exit::No,
        (false, true) => Exit::Ok,
    };
    let report = Report { head: Head::now(), messages, unavailable: snapshot.unavailable };
    if options.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
        return Ok(exit);
    }
    for (shown, letter) in report.messages.iter().zip(&snapshot.dead_letters) {
        print(shown, letter, out)?;
    }
    if report.messages.is_empty() {
        writeln!(out, "No such dead letter: `orderflow dlq list` shows what there is.")?;
    }
    for note in &report.unavailable {
        writeln!(out, "note: {note}")?;
    }
    Ok(exit)
}

fn print(shown: &Shown, letter: &DeadLetter, out: &mut impl Write) -> Result<(), Failed> {
    writeln!(out, "message     {}", shown.message_id)?;
    writeln!(out, "queue       {}", shown.queue)?;
    writeln!(out, "reason      {}", shown.reason)?;
    if let Some(died_at) = &letter.died_at {
        let attempt = shown.attempt.map(|attempt| format!(", attempt {attempt}")).unwrap_or_default();
        writeln!(out, "died        {}{attempt}", at(died_at))?;
    }
    if let Some(worker) = &shown.worker {
        writeln!(out, "worker      {worker}")?;
    }
    if let Some(id) = shown.order_id {
        let number = shown.order.as_ref().map(|number| format!("{number}, ")).unwrap_or_default();
        writeln!(out, "order       {number}{id}")?;
    }
    if let Some(event) = &shown.event {
        writeln!(out, "event       {event}")?;
    }
    writeln!(out, "returns to  {}", shown.returns_to)?;
    // Our own headers are shown above; list only the others.
    for (name, value) in table(&headers::before_any_failure(&letter.headers())) {
        writeln!(out, "header      {name}: {value}")?;
    }
    let body = serde_json::to_string_pretty(&shown.body)?;
    writeln!(out, "body        {}\n", body.replace('\n', "\n            "))?;
    Ok(())
}

fn table(table: &FieldTable) -> Map<String, Value> {
    table.inner().iter().map(|(name, value)| (name.to_string(), json(value))).collect()
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(value) => (*value).into(),
        AMQPValue::ShortShortUInt(value) => (*value).into(),
        AMQPValue::ShortInt(value) => (*value).into(),
        AMQPValue::ShortUInt(value) => (*value).into(),
        AMQPValue::LongInt(value) => (*value).into(),
        AMQPValue::LongUInt(value) => (*value).into(),
        AMQPValue::LongLongInt(value) => (*value).into(),
        AMQPValue::Float(value) => (*value).into(),
        AMQPValue::Double(value) => (*value).into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::LongString(text) => text.to_string().into(),
        AMQPValue::Timestamp(seconds) => (*seconds).into(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(inner) => table(inner).into(),
        AMQPValue::ByteArray(bytes) => hex::encode(bytes.as_slice()).into(),
        AMQPValue::DecimalValue(value) => format!("{value:?}").into(),
        AMQPValue::Void => Value::Null,
    }
}
