use std::{io::Write, time::Duration};

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Desk, Head, LOOKED_AT, Look, Selection, ask, count,
    group::{Group, groups},
    report,
    tracker::{Fate, Tracker},
};
use crate::{
    broker::{BrokerCheck, BrokerError, DeadLetter, Publisher},
    config::Source,
    ops::{Exit, Failed},
};

/// RabbitMQ takes back what is held for 30 minutes (its consumer time-out), so a replay has to be over before.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// How long connecting and one message's confirm may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often the database is asked what became of the messages.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How often the person is told how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// How to send again.
#[derive(Debug, Clone, clap::Args)]
pub struct ReplayOptions {
    #[command(flatten)]
    #[allow(missing_docs, reason = "a comment here would become help text")]
    pub selection: Selection,
    /// Only say what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Messages a second, at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub rate: u32,
    /// How long to wait for the first message, and at the end for the last ones, to be applied
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub patience: Duration,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    head: Head,
    dry_run: bool,
    selected: usize,
    groups: &'a [Group],
    /// Why it stopped before everything was sent.
    stopped: Option<String>,
    messages: Vec<super::tracker::Line>,
    unavailable: &'a [String],
}

/// `orderflow dlq replay`: sends dead letters to their work queues again, where they start at attempt 1.
///
/// Only what was there when it began is touched. One message goes first, and the others when it was applied; when one
/// of them dies again, no more are sent. Each is taken out of its dead-letter queue after its copy is safe in the
/// broker, so a crash in between leaves both: then it is sent twice, and the inbox applies it once.
///
/// Ends with 0 when everything was sent and nothing died again within the patience: what is still under way then is
/// named, and workers go on with it. 1: nothing was chosen, or it stopped early, or something died again.
///
/// # Errors
/// See [`Failed`]. Messages that were not sent then are in their dead-letter queues.
pub async fn replay(source: &Source, options: &ReplayOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    options.selection.check()?;
    let mut desk = Desk::open(source).await?;
    let look = options.selection.freeze(&mut desk).await?;
    let mut tracker = Tracker::new(&desk, &look.letters).await?;
    if !options.json {
        plan(&look, &tracker, options, out)?;
    }
    let mut stopped = None;
    if !look.letters.is_empty() && !options.dry_run {
        too_long(&look, options.rate)?;
        let question = format!("Send {} again?", count(look.letters.len(), "dead letter"));
        if ask(&question, options.yes, out).await? == Answer::No {
            desk.letters.close().await?;
            writeln!(out, "Nothing was sent.")?;
            return Ok(Exit::No);
        }
        stopped = send_all(&desk, &look, &mut tracker, options, out).await?;
    }
    desk.letters.close().await?;
    conclude(&look, &tracker, stopped, options, out)
}

fn plan(look: &Look, tracker: &Tracker<'_>, options: &ReplayOptions, out: &mut impl Write) -> Result<(), Failed> {
    report::selected(look, out)?;
    let applied = tracker.applied();
    if applied > 0 {
        writeln!(out, "{} of them applied already, and will only be taken out of the way.", report::is_are(applied))?;
    }
    if options.dry_run && !look.letters.is_empty() {
        writeln!(out, "{} would be sent to their queues again.", count(look.letters.len(), "message"))?;
    }
    Ok(())
}

fn too_long(look: &Look, rate: u32) -> Result<(), Failed> {
    let at_most = usize::try_from(u64::from(rate) * LONGEST.as_secs()).unwrap_or(usize::MAX);
    if look.letters.len() <= at_most {
        return Ok(());
    }
    Err(Failed::Usage(format!(
        "{} at {rate} a second would take longer than 20 minutes, and RabbitMQ takes back what is held for 30: say a \
         higher --rate, or --limit {at_most} and run it again (it never looks at more than {LOOKED_AT} of a queue)",
        count(look.letters.len(), "message")
    )))
}

/// Sends everything, and waits for what became of it. Returns why it stopped before, if it did.
async fn send_all<'a>(
    desk: &Desk,
    look: &'a Look,
    tracker: &mut Tracker<'a>,
    options: &ReplayOptions,
    out: &mut impl Write,
) -> Result<Option<String>, Failed> {
    // Where a queue is missing, the message would land among what could not be routed.
    let check = BrokerCheck::new(&desk.connector)?;
    let mut homes: Vec<_> = look.letters.iter().map(|letter| letter.home).collect();
    homes.sort_unstable();
    homes.dedup();
    for home in homes {
        check.queue_exists(&home.queue()).await?;
    }
    let stop = CancellationToken::new();
    let publisher = Publisher::start(desk.connector.clone(), stop.clone());
    let _stop = stop.drop_guard();
    tokio::time::timeout(TIMEOUT, publisher.connected()).await.map_err(|_| BrokerError::TimedOut(TIMEOUT))?;
    let mut sending =
        Sending { publisher, letters: &look.letters, tracker, quiet: options.json, patience: options.patience };
    if let Some(stopped) = sending.canary(out).await? {
        return Ok(Some(stopped));
    }
    sending.rest(options.rate, out).await
}

