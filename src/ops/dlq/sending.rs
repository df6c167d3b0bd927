//! Replays dead letters: a few first, the rest once those are applied, and no more once one is dead-lettered again. A
//! [`Watch`] receives the progress: a terminal, or the table that the console reads.

use std::time::Duration;

use orderflow_service::broker::{BrokerCheck, BrokerError, Publisher};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::{
    Desk, LOOKED_AT, Snapshot,
    tracker::{Fate, Tracker},
};
use crate::{
    broker::DeadLetter,
    ops::{Failed, words::count},
};

/// RabbitMQ requeues messages that are held for 30 minutes (its consumer time-out). A replay, including the wait for
/// the canaries, must therefore end earlier.
const LONGEST: Duration = Duration::from_secs(20 * 60);

/// How long connecting and one message's confirm may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How often to query the database for the outcome of the messages.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How carefully to replay.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Messages that go first; the others follow once these are applied.
    pub canaries: usize,
    /// At most this many messages a second; not 0.
    pub rate: u32,
    /// How long to wait for the first ones, and at the end for the last ones, to be applied.
    pub patience: Duration,
}

/// Receives the progress of a replay.
pub trait Watch {
    /// Called when the first messages were applied, after this time; others follow.
    ///
    /// # Errors
    /// Any error ends the replay.
    fn first_applied(&mut self, first: &[&DeadLetter], after: Duration) -> Result<(), Failed>;

    /// Called after each message, and after each query of the database.
    ///
    /// # Errors
    /// Any error ends the replay.
    fn polled(&mut self, tracker: &Tracker<'_>) -> Result<(), Failed>;
}

/// Checks that the replay will end in time.
///
/// # Errors
/// Returns [`Failed::Usage`] if not.
pub fn too_long(snapshot: &Snapshot, pace: Pace) -> Result<(), Failed> {
    let (dead_letters, at_most, rate) = (snapshot.dead_letters.len(), at_most(pace), pace.rate);
    if dead_letters <= at_most {
        return Ok(());
    }
    let (count, patience) = (count(dead_letters, "message"), humantime::format_duration(pace.patience));
    Err(Failed::Usage(format!(
        "{count} at {rate} a second would take longer than 20 minutes with a patience of {patience}, and RabbitMQ \
         requeues messages that are held for 30: pass a higher --rate, or --limit {at_most} and run it again (one run \
         reads at most {LOOKED_AT})"
    )))
}

/// Returns how many messages can be sent in time. The canaries go together, and the others after the wait for these.
fn at_most(pace: Pace) -> usize {
    let sending = LONGEST.saturating_sub(pace.patience);
    usize::try_from(u64::from(pace.rate) * sending.as_secs()).unwrap_or(usize::MAX).max(pace.canaries)
}

/// Sends everything, and waits for the outcome. Returns why it stopped early, if it did.
///
/// # Errors
/// See [`Failed`]. Messages that were not sent by then are in their dead-letter queues.
pub async fn send_all<'a>(
    desk: &Desk,
    snapshot: &'a Snapshot,
    tracker: &mut Tracker<'a>,
    pace: Pace,
    watch: &mut impl Watch,
) -> Result<Option<String>, Failed> {
    // If a queue were missing, the message would become unroutable.
    let check = BrokerCheck::new(&desk.connector)?;
    let mut homes: Vec<_> = snapshot.dead_letters.iter().map(|letter| letter.home).collect();
    homes.sort_unstable();
    homes.dedup();
    for home in homes {
        check.queue_exists(&home.queue()).await?;
    }
    let stop = CancellationToken::new();
    let publisher = Publisher::start(desk.connector.clone(), stop.clone());
    let _stop = stop.drop_guard();
    tokio::time::timeout(TIMEOUT, publisher.connected()).await.map_err(|_| BrokerError::TimedOut(TIMEOUT))?;
    let mut sending = Sending { publisher, dead_letters: &snapshot.dead_letters, tracker, watch, pace };
    if let Some(stopped) = sending.canaries().await? {
        return Ok(Some(stopped));
    }
    sending.rest().await
}

