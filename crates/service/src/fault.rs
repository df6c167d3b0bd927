//! Faults on request, for the fault runs and in their builds only: a crash at a named place, or a safeguard left out.
//!
//! Without the feature `fault-injection` everything here is empty and compiled away. No build for production has it: crates/service/build.rs
//! refuses it in optimised builds, and scripts/check_shipped.sh searches the built programs.
//! With it nothing happens either, until the environment asks for it:
//!
//! - `ORDERFLOW_CRASH=after-commit:7` ends the process, as a power cut would, when it is at that place the seventh time;
//! - `ORDERFLOW_WITHOUT=inbox` leaves a safeguard out, so that a checker can be seen to find out;
//! - `ORDERFLOW_NOTE_APPLIED=1` writes every applied event into the table `faults.applied`, and every one
//!   that the inbox recognised, in the same transaction.

/// A place at which a process may die.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// A provider has answered, and nothing of that is written down yet.
    AfterAct,
    /// A transaction is complete but for its commit.
    BeforeCommit,
    /// It is committed, and nobody was told.
    AfterCommit,
    /// A delivery is about to be acknowledged.
    BeforeAck,
    /// It is acknowledged.
    AfterAck,
    /// A message is on the wire, and not confirmed.
    AfterPublish,
    /// It is confirmed, and its outbox row is still there.
    AfterConfirm,
}

impl CrashPoint {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::AfterAct,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeAck,
        Self::AfterAck,
        Self::AfterPublish,
        Self::AfterConfirm,
    ];

    /// Its name in `ORDERFLOW_CRASH`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AfterAct => "after-act",
            Self::BeforeCommit => "before-commit",
            Self::AfterCommit => "after-commit",
            Self::BeforeAck => "before-ack",
            Self::AfterAck => "after-ack",
            Self::AfterPublish => "after-publish",
            Self::AfterConfirm => "after-confirm",
        }
    }
}

/// Something that keeps orders from being lost or done twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// A message counts as published when the broker has confirmed it. Without: when it was sent.
    Confirm,
    /// An outbox row is deleted after the confirm. Without: before.
    MarkAfterConfirm,
    /// What follows from a transaction is an outbox row of it. Without: it is only published from memory.
    Outbox,
    /// A delivery is acknowledged after the commit. Without: before.
    AckAfterCommit,
    /// An event is applied once per subscription. Without: whenever it arrives.
    Inbox,
    /// All requests for one order's charge are one to the provider, by the same key or the same payment intent. Without:
    /// each is its own.
    IdempotencyKey,
    /// Stock is locked from looking to writing. Without: it is not.
    StockLock,
    /// A cancel that overtakes a reservation leaves a row that keeps it from being made. Without: no row.
    Tombstone,
    /// A message is matched with the event log before anything is done about it. Without: it is believed.
    EventLogMatch,
}

impl Safeguard {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Confirm,
        Self::MarkAfterConfirm,
        Self::Outbox,
        Self::AckAfterCommit,
        Self::Inbox,
        Self::IdempotencyKey,
        Self::StockLock,
        Self::Tombstone,
        Self::EventLogMatch,
    ];

    /// Its name in `ORDERFLOW_WITHOUT`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::MarkAfterConfirm => "mark-after-confirm",
            Self::Outbox => "outbox",
            Self::AckAfterCommit => "ack-after-commit",
            Self::Inbox => "inbox",
            Self::IdempotencyKey => "idempotency-key",
            Self::StockLock => "stock-lock",
            Self::Tombstone => "tombstone",
            Self::EventLogMatch => "event-log-match",
        }
    }
}

#[cfg(not(feature = "fault-injection"))]
mod asked {
    use super::{CrashPoint, Safeguard};

    pub(super) const fn crash_here(_: CrashPoint) {}

    pub(super) const fn without(_: Safeguard) -> bool {
        false
    }

    pub(super) const fn notes_applied() -> bool {
        false
    }
}

#[cfg(feature = "fault-injection")]
mod asked {
    use std::{
        env,
        sync::{
            LazyLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    use super::{CrashPoint, Safeguard};

    /// Where, and at which time.
    static CRASH: LazyLock<Option<(CrashPoint, u32)>> = LazyLock::new(|| {
        let asked = env::var("ORDERFLOW_CRASH").ok()?;
        let (point, time) = asked.split_once(':').unwrap_or((&asked, "1"));
        let point = CrashPoint::ALL.iter().copied().find(|one| one.as_str() == point)?;
        Some((point, time.parse().ok()?))
    });
    static TIMES: AtomicU32 = AtomicU32::new(0);
    static WITHOUT: LazyLock<Option<Safeguard>> = LazyLock::new(|| {
        let asked = env::var("ORDERFLOW_WITHOUT").ok()?;
        let found = Safeguard::ALL.iter().copied().find(|one| one.as_str() == asked);
        if let Some(safeguard) = found {
            tracing::error!(safeguard = safeguard.as_str(), "a safeguard is left out, as ORDERFLOW_WITHOUT asks");
        }
        found
    });
    static NOTES: LazyLock<bool> = LazyLock::new(|| env::var_os("ORDERFLOW_NOTE_APPLIED").is_some());

    pub(super) fn crash_here(point: CrashPoint) {
        if let Some((asked, time)) = *CRASH
            && asked == point
            && TIMES.fetch_add(1, Ordering::SeqCst).saturating_add(1) == time
        {
            tracing::error!(point = point.as_str(), time, "ending here, as ORDERFLOW_CRASH asks");
            std::process::abort();
        }
    }

    pub(super) fn without(safeguard: Safeguard) -> bool {
        *WITHOUT == Some(safeguard)
    }

    pub(super) fn notes_applied() -> bool {
        *NOTES
    }
}

/// Ends the process if that was asked for, at this place and this time.
#[inline]
pub fn crash_here(point: CrashPoint) {
    asked::crash_here(point);
}

/// Whether a safeguard is to be left out.
#[inline]
#[must_use]
pub fn without(safeguard: Safeguard) -> bool {
    asked::without(safeguard)
}

/// Whether applied events are to be written into `faults.applied`.
#[inline]
#[must_use]
pub fn notes_applied() -> bool {
    asked::notes_applied()
}
