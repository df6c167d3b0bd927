//! Fault injection, only in the builds for fault runs: crashes at a named point, or disables a safeguard.
//!
//! Without the feature `fault-injection` everything here is empty and compiled away. No production build has it:
//! crates/service/build.rs refuses it in optimised builds, and scripts/check_shipped.sh searches the built programs.
//! With the feature, nothing happens either until the environment requests it:
//!
//! - `ORDERFLOW_CRASH=after-commit:7` ends the process, as a power cut would, the seventh time that it reaches that
//!   point;
//! - `ORDERFLOW_WITHOUT=inbox` disables a safeguard, to prove that a check detects its absence;
//! - `ORDERFLOW_NOTE_APPLIED=1` writes every applied event, and every repeat that the inbox recognised, into the table
//!   `faults.applied`, in the same transaction.

/// A point at which a process may crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashPoint {
    /// A provider has answered; the answer is not stored yet.
    AfterAct,
    /// A transaction is complete except for its commit.
    BeforeCommit,
    /// The transaction is committed; nothing is acknowledged or published yet.
    AfterCommit,
    /// A delivery is about to be acknowledged.
    BeforeAck,
    /// The delivery is acknowledged.
    AfterAck,
    /// A message is sent but not confirmed.
    AfterPublish,
    /// The message is confirmed; its outbox row is not deleted yet.
    AfterConfirm,
}

impl CrashPoint {
    /// All crash points.
    pub const ALL: &'static [Self] = &[
        Self::AfterAct,
        Self::BeforeCommit,
        Self::AfterCommit,
        Self::BeforeAck,
        Self::AfterAck,
        Self::AfterPublish,
        Self::AfterConfirm,
    ];

    /// Returns the name in `ORDERFLOW_CRASH`.
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

/// A mechanism that prevents lost or repeated effects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    /// A message counts as published once the broker has confirmed it. Without: once it is sent.
    Confirm,
    /// An outbox row is deleted after the confirm. Without: before.
    MarkAfterConfirm,
    /// A transaction writes its follow-up events into the outbox. Without: they are published from memory only.
    Outbox,
    /// A delivery is acknowledged after the commit. Without: before.
    AckAfterCommit,
    /// An event is applied once per subscription. Without: on every delivery.
    Inbox,
    /// The provider treats all requests for one order's charge as one: they have the same key or payment intent.
    /// Without: each request is a new charge.
    IdempotencyKey,
    /// Stock rows are locked from reading to writing. Without: they are not.
    StockLock,
    /// A cancel that overtakes a reservation leaves a row that prevents it. Without: no row.
    Tombstone,
    /// A message is matched with the event log before it is handled. Without: its content is trusted.
    EventLogMatch,
}

impl Safeguard {
    /// All safeguards.
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

    /// Returns the name in `ORDERFLOW_WITHOUT`.
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

    /// The crash point, and at which visit to crash.
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
            tracing::error!(safeguard = safeguard.as_str(), "a safeguard is disabled, as ORDERFLOW_WITHOUT requests");
        }
        found
    });
    static NOTES: LazyLock<bool> = LazyLock::new(|| env::var_os("ORDERFLOW_NOTE_APPLIED").is_some());

    pub(super) fn crash_here(point: CrashPoint) {
        if let Some((asked, time)) = *CRASH
            && asked == point
            && TIMES.fetch_add(1, Ordering::SeqCst).saturating_add(1) == time
        {
            tracing::error!(point = point.as_str(), time, "crashing here, as ORDERFLOW_CRASH requests");
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

/// Aborts the process if the environment requests a crash at this point and this visit.
#[inline]
pub fn crash_here(point: CrashPoint) {
    asked::crash_here(point);
}

/// Returns whether a safeguard is disabled.
#[inline]
#[must_use]
pub fn without(safeguard: Safeguard) -> bool {
    asked::without(safeguard)
}

/// Returns whether applied events are written into `faults.applied`.
#[inline]
#[must_use]
pub fn notes_applied() -> bool {
    asked::notes_applied()
}
