//! All rules by name. Rules that are one condition on a service's rows are in [`store::audit`](crate::store::audit).

use orderflow_service::audit::{FILE_IT, ORPHAN, Rule};

use crate::store::audit::{KEYS, checks};

/// The log has events of an order that does not exist.
pub const LOG_ORPHAN: Rule = Rule { name: "log-orphan", remedy: ORPHAN };
/// The log's versions are not 1 to n.
pub const LOG_GAP: Rule = Rule {
    name: "log-gap",
    remedy: "rows of messaging.event_log were deleted: look for them in a backup; `orderflow why ORDER` shows what is left",
};
/// An event is not allowed at its position in the log.
pub const ILLEGAL_STEP: Rule = Rule { name: "illegal-step", remedy: FILE_IT };
/// A step was taken twice.
pub const TWICE: Rule = Rule { name: "twice", remedy: FILE_IT };
/// Two events exclude each other.
pub const CONTRADICTION: Rule = Rule { name: "contradiction", remedy: FILE_IT };
/// The cause of an event is not an earlier event.
pub const CAUSE: Rule = Rule { name: "cause", remedy: FILE_IT };
/// The order's row contradicts its log.
pub const STATUS: Rule = Rule { name: "status", remedy: FILE_IT };
/// An order is not settled, and nothing will move it.
pub const STUCK: Rule = Rule {
    name: "stuck",
    remedy: "nothing will move it any more: `orderflow why ORDER` shows where it stands; settle by hand what its customer is \
             owed",
};
/// An event is not applied, nor anywhere that the database knows.
pub const UNAPPLIED: Rule = Rule {
    name: "unapplied",
    remedy: "is a worker running for that queue, and is its provider up? `orderflow doctor` says; if they are, \
             `orderflow republish --missing --since 30d` republishes what was lost on the way",
};
/// An event is not published.
pub const UNPUBLISHED: Rule = Rule {
    name: "unpublished",
    remedy: "is RabbitMQ up, and is a front end or a worker running that reaches it? `orderflow doctor` says",
};
/// A product's stock is not the sum of its movements.
pub const STOCK_SUM: Rule = Rule {
    name: "stock-sum",
    remedy: "count the pieces, make that many orderable with `orderflow stock set`, and file this line",
};
/// A product's stock is below zero.
pub const STOCK_BELOW_ZERO: Rule = Rule {
    name: "stock-below-zero",
    remedy: "more was promised than there is: buy what is missing or cancel orders, then `orderflow stock set`, and file this \
             line",
};

/// The rules that are checked for every order.
const OF_ORDERS: [Rule; 10] =
    [LOG_ORPHAN, LOG_GAP, ILLEGAL_STEP, TWICE, CONTRADICTION, CAUSE, STATUS, STUCK, UNAPPLIED, UNPUBLISHED];

/// Returns the names of all rules, in the order of checking.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let of_services = checks().map(|check| check.rule);
    let of_products = [STOCK_SUM, STOCK_BELOW_ZERO];
    OF_ORDERS.into_iter().chain(of_services).chain(KEYS).chain(of_products).map(|rule| rule.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_names_are_unique() {
        let (mut names, all) = (names(), names().len());
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
