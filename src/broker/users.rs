//! Our RabbitMQ users, and what each may do in the virtual host.

use orderflow_service::{Roster, Service, broker::names};
use secrecy::SecretString;
use serde::Deserialize;

use super::Management;

/// The user that may read dead letters and unrouted messages.
pub(super) const INSPECTOR: &str = "orderflow-inspector";

/// The exchanges that workers publish to: for events, retries and dead letters, and back to their own queues.
const WORKERS_WRITE: &str = "^orders\\.(events|dlx|return|retry\\..+)$";

/// The exchanges that operators publish to: replays go through the return exchange to one work queue, events of the
/// outbox to every subscription.
///
/// Also the work queues: RabbitMQ 4.3 answers the passive declaration of a queue, which tells its length, only to users
/// with a right on it (seen with 4.3.6; its management API shows lengths to every monitoring user). Of the three rights,
/// writing allows least: to bind the queue to an exchange that the user may read, which is only that of unrouted events.
/// Reading would allow to consume the queue. Our other exchanges and the built-in ones stay excluded, among them
/// `amq.default`, which reaches every queue.
const OPERATORS_WRITE: &str = "^orders\\.(events|return)$|^(?!amq\\.|orders\\.)[a-z][a-z0-9-]+\\.[a-z0-9-]+$";

/// The front ends' user.
pub(super) const FRONT_ENDS: &str = "orderflow-web";

/// The routing keys that front ends publish: all events of the order service, including future ones.
const ORDER_KINDS: &str = "^order\\..+$";

/// A pattern that matches no name.
const NOTHING: &str = "^$";

/// What a user may do in a virtual host, as patterns of object names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rights {
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to.
    pub write: String,
    /// What it may consume and purge.
    pub read: String,
}

/// What a user may publish to and bind from `orders.events`, as patterns of routing keys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TopicRights {
    /// What it may publish.
    pub write: String,
    /// What it may bind queues with.
    pub read: String,
}

/// What a user may do in a virtual host, and on `orders.events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRights {
    /// Its name.
    pub user: String,
    /// Its rights in the virtual host.
    pub rights: Rights,
    /// Its topic rights on `orders.events`. With `None`, RabbitMQ checks no routing keys.
    pub topics: Option<TopicRights>,
}

/// One of our users, and what it may do in the virtual host.
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: Option<SecretString>,
    pub(super) tags: &'static str,
    pub(super) rights: Rights,
    /// Topic rights, for users that publish events.
    pub(super) topics: Option<TopicRights>,
    /// Its topic rights after `orderflow rights narrow`; `None` for users that the command does not narrow.
    pub(super) narrowed: Option<TopicRights>,
}

impl Management {
    /// Returns our users. Least privilege: only the administrator may declare anything.
    ///
    /// RabbitMQ's right to read a queue is the right to consume its messages, acknowledge them, and purge it. So a user
    /// for viewing may read no queue, and a user that reads dead letters may read nothing else.
    ///
    /// Topic rights are a second defence, behind the event log (docs/SECURITY.md): a service's own user cannot even
    /// publish the events of other services.
    pub(super) fn users(&self, roster: &Roster) -> Vec<User> {
        // A service outside these programs has its own user.
        let services = orderflow_worker::roster().names().join("|");
        let users = &self.config().users;
        let user = |name: &str, password: &Option<SecretString>, tags, write: &str, read: String| User {
            name: name.to_owned(),
            password: password.clone(),
            tags,
            rights: Rights { configure: NOTHING.to_owned(), write: write.to_owned(), read },
            topics: None,
            narrowed: None,
        };
        // Matches every service's name, so that a program that does not know a service takes no right away.
        let dead = format!("^[a-z][a-z0-9-]+\\.[a-z0-9-]+\\.dlq$|^{}$", names::UNROUTED.replace('.', "\\."));
        let events = format!("^{}$", names::EVENTS.replace('.', "\\."));
        let of_service = |service: &Service| {
            let (name, password) = (user_of(service.name), users.services.get(service.name).cloned());
            let read = format!("^{}\\.[a-z0-9-]+$", service.name);
            let topics = TopicRights { write: kinds_of(service), read: NOTHING.to_owned() };
            User { topics: Some(topics), ..user(&name, &password, "", WORKERS_WRITE, read) }
        };
        let mut all = vec![
            // Older front ends publish every due event in the outbox. They must stay able to do so during an upgrade.
            User {
                narrowed: Some(TopicRights { write: ORDER_KINDS.to_owned(), read: NOTHING.to_owned() }),
                ..user(FRONT_ENDS, &users.web, "", &events, NOTHING.to_owned())
            },
            user("orderflow-worker", &users.worker, "", WORKERS_WRITE, format!("^({services})\\.[a-z0-9-]+$")),
            user("orderflow-ops", &users.ops, "monitoring", OPERATORS_WRITE, dead.clone()),
            // The tag lets it see queues, rates and connections, independently of what it may read.
            user("orderflow-viewer", &users.viewer, "monitoring", NOTHING, NOTHING.to_owned()),
            user(INSPECTOR, &users.inspector, "monitoring", NOTHING, dead),
        ];
        all.extend(roster.services().map(of_service));
        all
    }

    /// Returns the names of our users whose rights on the broker differ from what they should be.
    #[must_use]
    pub fn wrongly_permitted(&self, roster: &Roster, found: &[UserRights]) -> Vec<String> {
        let is_wrong = |user: &User| {
            let has = found.iter().find(|one| one.user == user.name);
            has.is_some_and(|has| {
                let topics = [&user.topics, &user.narrowed];
                let is_ours = has.topics == user.topics || has.topics.is_some() && topics.contains(&&has.topics);
                has.rights != user.rights || !is_ours
            })
        };
        self.users(roster).into_iter().filter(is_wrong).map(|user| user.name).collect()
    }
}

/// Returns the name of a service's own user.
#[must_use]
pub fn user_of(service: &str) -> String {
    format!("orderflow-{service}")
}

/// Returns the pattern for the events that a service publishes, including future events of its own.
fn kinds_of(service: &Service) -> String {
    let own = format!("{}\\..+", service.name);
    let listed = service.publishes.iter().filter(|event| !event.is_of(service.name));
    let all: Vec<_> = listed.map(|event| event.as_str().replace('.', "\\.")).chain([own]).collect();
    format!("^({})$", all.join("|"))
}
