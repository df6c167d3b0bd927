//! The parts that a shop's own processes fall into: front ends, and one service each.

use std::fmt;

use orderflow_service::{Roster, fault::CrashPoint};
use orderflow_tests::examples::FRAUD_CHECK;

/// Services whose handlers call somebody between taking an event and recording what came of it.
const CALLING: [&str; 3] = ["payment", "shipping", "email"];

/// Services with rows that two of their processes change at once: the order that is folded, the intent that is charged, the stock
/// that is reserved.
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
    /// Whether customers reach it.
    pub fn is_front_end(self) -> bool {
        self == Self::FrontEnd
    }

    /// Whether it consumes from queues.
    pub fn is_service(self) -> bool {
        !self.is_front_end()
    }

    /// Returns how many processes of it a run has: two where they share more than queues, since each costs a small machine memory.
    pub fn processes(self) -> usize {
        match self {
            Self::Service(name) if !SHARED.contains(&name) => 1,
            _ => 2,
        }
    }

    /// Returns what its role of PostgreSQL and its user of RabbitMQ are named after.
    pub fn account(self) -> &'static str {
        match self {
            Self::FrontEnd => "web",
            Self::Service(name) => name,
        }
    }

    /// Whether its processes ever come to this place.
    pub fn reaches(self, point: CrashPoint, roster: &Roster) -> bool {
        // It is written in Python, and no place of it has a name.
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
