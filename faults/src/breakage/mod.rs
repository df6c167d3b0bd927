//! Everything that a run can break.

mod absence;
mod happen;
mod schedule;

use std::time::Duration;

use clap::ValueEnum as _;
use orderflow_service::fault::CrashPoint;
use orderflow_tests::own;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::program;
pub use schedule::{Schedule, length_of_absence};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub enum Kind {
    /// A process of ours is killed.
    Kill,
    /// A process of ours is asked to end, as by a deployment, and started again.
    Stop,
    /// A process of ours stands still for a while, with all its connections.
    Freeze,
    /// A process of ours dies at a named place.
    Crash,
    /// The only worker of a service dies between commit and confirm, and nobody restarts it for as long as --away says. A second
    /// worker is stopped first.
    OnlyWorkerAway,
    /// The only front end dies between commit and confirm, and nobody restarts it for as long as --away says. The others are
    /// stopped first.
    OnlyFrontEndAway,
    /// RabbitMQ is stopped as an operator would.
    BrokerStop,
    /// RabbitMQ is killed.
    BrokerKill,
    /// An operator closes every connection to RabbitMQ.
    BrokerClose,
    /// RabbitMQ is out of memory: it takes no messages.
    BrokerAlarm,
    /// RabbitMQ is out of memory and then killed, with all that was sent to it and that it had not taken.
    BrokerSwamped,
    /// The disk that RabbitMQ writes to is full.
    BrokerDiskFull,
    /// A work queue is deleted with all that is in it, and made again by `orderflow topology apply`.
    QueueDelete,
    /// PostgreSQL is stopped by `-m immediate`.
    DatabaseStop,
    /// PostgreSQL is killed.
    DatabaseKill,
    /// Every connection to PostgreSQL is ended by an operator.
    DatabaseTerminate,
    /// A table that every step writes is locked.
    DatabaseLock,
    /// The disk that PostgreSQL writes to is full.
    DatabaseDiskFull,
    /// A wire is cut.
    Cut,
    /// A wire takes everything and carries nothing to the server.
    StallRequests,
    /// A wire carries everything to the server and nothing back.
    StallAnswers,
    /// A wire ends its connections by an RST.
    Reset,
    /// A wire ends its connections and tells only the server.
    HalfOpen,
    /// A wire carries everything late.
    Latency,
    /// The payment provider is killed.
    ProviderKill,
    /// The payment provider answers 500 to half of what it is asked, having done nothing.
    ProviderError,
    /// The payment provider does half of what it is asked, and answers 500.
    ProviderErrorAfter,
    /// The payment provider takes half of what it is asked, and neither does it nor answers.
    ProviderHang,
    /// The payment provider does half of what it is asked, and does not answer.
    ProviderHangAfter,
    /// The payment provider answers 429 to half of what it is asked.
    ProviderLimit,
    /// The payment provider does half of what it is asked, and answers nonsense.
    ProviderGarbage,
    /// The mail server is killed.
    MailKill,
    /// The mail server sends half of its clients away.
    MailRefuse,
    /// The mail server takes half of its mails at another time only.
    MailGreylist,
    /// The mail server takes half of its mails and neither keeps them nor answers.
    MailHang,
    /// The mail server keeps half of its mails and does not answer.
    MailHangAfter,
    /// The mail server keeps half of its mails and says that it does not.
    MailErrorAfter,
    /// The clock of a process of ours is an hour ahead.
    ClockAhead,
    /// The clock of a process of ours is an hour behind.
    ClockBehind,
    /// Events are delivered a second time, late and in another order.
    Duplicate,
    /// What waits in the work queues is delivered in another order.
    Reorder,
    /// Messages arrive that are no events.
    Garbage,
    /// Messages arrive that name events which never happened: payments that were declined, releases of what has shipped.
    Forgery,
}

