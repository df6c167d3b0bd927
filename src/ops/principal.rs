//! Who does something, for the list of what was done.

use orderflow_service::{
    config::Role,
    store::{Connection, StoreError},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::store::actions::{self, NewAction, Outcome};

/// What can be done that is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A product's stock was set.
    SetStock,
    /// Dead letters were sent again.
    Replay,
    /// Dead letters were thrown away.
    Discard,
    /// Events were sent again that subscriptions never got.
    Republish,
    /// The history of finished orders was moved to the archive.
    Archive,
    /// A service that runs outside these programs was registered.
    RegisterService,
    /// Such a service was removed.
    RemoveService,
    /// Somebody opened the console with their token.
    LogIn,
    /// Somebody ended their session.
    LogOut,
}

impl What {
    /// As the list has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SetStock => "stock.set",
            Self::Replay => "dead-letters.replay",
            Self::Discard => "dead-letters.discard",
            Self::Republish => "events.republish",
            Self::Archive => "orders.archive",
            Self::RegisterService => "services.register",
            Self::RemoveService => "services.remove",
            Self::LogIn => "console.log-in",
            Self::LogOut => "console.log-out",
        }
    }
}

/// Somebody who does one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    who: String,
    role: &'static str,
    request_id: Uuid,
}

impl Principal {
    /// Whoever runs this command, by the name of the system's user. `sudo` and containers make that another one than the
    /// person: the system's own log knows who that is.
    #[must_use]
    pub fn system_user() -> Self {
        let uid = nix::unistd::getuid();
        let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
        Self { who: name.unwrap_or_else(|| format!("uid {uid}")), role: "command", request_id: Uuid::now_v7() }
    }

    /// An operator, with the request in which they ask for it.
    #[must_use]
    pub fn operator(name: &str, role: Role, request_id: Uuid) -> Self {
        Self { who: name.to_owned(), role: role.as_str(), request_id }
    }

    /// Their name.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    /// What links the rows of one doing.
    #[must_use]
    pub const fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// Writes down what they do, or how it ended. The details have no personal data.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn note(
        &self,
        connection: &mut Connection,
        (what, target): (What, &str),
        details: &Value,
        outcome: Outcome,
    ) -> Result<(), StoreError> {
        let action = NewAction {
            who: &self.who,
            role: self.role,
            what: what.as_str(),
            target,
            details,
            request_id: self.request_id,
            outcome: outcome.as_str(),
        };
        actions::record(connection, &action).await
    }
}

/// What a failure is called in the details of an action.
#[must_use]
pub fn because(error: &impl std::fmt::Display) -> Value {
    json!({ "why": error.to_string() })
}
