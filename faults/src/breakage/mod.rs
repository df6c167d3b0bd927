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
    /// A process of ours is terminated, as by a deployment, and started again.
    Stop,
    /// A process of ours is stopped for a while, with all its connections open.
    Freeze,
    /// A process of ours crashes at a named point.
    Crash,
    /// The only worker of a service crashes between commit and confirm, and is not restarted for the time of --away. A
    /// second worker is stopped first.
    OnlyWorkerAway,
    /// The only front end crashes between commit and confirm, and is not restarted for the time of --away. The others
    /// are stopped first.
    OnlyFrontEndAway,
    /// RabbitMQ is stopped as an operator would.
    BrokerStop,
    /// RabbitMQ is killed.
    BrokerKill,
    /// An operator closes every connection to RabbitMQ.
    BrokerClose,
    /// RabbitMQ is out of memory: it accepts no messages.
    BrokerAlarm,
    /// RabbitMQ is out of memory and then killed, losing the messages sent to it that it had not accepted.
    BrokerSwamped,
    /// The disk that RabbitMQ writes to is full.
    BrokerDiskFull,
    /// A work queue is deleted with its messages, and created again by `orderflow topology apply`.
    QueueDelete,
    /// PostgreSQL is stopped with `-m immediate`.
    DatabaseStop,
    /// PostgreSQL is killed.
    DatabaseKill,
    /// An operator terminates every connection to PostgreSQL.
    DatabaseTerminate,
    /// A table that every step writes is locked.
    DatabaseLock,
    /// The disk that PostgreSQL writes to is full.
    DatabaseDiskFull,
    /// A connection is cut.
    Cut,
    /// A connection accepts data and carries nothing to the server.
    StallRequests,
    /// A connection carries everything to the server and nothing back.
    StallAnswers,
    /// Connections are reset with an RST.
    Reset,
    /// Connections are closed at the server's end only.
    HalfOpen,
    /// A connection delays everything.
    Latency,
    /// The payment provider is killed.
    ProviderKill,
    /// The payment provider answers half of its requests with 500, without effect.
    ProviderError,
    /// The payment provider carries out half of its requests and answers them with 500.
    ProviderErrorAfter,
    /// The payment provider neither carries out nor answers half of its requests.
    ProviderHang,
    /// The payment provider carries out half of its requests without answering.
    ProviderHangAfter,
    /// The payment provider answers half of its requests with 429.
    ProviderLimit,
    /// The payment provider carries out half of its requests and answers them with garbage.
    ProviderGarbage,
    /// The mail server is killed.
    MailKill,
    /// The mail server refuses half of its clients.
    MailRefuse,
    /// The mail server temporarily refuses half of the mails.
    MailGreylist,
    /// The mail server neither stores nor answers half of the mails.
    MailHang,
    /// The mail server stores half of the mails without answering.
    MailHangAfter,
    /// The mail server stores half of the mails and reports an error for them.
    MailErrorAfter,
    /// The clock of a process of ours is an hour ahead.
    ClockAhead,
    /// The clock of a process of ours is an hour behind.
    ClockBehind,
    /// Events are delivered again, late and in another order.
    Duplicate,
    /// Messages waiting in the work queues are delivered in another order.
    Reorder,
    /// Messages arrive that are not events.
    Garbage,
    /// Messages arrive for events that never happened: payments of declined orders, releases of shipped ones.
    Forgery,
}

impl Kind {
    /// Returns whether --away sets its length.
    pub fn is_absence(self) -> bool {
        matches!(self, Self::OnlyWorkerAway | Self::OnlyFrontEndAway)
    }

    /// Returns why it is impossible on this machine, if it is.
    pub fn is_missing(self) -> Option<&'static str> {
        match self {
            Self::DatabaseDiskFull | Self::BrokerDiskFull if !own::can_mount() => {
                Some("only root can create a small disk for the servers")
            }
            Self::ClockAhead | Self::ClockBehind if program::false_clock().is_none() => {
                Some("the package libfaketime is not installed")
            }
            _ => None,
        }
    }
}

/// One in this many faults lasts ten times as long, up to a minute.
const LONG: u32 = 15;

/// Restricts where faults strike.
#[derive(Debug, Clone, Copy)]
pub struct Focus {
    /// The crash points.
    pub points: &'static [CrashPoint],
    /// The tables to lock.
    pub tables: &'static [&'static str],
    /// Whether faults strike only workers, no front end.
    pub workers: bool,
}

impl Default for Focus {
    fn default() -> Self {
        let tables =
            &["messaging.inbox", "messaging.outbox", "messaging.event_log", "inventory.stock", "orders.orders"];
        Self { points: CrashPoint::ALL, tables, workers: false }
    }
}

/// The consequences of a fault that the checker must know.
#[derive(Debug, Default)]
pub struct Aftermath {
    /// Number of injected messages that belong to no order.
    pub garbage: u32,
    /// Violations, a sentence each.
    pub violations: Vec<String>,
}

/// A fault that each round has once: a kind, and for a crash its point.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    kind: Kind,
    point: Option<CrashPoint>,
}

/// Returns a card for every kind, and for crashes one for every point.
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

/// One fault of the schedule.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The kind of fault.
    pub kind: Kind,
    /// Selects one of the possible targets, modulo their number.
    pub which: usize,
    /// Where a crash happens, and on which pass through that point.
    pub crash: Option<(CrashPoint, u32)>,
    /// Whether it strikes only workers, no front end.
    pub workers: bool,
    /// The table to lock.
    pub table: &'static str,
    /// How long it lasts.
    pub lasts: Duration,
    /// How long to wait before it.
    pub before: Duration,
}

impl Fault {
    /// Draws the fault of this card from the run's seed. It lasts `longest` at most, and an absence exactly `away`.
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

    /// Returns the extra time that the next order may take: customers kept placing orders during an absence, and their
    /// orders come first.
    #[must_use]
    pub fn backlog(&self) -> Duration {
        if self.kind.is_absence() { self.lasts / 4 } else { Duration::ZERO }
    }

    /// Returns its display name.
    #[must_use]
    pub fn name(&self) -> String {
        let value = self.kind.to_possible_value().expect("every kind has a name");
        match self.crash {
            Some((point, _)) => format!("crash-{}", point.as_str()),
            None => value.get_name().to_owned(),
        }
    }
}
