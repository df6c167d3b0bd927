//! The components of a shop's processes: the front ends, and each service.

use std::fmt;

use orderflow_service::{Roster, fault::CrashPoint};
use orderflow_tests::examples::FRAUD_CHECK;

/// Services whose handlers call a provider before they record the effect.
const CALLING: [&str; 3] = ["payment", "shipping", "email"];

/// Services with rows that two of their processes may change concurrently: the folded order, the charged intent, the
/// reserved stock.
const SHARED: [&str; 3] = ["order", "payment", "inventory"];

/// What a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Component {
    /// The shop's pages and its API.
    FrontEnd,
    /// The worker of the service with this name.
    Service(&'static str),
}

impl Component {
    /// Returns whether customers connect to it.
    pub fn is_front_end(self) -> bool {
        self == Self::FrontEnd
    }

    /// Returns whether it consumes queues.
    pub fn is_service(self) -> bool {
        !self.is_front_end()
    }

    /// Returns its number of processes in a run: one for services whose processes share no rows, to save memory,
    /// otherwise two.
    pub fn processes(self) -> usize {
        match self {
            Self::Service(name) if !SHARED.contains(&name) => 1,
            _ => 2,
        }
    }

    /// Returns the name in its PostgreSQL role and RabbitMQ user.
    pub fn account(self) -> &'static str {
        match self {
            Self::FrontEnd => "web",
            Self::Service(name) => name,
        }
    }

    /// Returns whether its processes ever reach this point.
    pub fn reaches(self, point: CrashPoint, roster: &Roster) -> bool {
        // It is written in Python and has no crash points.
        if self == Self::Service(FRAUD_CHECK.name) {
            return false;
        }
        let service = match self {
            Self::FrontEnd => None,
            Self::Service(name) => Some(name),
        };
        match point {
            CrashPoint::BeforeCommit | CrashPoint::AfterCommit => true,
            CrashPoint::BeforeAck | CrashPoint::AfterAck => service.is_some(),
            CrashPoint::AfterAct => service.is_some_and(|name| CALLING.contains(&name)),
            CrashPoint::AfterPublish | CrashPoint::AfterConfirm => {
                service.is_none_or(|name| roster.services().any(|one| one.name == name && !one.publishes.is_empty()))
            }
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrontEnd => formatter.write_str("front ends"),
            Self::Service(name) => formatter.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use orderflow_worker::roster;

    use super::*;

    #[test]
    fn processes_crash_only_where_they_pass() {
        let reach = |point| {
            let services = roster().names().into_iter().map(Component::Service);
            let all = [Component::FrontEnd].into_iter().chain(services);
            all.filter(|one| one.reaches(point, roster())).map(Component::account).collect::<Vec<_>>()
        };
        assert_eq!(reach(CrashPoint::AfterCommit), ["web", "email", "inventory", "order", "payment", "shipping"]);
        assert_eq!(reach(CrashPoint::AfterAck), ["email", "inventory", "order", "payment", "shipping"]);
        assert_eq!(reach(CrashPoint::AfterAct), ["email", "payment", "shipping"]);
        assert_eq!(reach(CrashPoint::AfterConfirm), ["web", "inventory", "order", "payment", "shipping"]);
    }

    #[test]
    fn every_service_has_a_process_and_payment_has_two() {
        let processes = |name| Component::Service(name).processes();
        assert!(roster().names().into_iter().all(|name| processes(name) >= 1));
        assert_eq!((processes("payment"), processes("email"), Component::FrontEnd.processes()), (2, 1, 2));
    }
}
