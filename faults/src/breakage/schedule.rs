//! The faults of a run, and their order.

use std::time::Duration;

use clap::ValueEnum as _;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::time::Instant;

use super::{Card, Fault, Kind, deck};
use crate::campaign::Plan;

/// Limits faults other than absences to 1/SHARE of the run; one fault would fill a short run otherwise.
const SHARE: u32 = 4;

/// How much longer than planned the first round of a short run may take.
const FIRST_ROUND: Duration = Duration::from_secs(60);

/// How long an absence lasts if nothing else breaks: longer than any lease, grace period or back-off.
const ABSENCE: Duration = Duration::from_secs(20 * 60);

/// How long an absence lasts among other faults: as long as a relay's lease.
const SHORT_ABSENCE: Duration = Duration::from_secs(60);

/// The faults of a run, drawn from its seed.
///
/// Each round has every kind once, in an order drawn from the seed. The first round is finished even if it takes twice
/// as long as the run, or a minute longer if the run is short: on a busy machine a single recovery takes longer than
/// such a run. Later rounds skip an absence that would outlast the run.
pub struct Schedule<'p> {
    plan: &'p Plan,
    end: Instant,
    random: StdRng,
    deck: Vec<Card>,
    rounds: u32,
}

impl<'p> Schedule<'p> {
    /// Returns the schedule of a run that begins at this time.
    pub fn new(plan: &'p Plan, begins: Instant) -> Self {
        let random = StdRng::seed_from_u64(plan.seed);
        Self { plan, end: begins + plan.lasts, random, deck: Vec::new(), rounds: 0 }
    }

    /// Returns when customers stop ordering, unless the first round takes longer.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Returns the next fault, or `None` when the run is over.
    pub fn draw(&mut self, now: Instant) -> Option<Fault> {
        if self.deck.is_empty() && now < self.end {
            self.deck = deck(&self.plan.kinds, &self.plan.focus);
            self.deck.shuffle(&mut self.random);
            self.rounds += 1;
        }
        let overtime = if self.rounds == 1 { self.plan.lasts.max(FIRST_ROUND) } else { Duration::ZERO };
        if now >= self.end + overtime {
            return None;
        }
        if self.rounds > 1 {
            let (away, left) = (self.plan.away, self.end.saturating_duration_since(now));
            self.deck.retain(|card| !card.kind.is_absence() || away <= left);
        }
        let card = self.deck.pop()?;
        Some(Fault::draw(card, &self.plan.focus, self.plan.lasts / SHARE, self.plan.away, &mut self.random))
    }
}

/// Returns how long absences last in a run of this length with these kinds.
///
/// # Errors
/// Fails if one absence of each kind does not fit into the run.
pub fn length_of_absence(asked: Option<Duration>, kinds: &[Kind], run: Duration) -> Result<Duration, String> {
    let absences: Vec<_> = kinds.iter().filter(|kind| kind.is_absence()).collect();
    let away = match asked {
        Some(asked) => asked,
        None if absences.len() < kinds.len() => return Ok(SHORT_ABSENCE.min(run / SHARE)),
        None => ABSENCE,
    };
    let needed = away * u32::try_from(absences.len()).unwrap_or(u32::MAX);
    if needed <= run {
        return Ok(away);
    }
    let names: Vec<_> = absences.iter().filter_map(|kind| kind.to_possible_value()).collect();
    let names: Vec<_> = names.iter().map(|value| value.get_name()).collect();
    Err(format!(
        "{} with --away {}s need {} s, and the run has --seconds {}: give more seconds, or a shorter --away",
        names.join(" and "),
        away.as_secs(),
        needed.as_secs(),
        run.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breakage::Focus;

    const MINUTE: Duration = Duration::from_secs(60);

    fn plan(kinds: &[Kind], lasts: Duration, away: Duration) -> Plan {
        Plan {
            seed: 1,
            lasts,
            kinds: kinds.to_vec(),
            away,
            per_second: 1,
            without: None,
            focus: Focus::default(),
            scarce: (0, 0),
            examples: false,
            logs: None,
        }
    }

    /// Returns the faults of a run in which only the faults and the waits before them take time.
    fn drawn(plan: &Plan) -> Vec<Fault> {
        let mut now = Instant::now();
        let (mut schedule, mut faults) = (Schedule::new(plan, now), Vec::new());
        while let Some(fault) = schedule.draw(now) {
            now += fault.before + fault.lasts;
            faults.push(fault);
        }
        faults
    }

    #[test]
    fn absence_lasts_as_long_as_asked_and_never_outlasts_the_run() {
        let plan = plan(&[Kind::OnlyWorkerAway, Kind::OnlyFrontEndAway, Kind::Kill], 45 * MINUTE, 20 * MINUTE);
        let faults = drawn(&plan);
        let absences: Vec<_> = faults.iter().filter(|fault| fault.kind.is_absence()).collect();
        assert_eq!(absences.len(), 2, "a third does not fit");
        assert!(absences.iter().all(|fault| fault.lasts == 20 * MINUTE));
        let others = faults.iter().filter(|fault| !fault.kind.is_absence());
        assert!(others.clone().all(|fault| fault.lasts <= MINUTE));
        assert!(others.count() > 10, "the rest of the run has other faults");
    }

    #[test]
    fn run_of_absences_ends_when_no_other_fits() {
        assert_eq!(drawn(&plan(&[Kind::OnlyWorkerAway], 30 * MINUTE, 20 * MINUTE)).len(), 1);
    }

    #[test]
    fn first_round_is_finished_in_a_short_run() {
        assert!(drawn(&plan(&[Kind::Kill, Kind::Stop, Kind::Cut], Duration::from_secs(1), MINUTE)).len() >= 3);
    }

    #[test]
    fn absences_are_long_where_nothing_else_breaks_and_have_to_fit() {
        let (worker, front_end) = (Kind::OnlyWorkerAway, Kind::OnlyFrontEndAway);
        let length = |asked, kinds: &[Kind], minutes| length_of_absence(asked, kinds, minutes * MINUTE);
        assert_eq!(length(None, &[worker, front_end], 45), Ok(20 * MINUTE));
        assert_eq!(length(None, &[worker, Kind::Kill], 10), Ok(MINUTE));
        assert_eq!(length(None, &[worker, Kind::Kill], 2), Ok(MINUTE / 2));
        assert_eq!(length(Some(5 * MINUTE), &[worker, Kind::Kill], 10), Ok(5 * MINUTE));
        assert_eq!(length(None, &[Kind::Kill], 1), Ok(MINUTE / 4));
        let refused = length(None, &[worker, front_end], 30).expect_err("it does not fit");
        assert!(refused.starts_with("only-worker-away and only-front-end-away with --away 1200s need 2400 s"));
        assert!(length(Some(6 * MINUTE), &[worker, front_end, Kind::Kill], 10).is_err());
    }
}
