//! The services of an installation, each once.

use std::{collections::BTreeSet, sync::Arc};

use orderflow_events::{EventKind, EventName};

use crate::{
    Subscription,
    config::{self, Setting, Source},
    selection::{SelectError, check_process, select},
    service::{Role, Service},
    store::{
        migrations::MigrationSet,
        registered::{RegisteredService, Tracks},
    },
};

/// The services of an installation. What there is to consume, to measure, to audit follows from it.
#[derive(Debug, Clone)]
pub struct Roster {
    services: Vec<Arc<Service>>,
    subscriptions: Vec<Subscription>,
}

/// A service that cannot be on a roster.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Queues, a schema, users and containers are named after it, so it has to be usable in all of their names.
    #[error(
        "a service is called {0:?}; expected 2 to 30 lower-case letters, digits and hyphens, the first a letter, such as \
         \"gift-cards\""
    )]
    Name(String),
    /// Something else of ours is named so.
    #[error("a service is called {0:?}, which is reserved; choose another name")]
    Reserved(String),
    /// Two would share their queues.
    #[error("two services are called {0:?}; choose another name for one of them")]
    Twice(String),
    /// Two services could publish the same.
    #[error(
        "the service {service:?} publishes {event:?}; its events have to begin with its name, as in \"{service}.done\""
    )]
    Event {
        /// Which service.
        service: String,
        /// What it publishes.
        event: String,
    },
    /// It would consume nothing.
    #[error("the service {0:?} takes no event; add `.on(…)` for each handler")]
    TakesNothing(String),
}

/// Schemas, users, programs and addresses that are not a service's.
const RESERVED: &[&str] = &[
    "admin",
    "audit",
    "catalogue",
    "console",
    "faults",
    "inspector",
    "messaging",
    "operations",
    "operator",
    "ops",
    "orderflow",
    "orders",
    "public",
    "readonly",
    "setup",
    "simulator",
    "viewer",
    "web",
    "worker",
];

impl Roster {
    /// Returns the roster of these services, in the order in which people see them.
    #[must_use]
    pub fn new(services: Vec<Service>) -> Self {
        let taken = services.iter().flat_map(|service| service.takes.iter().map(|takes| takes.subscription));
        Self { subscriptions: taken.collect(), services: services.into_iter().map(Arc::new).collect() }
    }

    /// Returns this roster with the services that run outside these programs after its own. A row with the name of a
    /// service that is on the roster is left out: a service that was compiled in later, or the program's own. One that
    /// cannot be used is left out and logged.
    #[must_use]
    pub fn with(&self, registered: &[RegisteredService]) -> Self {
        let mut all = self.clone();
        for row in registered.iter().filter(|row| !self.has(&row.name)) {
            let Some(service) = Service::registered(row) else {
                tracing::warn!(service = row.name, "a registered service is left out: its row is wrong");
                continue;
            };
            all.subscriptions.extend(service.takes.iter().map(|takes| takes.subscription));
            all.services.push(Arc::new(service));
        }
        all
    }

    /// Whether a service with this name is on the roster.
    #[must_use]
    pub fn has(&self, service: &str) -> bool {
        self.services.iter().any(|one| one.name == service)
    }

    /// Whether one sees in the inbox what this subscription has applied. Where not, nobody can tell what it misses.
    #[must_use]
    pub fn is_tracked(&self, subscription: Subscription) -> bool {
        self.services.iter().any(|one| one.name == subscription.service() && one.tracks == Tracks::Inbox)
    }

