//! Our users on the broker, and what each may do in the virtual host.

use orderflow_service::broker::names;
use secrecy::SecretString;
use serde::Deserialize;

use super::Management;

/// Who may read what was not handled.
pub(super) const INSPECTOR: &str = "orderflow-inspector";

/// A pattern that matches no name.
const NOTHING: &str = "^$";

/// What a user may do in a virtual host: patterns of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Rights {
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish to.
    pub write: String,
    /// What it may get messages of, and purge.
    pub read: String,
}

/// One of our users, and what it may do in the virtual host.
pub(super) struct User {
    pub(super) name: &'static str,
    pub(super) password: Option<SecretString>,
    pub(super) tags: &'static str,
    pub(super) rights: Rights,
}

impl Management {
    /// Returns our users. Least privilege: nobody but the administrator may declare anything.
    ///
    /// RabbitMQ's right to read a queue is the right to get its messages, acknowledge them, and purge it. So who only
    /// looks may read nothing, and who reads dead letters may read nothing else.
    pub(super) fn users(&self) -> [User; 4] {
        // A service outside these programs has a user of its own.
        let services = orderflow_worker::roster().names().join("|");
        let users = &self.config().users;
        let user = |name, password: &Option<SecretString>, tags, write: &str, read: String| User {
            name,
            password: password.clone(),
            tags,
            rights: Rights { configure: NOTHING.to_owned(), write: write.to_owned(), read },
        };
        let events = format!("^{}$", names::EVENTS.replace('.', "\\."));
        [
            user("orderflow-web", &users.web, "", &events, NOTHING.to_owned()),
            user(
                "orderflow-worker",
                &users.worker,
                "",
                "^orders\\.(events|dlx|return|retry\\..+)$",
                format!("^({services})\\.[a-z0-9-]+$"),
            ),
            // The tag shows queues, rates and connections, whatever the user may read.
            user("orderflow-viewer", &users.viewer, "monitoring", NOTHING, NOTHING.to_owned()),
            user(
                INSPECTOR,
                &users.inspector,
                "monitoring",
                NOTHING,
                // Whatever the service is called, so that a program that does not know it takes nothing away.
                format!("^[a-z][a-z0-9-]+\\.[a-z0-9-]+\\.dlq$|^{}$", names::UNROUTED.replace('.', "\\.")),
            ),
        ]
    }

    /// Returns the names of our users whose rights, as the broker has them, are not what they should be.
    #[must_use]
    pub fn wrongly_permitted(&self, rights: &[(String, Rights)]) -> Vec<&'static str> {
        let is_wrong = |user: &User| rights.iter().any(|(name, rights)| name == user.name && *rights != user.rights);
        self.users().iter().filter(|user| is_wrong(user)).map(|user| user.name).collect()
    }
}
