use std::{
    io::Write,
    time::{Duration, Instant},
};

use orderflow_service::config::Source;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Answer, Desk, Head, Selection, Snapshot, ask,
    group::{Group, groups},
    report,
    selection::put,
    sending::{self, Pace, Watch},
    tracker::Tracker,
};
use crate::{
    broker::DeadLetter,
    ops::{Exit, Failed, Principal, What, principal, words::count},
    store::actions::Outcome,
};

/// How often to report progress at the terminal.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// The options of `orderflow dlq replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayOptions {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become help text")]
    pub selection: Selection,
    /// Only shows what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Messages to send first; the others follow once these are applied
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=100))]
    pub canary: u8,
    /// At most this many messages a second
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rate: u32,
    /// How long to wait for the first message, and at the end for the last ones, to be applied
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// Skips the confirmation
    #[arg(long)]
    pub yes: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

impl ReplayOptions {
    fn pace(&self) -> Pace {
        Pace { canaries: self.canary.into(), rate: self.rate, patience: self.patience }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    head: Head,
    dry_run: bool,
    selected: usize,
    groups: &'a [Group],
    /// Why the replay stopped early.
    stopped: Option<String>,
    messages: Vec<super::tracker::Line>,
    unavailable: &'a [String],
}

/// Reports progress at a terminal.
struct Teller<'o, W> {
    out: &'o mut W,
    quiet: bool,
    of: usize,
    reported_at: Instant,
}

impl<W: Write> Watch for Teller<'_, W> {
    fn first_applied(&mut self, first: &[&DeadLetter], after: Duration) -> Result<(), Failed> {
        if self.quiet {
            return Ok(());
        }
        let seconds = after.as_secs_f64();
        match first {
            [only] => writeln!(self.out, "The first one, {}, was applied after {seconds:.1} s.", only.id)?,
            several => writeln!(self.out, "The first {} were applied after {seconds:.1} s.", several.len())?,
        }
        Ok(())
    }

    fn polled(&mut self, tracker: &Tracker<'_>) -> Result<(), Failed> {
        if !self.quiet && self.reported_at.elapsed() >= REPORT_EVERY && tracker.sent() < self.of {
            writeln!(self.out, "{} of {} sent", tracker.sent(), self.of)?;
            self.reported_at = Instant::now();
        }
        Ok(())
    }
}

/// `orderflow dlq replay`: replays dead letters to their work queues, where they start at attempt 1.
///
/// Only messages that were there when it began are touched. The canaries go first, and the others once these are
/// applied; if one is dead-lettered again, no more are sent. A message is removed from its dead-letter queue only after
/// its copy is safe in the broker. A crash in between leaves both: the message is then delivered twice, and the inbox
/// applies it once.
///
/// Returns [`Exit::Ok`] if everything was sent and nothing was dead-lettered again within the patience. Messages still
/// under way are then named, and workers continue with them. Returns [`Exit::No`] if nothing matched, the replay
/// stopped early, or a message was dead-lettered again.
///
/// # Errors
/// See [`Failed`]. Messages that were not sent by then are in their dead-letter queues.
pub async fn replay(source: &Source, options: &ReplayOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    options.selection.check()?;
    let mut desk = Desk::open(source).await?;
    let snapshot = options.selection.freeze(&mut desk).await?;
    let mut tracker = Tracker::new(&desk, &snapshot.dead_letters).await?;
    if !options.json {
        plan(&snapshot, &tracker, options, out)?;
    }
    let mut stopped = None;
    if !snapshot.dead_letters.is_empty() && !options.dry_run {
        sending::too_long(&snapshot, options.pace())?;
        let question = format!("Replay {}?", count(snapshot.dead_letters.len(), "dead letter"));
        if ask(&question, options.yes, out).await? == Answer::No {
            desk.dead_letters.close().await?;
            writeln!(out, "Nothing was sent.")?;
            return Ok(Exit::No);
        }
        stopped = send(&desk, &snapshot, &mut tracker, options, out).await?;
    }
    desk.dead_letters.close().await?;
    conclude(&snapshot, &tracker, stopped, options, out)
}

/// Sends the messages. Records who does so beforehand, and the outcome afterwards.
async fn send<'a>(
    desk: &Desk,
    snapshot: &'a Snapshot,
    tracker: &mut Tracker<'a>,
    options: &ReplayOptions,
    out: &mut impl Write,
) -> Result<Option<String>, Failed> {
    let (actor, target) = (Principal::system_user(), options.selection.target());
    let mut details = options.selection.details();
    put(&mut details, "selected", snapshot.dead_letters.len().into());
    let what = (What::Replay, target.as_str());
    desk.note(&actor, what, &details, Outcome::Begun).await?;
    let mut watch = Teller { out, quiet: options.json, of: snapshot.dead_letters.len(), reported_at: Instant::now() };
    let sent = sending::send_all(desk, snapshot, tracker, options.pace(), &mut watch).await;
    let (applied, died_again) = tracker.ended();
    let so_far = json!({ "sent": tracker.sent(), "applied": applied, "died_again": died_again });
    let (outcome, mut details) = match &sent {
        Ok(None) => (Outcome::Done, json!({})),
        Ok(Some(why)) => (Outcome::Stopped, principal::because(why)),
        Err(error) => (Outcome::Failed, principal::because(error)),
    };
    merge(&mut details, so_far);
    let noted = desk.note(&actor, what, &details, outcome).await;
    let sent = sent?;
    noted?;
    Ok(sent)
}

/// Adds all fields of another object.
fn merge(object: &mut Value, other: Value) {
    if let (Value::Object(fields), Value::Object(more)) = (object, other) {
        fields.extend(more);
    }
}

fn plan(
    snapshot: &Snapshot,
    tracker: &Tracker<'_>,
    options: &ReplayOptions,
    out: &mut impl Write,
) -> Result<(), Failed> {
    report::selected(snapshot, out)?;
    let applied = tracker.applied();
    if applied > 0 {
        writeln!(
            out,
            "{} already applied, and will only be removed from the dead-letter queue.",
            report::is_are(applied)
        )?;
    }
    if options.dry_run && !snapshot.dead_letters.is_empty() {
        writeln!(out, "{} would be replayed to their queues.", count(snapshot.dead_letters.len(), "message"))?;
    }
    Ok(())
}

/// Writes the result.
fn conclude(
    snapshot: &Snapshot,
    tracker: &Tracker<'_>,
    stopped: Option<String>,
    options: &ReplayOptions,
    out: &mut impl Write,
) -> Result<Exit, Failed> {
    let exit = match () {
        () if !snapshot.unavailable.is_empty() => Exit::Unreachable,
        () if snapshot.dead_letters.is_empty() || stopped.is_some() || tracker.death().is_some() => Exit::No,
        () => Exit::Ok,
    };
    if options.json {
        let report = Report {
            head: Head::now(),
            dry_run: options.dry_run,
            selected: snapshot.dead_letters.len(),
            groups: &groups(&snapshot.dead_letters),
            stopped,
            messages: tracker.lines(),
            unavailable: &snapshot.unavailable,
        };
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else if snapshot.dead_letters.is_empty() {
        writeln!(out, "{}", report::NOTHING)?;
    } else if !options.dry_run {
        tracker.print(out)?;
        if let Some(stopped) = stopped {
            writeln!(out, "Stopped: {stopped}.")?;
            let left = snapshot.dead_letters.len() - tracker.sent();
            if left > 0 {
                writeln!(
                    out,
                    "{} not sent: {} in the dead-letter queue.",
                    report::was_were(left),
                    report::stays(left)
                )?;
            }
        }
    }
    Ok(exit)
}
