//! A check counts only if it can fail: each safeguard left out, with the faults that should show it.

use orderflow_service::fault::{CrashPoint, Safeguard};

use crate::{
    breakage::{Focus, Kind},
    campaign::Plan,
};

/// The plan that shows what a safeguard is there against, made from one for all.
#[must_use]
pub fn against(safeguard: Safeguard, common: &Plan) -> Plan {
    let mut plan = Plan { without: Some(safeguard), ..common.clone() };
    plan.kinds = match safeguard {
        // What was sent and not taken, when the broker died.
        Safeguard::Confirm | Safeguard::MarkAfterConfirm => vec![Kind::BrokerSwamped],
        // What was committed and could not be sent.
        Safeguard::Outbox => vec![Kind::BrokerKill],
        // What was acknowledged and not committed.
        Safeguard::AckAfterCommit => vec![Kind::Crash],
        Safeguard::Inbox => vec![Kind::Duplicate],
        Safeguard::IdempotencyKey => vec![Kind::ProviderErrorAfter],
        // Two workers that look at the stock at the same moment: when it is unlocked.
        Safeguard::StockLock => vec![Kind::DatabaseLock],
        // A cancel that overtakes: what the other way goes waits in the outbox.
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
