//! The list of an installation's services.

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

/// The services of an installation. It determines which queues are consumed, measured and audited.
#[derive(Debug, Clone)]
pub struct Roster {
    services: Vec<Arc<Service>>,
    subscriptions: Vec<Subscription>,
}

/// Why a service cannot be on a roster.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// The name is invalid. Queues, a schema, users and containers are named after the service, so all must accept it.
    #[error(
        "a service is called {0:?}; expected 2 to 30 lower-case letters, digits and hyphens, the first a letter, such as \
         \"gift-cards\""
    )]
    Name(String),
    /// The name is reserved for something else of ours.
    #[error("a service is called {0:?}, which is reserved; choose another name")]
    Reserved(String),
    /// Two services have the same name and would share their queues.
    #[error("two services are called {0:?}; choose another name for one of them")]
    Twice(String),
    /// An event's name does not begin with the service's, so two services could publish the same event type.
    #[error(
        "the service {service:?} publishes {event:?}; its events must begin with its name, as in \"{service}.done\""
    )]
    Event {
        /// The service.
        service: String,
        /// The event that it publishes.
        event: String,
    },
    /// The service would consume nothing.
    #[error("the service {0:?} consumes no event; add `.on(…)` for each handler")]
    TakesNothing(String),
}

/// Names of schemas, users, programs and addresses that no service may have.
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
    /// Returns the roster of these services, in display order.
    #[must_use]
    pub fn new(services: Vec<Service>) -> Self {
        let taken = services.iter().flat_map(|service| service.takes.iter().map(|takes| takes.subscription));
        Self { subscriptions: taken.collect(), services: services.into_iter().map(Arc::new).collect() }
    }

    /// Returns this roster with registered services appended. Skips rows whose name is already on the roster: that
    /// service was compiled in later, or it is this program's own. Skips and logs invalid rows.
    #[must_use]
    pub fn with(&self, registered: &[RegisteredService]) -> Self {
        let mut all = self.clone();
        for row in registered.iter().filter(|row| !self.has(&row.name)) {
            let Some(service) = Service::registered(row) else {
                tracing::warn!(service = row.name, "ignoring a registered service: its row is invalid");
                continue;
            };
            all.subscriptions.extend(service.takes.iter().map(|takes| takes.subscription));
            all.services.push(Arc::new(service));
        }
        all
    }

    /// Returns whether a service with this name is on the roster.
    #[must_use]
    pub fn has(&self, service: &str) -> bool {
        self.services.iter().any(|one| one.name == service)
    }

    /// Returns whether the inbox records the events that this subscription has applied. If not, missing events cannot
    /// be detected.
    #[must_use]
    pub fn is_tracked(&self, subscription: Subscription) -> bool {
        self.services.iter().any(|one| one.name == subscription.service() && one.tracks == Tracks::Inbox)
    }

    /// Checks the names of the services and their events, and that each service consumes something.
    ///
    /// # Errors
    /// Returns the first violation.
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

    /// Returns the services, in display order.
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

    /// Returns every subscription, grouped by service.
    #[must_use]
    pub fn subscriptions(&self) -> &[Subscription] {
        &self.subscriptions
    }

    /// Returns the event types that this subscription consumes: one, or for [`EventName::OTHER`] all types that
    /// services publish and [`EventKind`] does not list.
    #[must_use]
    pub fn events_of(&self, subscription: Subscription) -> Vec<EventName> {
        if subscription.event() != EventName::OTHER {
            return vec![subscription.event()];
        }
        let published = self.services.iter().flat_map(|service| service.publishes.iter().copied());
        published.filter(|event| event.as_str().parse::<EventKind>().is_err()).collect()
    }

    /// Returns the name of the service that owns this event type: the service that publishes it, or else the first part
    /// of the event type. Events that customers cause, such as `order.created`, belong to the order service.
    #[must_use]
    pub fn owner<'e>(&self, event: &'e str) -> &'e str {
        let publishes = |service: &&Arc<Service>| service.publishes.iter().any(|one| one.as_str() == event);
        match self.services.iter().find(publishes) {
            Some(service) => service.name,
            None => event.split('.').next().unwrap_or_default(),
        }
    }

    /// Returns whether a process that consumes these subscriptions runs all services of a shop, rather than some of
    /// them or only added ones.
    #[must_use]
    pub fn is_shop(&self, consumed: &[Subscription]) -> bool {
        consumed.len() == self.subscriptions.len() && !self.steps().is_empty()
    }

    /// Returns the subscriptions that consume the event type with this name: none if no service publishes it.
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

    /// Returns whether no order waits for the queue with this name.
    #[must_use]
    pub fn is_side_queue(&self, queue: &str) -> bool {
        self.is_side(queue.split('.').next().unwrap_or_default())
    }

    /// Returns whether no order waits for the service with this name. This includes services that are not on the
    /// roster.
    #[must_use]
    pub fn is_side(&self, service: &str) -> bool {
        !self.services.iter().any(|one| one.name == service && one.role == Role::Step)
    }

    /// Returns the migrations of the services.
    #[must_use]
    pub fn migrations(&self) -> Vec<MigrationSet> {
        self.services.iter().filter_map(|service| service.migrations).collect()
    }

    /// Returns every setting, in the order in which an operator would set them. `orderflow config` adds the passwords
    /// that set-up assigns for each service.
    pub fn settings(&self) -> impl Iterator<Item = &'static Setting> {
        let shared = config::SHARED.iter().flat_map(|group| group.settings);
        let of_services = self.services.iter().flat_map(|service| service.settings);
        shared.chain(of_services).chain(config::DIAGNOSTICS.settings).chain(config::SET_UP.settings).copied()
    }

    /// Reports every invalid setting to `source`; see [`config::check`].
    pub fn check_settings(&self, source: &Source) {
        config::check(source, |source| self.services.iter().for_each(|service| drop(service.read(source))));
    }

    /// Returns the subscriptions whose queues have these names or match these globs; all subscriptions if there is no
    /// pattern.
    ///
    /// # Errors
    /// Fails if a pattern is malformed or matches nothing, since that is probably a typing error.
    pub fn select(&self, patterns: &[String]) -> Result<Vec<Subscription>, SelectError> {
        select(patterns, &self.subscriptions)
    }

    /// Selects queues for a process, which runs one service or all of them. See [`Roster::select`].
    ///
    /// # Errors
    /// Also fails if the queues belong to several services but not to all.
    pub fn select_for_process(&self, patterns: &[String]) -> Result<Vec<Subscription>, SelectError> {
        let chosen = self.select(patterns)?;
        check_process(&chosen, &self.subscriptions)?;
        Ok(chosen)
    }
}