    /// Checks the services' names, and that each takes something.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), RosterError> {
        let mut names = BTreeSet::new();
        for service in &self.services {
            let Service { name, takes, publishes, .. } = &**service;
            check_name(name)?;
            let of_others = |event: &&EventName| event.as_str().parse::<EventKind>().is_err() && !event.is_of(name);
            if let Some(event) = publishes.iter().find(of_others) {
                return Err(RosterError::Event { service: (*name).to_owned(), event: event.to_string() });
            }
            if !names.insert(*name) {
                return Err(RosterError::Twice((*name).to_owned()));
            }
            if takes.is_empty() {
                return Err(RosterError::TakesNothing((*name).to_owned()));
            }
        }
        Ok(())
    }

    /// Returns the services, in the order in which people see them.
    pub fn services(&self) -> impl Iterator<Item = &Service> + Clone {
        self.services.iter().map(|service| &**service)
    }

    /// Returns the names of the services, in alphabetical order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.services.iter().map(|service| service.name).collect();
        names.sort_unstable();
        names
    }

    /// Returns every subscription, those of one service together.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Returns the kinds of event that this subscription takes: one, or for [`EventName::OTHER`] all kinds that
    /// services publish and [`EventKind`] does not list.
    #[must_use]
    pub fn events_of(&self, subscription: Subscription) -> Vec<EventName> {
        if subscription.event() != EventName::OTHER {
            return vec![subscription.event()];
        }
        let published = self.services.iter().flat_map(|service| service.publishes.iter().copied());
        published.filter(|event| event.as_str().parse::<EventKind>().is_err()).collect()
    }

    /// Returns the name of the service that events of this kind belong to: the one that publishes it, or else the one
    /// that the kind begins with. What customers say, `order.created` for example, is the order service's.
    #[must_use]
    pub fn owner<'e>(&self, event: &'e str) -> &'e str {
        let publishes = |service: &&Arc<Service>| service.publishes.iter().any(|one| one.as_str() == event);
        match self.services.iter().find(publishes) {
            Some(service) => service.name,
            None => event.split('.').next().unwrap_or_default(),
        }
    }

    /// Whether a process that consumes these runs all services of a shop, and not some, or some that were added to one.
    #[must_use]
    pub fn is_shop(&self, consumed: &[Subscription]) -> bool {
        consumed.len() == self.subscriptions.len() && !self.steps().is_empty()
    }

    /// Returns the subscriptions that take events of the kind with this name: none for one that no service publishes.
    #[must_use]
    pub fn takers(&self, event: &str) -> Vec<Subscription> {
        let takes = |one: &Subscription| self.events_of(*one).iter().any(|taken| taken.as_str() == event);
        self.subscriptions.iter().copied().filter(takes).collect()
    }

    /// Returns the subscription whose work queue has this name.
    #[must_use]
    pub fn of_queue(&self, name: &str) -> Option<Subscription> {
        self.subscriptions.iter().copied().find(|subscription| subscription.queue() == name)
    }

    /// Returns the names of the queues that orders wait for.
    #[must_use]
    pub fn steps(&self) -> Vec<String> {
        let steps = self.services.iter().filter(|service| service.role == Role::Step);
        steps.flat_map(|service| &service.takes).map(|takes| takes.subscription.queue()).collect()
    }

    /// Whether no order waits for the queue with this name.
    #[must_use]
    pub fn is_side_queue(&self, queue: &str) -> bool {
        self.is_side(queue.split('.').next().unwrap_or_default())
    }

    /// Whether no order waits for the service with this name. One that is not on the roster counts as such.
    #[must_use]
    pub fn is_side(&self, service: &str) -> bool {
        !self.services.iter().any(|one| one.name == service && one.role == Role::Step)
    }

    /// Returns the migrations that services bring.
    #[must_use]
    pub fn migrations(&self) -> Vec<MigrationSet> {
        self.services.iter().filter_map(|service| service.migrations).collect()
    }

    /// Returns every setting there is, in the order in which a person would set them.
    pub fn settings(&self) -> impl Iterator<Item = &'static Setting> {
        let of_services = self.services.iter().flat_map(|service| service.settings);
        config::SHARED.iter().chain(of_services).chain(config::DIAGNOSTICS).copied()
    }

    /// Notes every setting that is given and cannot work, see [`config::check`].
    pub fn check_settings(&self, source: &Source) {
        config::check(source, |source| self.services.iter().for_each(|service| drop(service.read(source))));
    }

    /// Returns the subscriptions whose queues have these names, or match these globs; all of them where there is no
    /// pattern.
    ///
    /// # Errors
    /// When a pattern is malformed or matches nothing, since that is a typing error.
    pub fn select(&self, patterns: &[String]) -> Result<Vec<Subscription>, SelectError> {
        select(patterns, &self.subscriptions)
    }

    /// As [`Roster::select`], for a process, which works for one service or for all.
    ///
    /// # Errors
    /// Also when the queues are of some services, but not of all.
    pub fn select_for_process(&self, patterns: &[String]) -> Result<Vec<Subscription>, SelectError> {
        let chosen = self.select(patterns)?;
        check_process(&chosen, &self.subscriptions)?;
        Ok(chosen)
    }
}

