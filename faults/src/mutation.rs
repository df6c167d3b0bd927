//! For each safeguard that a run can leave out, the faults that should reveal it: a check that cannot fail proves
//! nothing.

use orderflow_service::fault::{CrashPoint, Safeguard};

use crate::{
    breakage::{Focus, Kind},
    campaign::Plan,
};

/// Returns a plan whose faults reveal that this safeguard is missing, based on the common plan.
#[must_use]
pub fn against(safeguard: Safeguard, common: &Plan) -> Plan {
    let mut plan = Plan { without: Some(safeguard), ..common.clone() };
    plan.kinds = match safeguard {
        // Messages sent and not accepted when the broker dies.
        Safeguard::Confirm | Safeguard::MarkAfterConfirm => vec![Kind::BrokerSwamped],
        // Events committed and not published.
        Safeguard::Outbox => vec![Kind::BrokerKill],
        // Deliveries acknowledged and not committed.
        Safeguard::AckAfterCommit => vec![Kind::Crash],
        Safeguard::Inbox => vec![Kind::Duplicate],
        Safeguard::IdempotencyKey => vec![Kind::ProviderErrorAfter],
        // Releasing the table lock lets two workers read the stock at the same time.
        Safeguard::StockLock => vec![Kind::DatabaseLock],
        // A cancel overtakes while forward events wait in the outbox.
        Safeguard::Tombstone => vec![Kind::Crash, Kind::BrokerClose],
        Safeguard::EventLogMatch => vec![Kind::Forgery],
    };
    plan.focus = match safeguard {
        Safeguard::AckAfterCommit => Focus { points: &[CrashPoint::BeforeCommit], workers: true, ..Focus::default() },
        Safeguard::StockLock => Focus { tables: &["inventory.stock"], ..Focus::default() },
        Safeguard::Tombstone => Focus { points: &[CrashPoint::AfterCommit], ..Focus::default() },
        _ => Focus::default(),
    };
    if safeguard == Safeguard::StockLock {
        plan.scarce = (70, 5);
    }
    plan
}