struct Sending<'a, 'b, W> {
    publisher: Publisher,
    dead_letters: &'a [DeadLetter],
    tracker: &'b mut Tracker<'a>,
    watch: &'b mut W,
    pace: Pace,
}

impl<W: Watch> Sending<'_, '_, W> {
    /// Sends the first messages alone: no other follows until they are applied.
    async fn canaries(&mut self) -> Result<Option<String>, Failed> {
        if !self.tracker.is_tracked() {
            return Ok(None);
        }
        let first = self.tracker.canaries(self.pace.canaries);
        let began = Instant::now();
        for (index, letter) in &first {
            self.send(*index, letter).await?;
        }
        let others = self.dead_letters.len() > first.len();
        let name = |letter: &DeadLetter| match first.len() {
            1 => format!("the first one, {},", letter.id),
            several => format!("one of the first {several}, {},", letter.id),
        };
        while began.elapsed() < self.pace.patience {
            self.poll().await?;
            let mut waits = false;
            for (index, letter) in &first {
                match self.tracker.fate_of(*index) {
                    Fate::Applied | Fate::Sent => {}
                    Fate::DiedAgain(reason) => return Ok(Some(format!("{} died again: {reason}", name(letter)))),
                    Fate::NotSent | Fate::UnderWay => waits = true,
                }
            }
            if !waits {
                if others {
                    let first: Vec<_> = first.iter().map(|(_, letter)| *letter).collect();
                    self.watch.first_applied(&first, began.elapsed())?;
                }
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        // Without others, the report says the same.
        let waiting = first.iter().find(|(index, _)| self.tracker.fate_of(*index) == Fate::UnderWay);
        let Some((index, letter)) = waiting.filter(|_| others) else { return Ok(None) };
        let after = humantime::format_duration(self.pace.patience);
        let what = match self.tracker.last_failure(*index).await? {
            Some(again) => format!("it {again}"),
            None => format!("is a worker running for {}? Run `orderflow doctor`", letter.home),
        };
        Ok(Some(format!("{} was neither applied nor dead-lettered within {after}: {what}", name(letter))))
    }

    /// Sends all others at the given rate until one is dead-lettered again, then waits for those under way.
    async fn rest(&mut self) -> Result<Option<String>, Failed> {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.pace.rate.max(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looked = Instant::now();
        for (index, letter) in self.dead_letters.iter().enumerate() {
            if self.tracker.is_sent(index) {
                continue;
            }
            ticks.tick().await;
            if looked.elapsed() >= LOOK_EVERY {
                self.poll().await?;
                looked = Instant::now();
            }
            if let Some(death) = self.tracker.death() {
                return Ok(Some(death));
            }
            self.send(index, letter).await?;
        }
        let sent = Instant::now();
        loop {
            self.poll().await?;
            if !self.tracker.is_anything_under_way() || sent.elapsed() >= self.pace.patience {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn poll(&mut self) -> Result<(), Failed> {
        self.tracker.poll().await?;
        self.watch.polled(self.tracker)
    }

    /// Publishes the copy, and removes the message only once the copy is safe.
    async fn send(&mut self, index: usize, letter: &DeadLetter) -> Result<(), Failed> {
        self.publisher.publish(letter.again()).await?;
        letter.remove().await?;
        self.tracker.sent_now(index);
        self.watch.polled(self.tracker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_for_canaries_reduces_the_time_for_sending() {
        let at_most = |seconds| at_most(Pace { canaries: 3, rate: 5, patience: Duration::from_secs(seconds) });
        assert_eq!([0, 30, 600, 1_200, 9_999].map(at_most), [6_000, 5_850, 3_000, 3, 3]);
    }
}