struct Sending<'a, 'b> {
    publisher: Publisher,
    letters: &'a [DeadLetter],
    tracker: &'b mut Tracker<'a>,
    quiet: bool,
    patience: Duration,
}

impl Sending<'_, '_> {
    /// The first message: it goes alone, and until it is applied no other does.
    async fn canary(&mut self, out: &mut impl Write) -> Result<Option<String>, Failed> {
        let Some((index, letter)) = self.tracker.canary() else { return Ok(None) };
        let began = Instant::now();
        self.send(index, letter).await?;
        let others = self.letters.len() > 1;
        while began.elapsed() < self.patience {
            match self.tracker.fate_of(index).await? {
                Fate::Applied => {
                    if !self.quiet && others {
                        let seconds = began.elapsed().as_secs_f64();
                        writeln!(out, "The first one, {}, was applied after {seconds:.1} s.", letter.id)?;
                    }
                    return Ok(None);
                }
                Fate::DiedAgain(reason) => {
                    return Ok(Some(format!("the first one, {}, died again: {reason}", letter.id)));
                }
                Fate::NotSent | Fate::UnderWay => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
        // Of a single message the report says the same.
        if !others {
            return Ok(None);
        }
        let after = humantime::format_duration(self.patience);
        let what = match self.tracker.last_failure(index).await? {
            Some(again) => format!("it {again}"),
            None => format!("is a worker running for {}? `orderflow doctor` tells", letter.home),
        };
        Ok(Some(format!("the first one, {}, was neither applied nor did it die within {after}: {what}", letter.id)))
    }

    /// All others, at a rate, until one dies; then a last wait for what is under way.
    async fn rest(&mut self, rate: u32, out: &mut impl Write) -> Result<Option<String>, Failed> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut looked, mut told) = (Instant::now(), Instant::now());
        for (index, letter) in self.letters.iter().enumerate() {
            if self.tracker.is_sent(index) {
                continue;
            }
            ticks.tick().await;
            if looked.elapsed() >= LOOK_EVERY {
                self.tracker.look().await?;
                looked = Instant::now();
            }
            if let Some(death) = self.tracker.death() {
                return Ok(Some(death));
            }
            self.send(index, letter).await?;
            if !self.quiet && told.elapsed() >= TELL_EVERY {
                writeln!(out, "{} of {} sent", self.tracker.sent(), self.letters.len())?;
                told = Instant::now();
            }
        }
        let sent = Instant::now();
        loop {
            self.tracker.look().await?;
            if !self.tracker.is_anything_under_way() || sent.elapsed() >= self.patience {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The copy first, and only when it is safe the message goes.
    async fn send(&mut self, index: usize, letter: &DeadLetter) -> Result<(), Failed> {
        self.publisher.publish(letter.again()).await?;
        letter.remove().await?;
        self.tracker.sent_now(index);
        Ok(())
    }
}

/// Says what came of it.
fn conclude(
    look: &Look,
    tracker: &Tracker<'_>,
    stopped: Option<String>,
    options: &ReplayOptions,
    out: &mut impl Write,
) -> Result<Exit, Failed> {
    let exit = match () {
        () if !look.unavailable.is_empty() => Exit::Unreachable,
        () if look.letters.is_empty() || stopped.is_some() || tracker.death().is_some() => Exit::No,
        () => Exit::Ok,
    };
    if options.json {
        let report = Report {
            head: Head::now(),
            dry_run: options.dry_run,
            selected: look.letters.len(),
            groups: &groups(&look.letters),
            stopped,
            messages: tracker.lines(),
            unavailable: &look.unavailable,
        };
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else if look.letters.is_empty() {
        writeln!(out, "{}", report::NOTHING)?;
    } else if !options.dry_run {
        tracker.print(out)?;
        if let Some(stopped) = stopped {
            writeln!(out, "Stopped: {stopped}.")?;
            let left = look.letters.len() - tracker.sent();
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
