//! Selects the queues that a process consumes, by `--queue`.

use std::collections::BTreeSet;

use globset::{Glob, GlobSetBuilder};

use crate::Subscription;

/// Why `--queue` is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The pattern is not a glob.
    #[error("--queue {0:?} is neither a queue's name nor a pattern such as 'payment.*'")]
    Malformed(String),
    /// The pattern matches no queue.
    #[error("--queue {pattern:?} matches no queue; there are: {}", known.join(", "))]
    NoMatch {
        /// The given pattern.
        pattern: String,
        /// The names of all queues.
        known: Vec<String>,
    },
    /// The queues belong to several services but not to all.
    #[error(
        "--queue selects queues of {}: a process runs one service, or all of them, since each service has its own rights. \
         Start one process per service, or omit --queue", services.join(" and ")
    )]
    SomeServices {
        /// The services.
        services: Vec<&'static str>,
    },
}

/// Checks that these queues belong to one service, or to every service among `all`.
///
/// No PostgreSQL role and no RabbitMQ user has the rights of several services but not of all.
///
/// # Errors
/// Returns [`SelectError::SomeServices`].
pub fn check_process(chosen: &[Subscription], all: &[Subscription]) -> Result<(), SelectError> {
    let services = |of: &[Subscription]| of.iter().map(|one| one.service()).collect::<BTreeSet<_>>();
    let (chosen, all) = (services(chosen), services(all));
    if chosen.len() <= 1 || chosen == all {
        return Ok(());
    }
    Err(SelectError::SomeServices { services: chosen.into_iter().collect() })
}

/// Returns the subscriptions among `all` whose queues have these names or match these globs; all of them if there is no
/// pattern.
///
/// # Errors
/// Fails if a pattern is malformed or matches nothing, since that is probably a typing error.
pub fn select(patterns: &[String], all: &[Subscription]) -> Result<Vec<Subscription>, SelectError> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = Glob::new(pattern).map_err(|_| SelectError::Malformed(pattern.clone()))?;
        let matcher = glob.compile_matcher();
        if !all.iter().any(|subscription| matcher.is_match(subscription.queue())) {
            let known = all.iter().map(|subscription| subscription.queue()).collect();
            return Err(SelectError::NoMatch { pattern: pattern.clone(), known });
        }
        set.add(glob);
    }
    let set = set.build().map_err(|error| SelectError::Malformed(error.to_string()))?;
    let chosen = |subscription: &Subscription| patterns.is_empty() || set.is_match(subscription.queue());
    Ok(all.iter().copied().filter(chosen).collect())
}

#[cfg(test)]
mod tests {
    use orderflow_events::EventKind;

    use super::*;

    const ALL: [Subscription; 4] = [
        Subscription::new("payment", EventKind::OrderCreated),
        Subscription::new("payment", EventKind::InventoryReleased),
        Subscription::new("email", EventKind::OrderCreated),
        Subscription::new("email", EventKind::PaymentFailed),
    ];

    fn selected(patterns: &[&str]) -> Result<Vec<String>, SelectError> {
        let patterns: Vec<_> = patterns.iter().map(ToString::to_string).collect();
        Ok(select(&patterns, &ALL)?.into_iter().map(Subscription::queue).collect())
    }

    #[test]
    fn names_and_globs_choose_queues_and_none_chooses_all() {
        let of_payment = ["payment.order-created", "payment.inventory-released"];
        assert_eq!(selected(&["payment.*"]), Ok(of_payment.map(str::to_owned).to_vec()));
        let two = selected(&["payment.order-created", "email.p*"]);
        assert_eq!(two, Ok(vec!["payment.order-created".to_owned(), "email.payment-failed".to_owned()]));
        assert_eq!(selected(&[]).map(|all| all.len()), Ok(ALL.len()));
    }

    #[test]
    fn process_works_for_one_service_or_for_all() {
        let third = Subscription::new("inventory", EventKind::PaymentCompleted);
        let all = [ALL.as_slice(), &[third]].concat();
        assert_eq!(check_process(&ALL[..2], &all), Ok(()), "one service");
        assert_eq!(check_process(&[ALL[0], ALL[2], third], &all), Ok(()), "all services, though not every queue");
        let refused = check_process(&ALL, &all).expect_err("two of three services").to_string();
        assert!(refused.starts_with("--queue selects queues of email and payment: "), "{refused}");
    }

    #[test]
    fn pattern_that_matches_no_queue_is_refused() {
        assert!(matches!(selected(&["payments.*"]), Err(SelectError::NoMatch { .. })));
        assert!(matches!(selected(&["payment.["]), Err(SelectError::Malformed(_))));
    }
}