/// Checks that a service can have this name.
///
/// # Errors
/// Returns [`RosterError::Name`] or [`RosterError::Reserved`].
pub fn check_name(name: &str) -> Result<(), RosterError> {
    if !is_name(name) {
        return Err(RosterError::Name(name.to_owned()));
    }
    if RESERVED.contains(&name) {
        return Err(RosterError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// Returns whether RabbitMQ, PostgreSQL (63 bytes), Docker and Kubernetes (63) accept the name, as it is or with `_`
/// for the hyphen, including the suffixes that we append.
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
    fn invalid_and_reserved_names_are_refused() {
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
    fn duplicate_names_and_services_without_events_are_refused() {
        let twice = Roster::new(vec![step("loyalty"), step("loyalty")]);
        assert_eq!(twice.check(), Err(RosterError::Twice("loyalty".to_owned())));
        let idle = Service::side("loyalty", "Does nothing.").needs::<()>().done();
        assert_eq!(Roster::new(vec![idle]).check(), Err(RosterError::TakesNothing("loyalty".to_owned())));
    }

    #[test]
    fn new_event_must_begin_with_the_name_of_its_service() {
        const DONE: EventName = EventName::new("loyalty.done");
        let publishing = |name| {
            Service::side(name, "Does nothing.").publishes(&[DONE]).needs::<()>().on("nothing", |()| Nothing).done()
        };
        assert_eq!(Roster::new(vec![publishing("loyalty")]).check(), Ok(()));
        let wrong = RosterError::Event { service: "loyal".to_owned(), event: "loyalty.done".to_owned() };
        assert_eq!(Roster::new(vec![publishing("loyal")]).check(), Err(wrong));
    }

    #[test]
    fn registered_services_follow_our_own_and_never_replace_one() {
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
    fn second_handler_for_an_event_type_replaces_the_first() {
        let service = Service::side("loyalty", "Does nothing.").needs::<()>();
        let service = service.on("first", |()| Nothing).on("second", |()| Nothing).done();
        assert_eq!(service.takes.iter().map(|one| one.what).collect::<Vec<_>>(), ["second"]);
    }

    #[test]
    fn orders_wait_only_for_steps() {
        let side = Service::side("loyalty", "Does nothing.").needs::<()>().on("nothing", |()| Nothing).done();
        let roster = Roster::new(vec![step("payment"), side]);
        assert_eq!(roster.steps(), ["payment.order-created"]);
        assert!(roster.is_side("loyalty") && roster.is_side("unknown") && !roster.is_side("payment"));
    }
}