impl Kind {
    /// Whether it lasts as long as --away says.
    pub fn is_absence(self) -> bool {
        matches!(self, Self::OnlyWorkerAway | Self::OnlyFrontEndAway)
    }

    /// Why it cannot be had on this machine, if so.
    pub fn is_missing(self) -> Option<&'static str> {
        match self {
            Self::DatabaseDiskFull | Self::BrokerDiskFull if !own::can_mount() => {
                Some("only root can make a small disk for the servers")
            }
            Self::ClockAhead | Self::ClockBehind if program::false_clock().is_none() => {
                Some("the package libfaketime is not installed")
            }
            _ => None,
        }
    }
}

/// Of so many faults one lasts ten times as long: until a minute.
const LONG: u32 = 15;

/// Where faults strike that could strike at many places.
#[derive(Debug, Clone, Copy)]
pub struct Focus {
    /// Where processes crash.
    pub points: &'static [CrashPoint],
    /// What is locked.
    pub tables: &'static [&'static str],
    /// Whether only workers are struck, and no front end.
    pub workers: bool,
}

impl Default for Focus {
    fn default() -> Self {
        let tables =
            &["messaging.inbox", "messaging.outbox", "messaging.event_log", "inventory.stock", "orders.orders"];
        Self { points: CrashPoint::ALL, tables, workers: false }
    }
}

/// What came of a fault, besides what it broke.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// Messages that were put in and belong to no order.
    pub garbage: u32,
    /// What must not have been, a sentence each.
    pub violations: Vec<String>,
}

/// What a run has once a round: a kind, and for a crash its place.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    kind: Kind,
    point: Option<CrashPoint>,
}

/// A card for every kind, and of crashes one for every place.
#[must_use]
pub fn deck(kinds: &[Kind], focus: &Focus) -> Vec<Card> {
    let cards = |kind: &Kind| -> Vec<Card> {
        match *kind {
            Kind::Crash => focus.points.iter().map(|point| Card { kind: *kind, point: Some(*point) }).collect(),
            kind => vec![Card { kind, point: None }],
        }
    };
    kinds.iter().flat_map(cards).collect()
}

/// One fault, at its place in the schedule.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// Which of those that there are.
    pub which: usize,
    /// Where a crash happens, and at which time.
    pub crash: Option<(CrashPoint, u32)>,
    /// Whether it strikes a worker, and no front end.
    pub workers: bool,
    /// Which table is locked.
    pub table: &'static str,
    /// How long it lasts.
    pub lasts: Duration,
    /// How long everything works before it.
    pub before: Duration,
}

impl Fault {
    /// Returns the next one of this card, drawn from the run's seed. It lasts `longest` at most, and an absence exactly `away`.
    pub fn draw(card: Card, focus: &Focus, longest: Duration, away: Duration, random: &mut StdRng) -> Self {
        let times = if random.random_ratio(1, LONG) { 10 } else { 1 };
        let time = random.random_range(1..40);
        Self {
            kind: card.kind,
            which: random.random_range(0..1_000),
            workers: focus.workers,
            crash: card.point.map(|point| (point, time)),
            table: focus.tables.choose(random).expect("there are some"),
            lasts: {
                let drawn = Duration::from_millis(random.random_range(300..6_000)) * times;
                if card.kind.is_absence() { away } else { drawn.min(longest) }
            },
            before: Duration::from_millis(random.random_range(500..3_000)),
        }
    }

    /// Returns how much longer than after any other fault the next order may take: customers went on placing orders during an
    /// absence, and their orders come first.
    #[must_use]
    pub fn backlog(&self) -> Duration {
        if self.kind.is_absence() { self.lasts / 4 } else { Duration::ZERO }
    }

    /// Its name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        let value = self.kind.to_possible_value().expect("every kind has a name");
        match self.crash {
            Some((point, _)) => format!("crash-{}", point.as_str()),
            None => value.get_name().to_owned(),
        }
    }
}