/// Checks that a service can have this name.
///
/// # Errors
/// What is wrong with it.
pub fn check_name(name: &str) -> Result<(), RosterError> {
    if !is_name(name) {
        return Err(RosterError::Name(name.to_owned()));
    }
    if RESERVED.contains(&name) {
        return Err(RosterError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// RabbitMQ, PostgreSQL (63 bytes), Docker and Kubernetes (63) take such a name as it is or with `_` for the hyphen,
/// also with what is appended to it.
fn is_name(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first.is_ascii_lowercase())
        && (2..=30).contains(&name.len())
        && characters.all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == '-')
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use orderflow_events::{NewEvent, OrderCreated};

    use super::*;
    use crate::{
        handler::{Done, TransactionalHandler},
        store::{Connection, StoreError},
    };

    struct Nothing;

    impl TransactionalHandler for Nothing {
        type Event = OrderCreated;

        async fn record(
            &self,
            _: &mut Connection,
            _: &[Arc<Done<OrderCreated, ()>>],
        ) -> Result<Vec<NewEvent>, StoreError> {
            Ok(Vec::new())
        }
    }

    fn step(name: &'static str) -> Service {
        Service::step(name, "Does nothing.").needs::<()>().on("nothing", |()| Nothing).done()
    }

    #[test]
    fn names_that_cannot_name_everything_are_refused() {
        let check = |name| Roster::new(vec![step(name)]).check();
        for name in ["loyalty", "gift-cards", "ab", "a23456789012345678901234567890"] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in
            ["", "a", "Loyalty", "2loyalty", "-a", "gift_cards", "gift.cards", "a234567890123456789012345678901"]
        {
            assert_eq!(check(name), Err(RosterError::Name(name.to_owned())), "{name}");
        }
        assert_eq!(check("orders"), Err(RosterError::Reserved("orders".to_owned())));
    }

    #[test]
    fn two_services_cannot_share_a_name_and_one_without_events_is_no_service() {
        let twice = Roster::new(vec![step("loyalty"), step("loyalty")]);
        assert_eq!(twice.check(), Err(RosterError::Twice("loyalty".to_owned())));
        let idle = Service::side("loyalty", "Does nothing.").needs::<()>().done();
        assert_eq!(Roster::new(vec![idle]).check(), Err(RosterError::TakesNothing("loyalty".to_owned())));
    }

    #[test]
    fn events_that_are_new_begin_with_their_services_name() {
        const DONE: EventName = EventName::new("loyalty.done");
        let publishing = |name| {
            Service::side(name, "Does nothing.").publishes(&[DONE]).needs::<()>().on("nothing", |()| Nothing).done()
        };
        assert_eq!(Roster::new(vec![publishing("loyalty")]).check(), Ok(()));
        let wrong = RosterError::Event { service: "loyal".to_owned(), event: "loyalty.done".to_owned() };
        assert_eq!(Roster::new(vec![publishing("loyal")]).check(), Err(wrong));
    }

    #[test]
    fn registered_services_follow_our_own_and_never_take_a_name_of_ours() {
        let row = |name: &str, takes: &str, tracks| RegisteredService {
            name: name.to_owned(),
            tracks,
            takes: vec![takes.to_owned()],
            publishes: vec![format!("{name}.done")],
        };
        let ours = Roster::new(vec![Service::step("order", "Folds.").needs::<()>().on("nothing", |()| Nothing).done()]);
        let other = Subscription::to("order", EventName::OTHER);
        assert!(ours.events_of(other).is_empty());
        let all = ours.with(&[
            row("loyalty", "order.created", Tracks::Inbox),
            row("order", "order.created", Tracks::Inbox),
            row("watcher", "loyalty.done", Tracks::Nothing),
            row("broken", "no event", Tracks::Inbox),
        ]);
        assert_eq!(all.names(), ["loyalty", "order", "watcher"]);
        assert_eq!(
            all.events_of(other).iter().map(|event| event.as_str()).collect::<Vec<_>>(),
            ["loyalty.done", "watcher.done"]
        );
        let takers: Vec<_> = all.takers("loyalty.done").into_iter().map(Subscription::queue).collect();
        assert_eq!(takers, ["watcher.loyalty-done"]);
        assert!(all.is_side("loyalty") && all.steps() == ["order.order-created"]);
        let tracked = |queue: &str| all.of_queue(queue).is_some_and(|one| all.is_tracked(one));
        assert!(tracked("loyalty.order-created") && !tracked("watcher.loyalty-done"));
    }

    #[test]
    fn second_handler_for_one_kind_replaces_the_first() {
        let service = Service::side("loyalty", "Does nothing.").needs::<()>();
        let service = service.on("first", |()| Nothing).on("second", |()| Nothing).done();
        assert_eq!(service.takes.iter().map(|one| one.what).collect::<Vec<_>>(), ["second"]);
    }

    #[test]
    fn only_steps_are_waited_for() {
        let side = Service::side("loyalty", "Does nothing.").needs::<()>().on("nothing", |()| Nothing).done();
        let roster = Roster::new(vec![step("payment"), side]);
        assert_eq!(roster.steps(), ["payment.order-created"]);
        assert!(roster.is_side("loyalty") && roster.is_side("unknown") && !roster.is_side("payment"));
    }
}
