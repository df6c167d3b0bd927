//! Who performs an action, for the list of actions.

use orderflow_service::{
    config::Role,
    store::{Connection, StoreError},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::store::actions::{self, NewAction, Outcome};

/// The actions that are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A product's stock was set.
    SetStock,
    /// Dead letters were replayed.
    Replay,
    /// Dead letters were discarded.
    Discard,
    /// Events that subscriptions never got were republished.
    Republish,
    /// The history of finished orders was moved to the archive.
    Archive,
    /// An external service was registered.
    RegisterService,
    /// An external service was removed.
    RemoveService,
    /// An operator logged in to the console with their token.
    LogIn,
    /// An operator ended their session.
    LogOut,
}

impl What {
    /// Returns the name in the list of actions.
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

/// An operator or system user who performs one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    who: String,
    role: &'static str,
    request_id: Uuid,
}

impl Principal {
    /// Returns the system user that runs this command.
    ///
    /// With `sudo` and in containers this is not the human operator: the system's own log names them.
    #[must_use]
    pub fn system_user() -> Self {
        let uid = nix::unistd::getuid();
        let name = nix::unistd::User::from_uid(uid).ok().flatten().map(|user| user.name);
        Self { who: name.unwrap_or_else(|| format!("uid {uid}")), role: "command", request_id: Uuid::now_v7() }
    }

    /// Returns an operator, with the id of the request that asks for the action.
    #[must_use]
    pub fn operator(name: &str, role: Role, request_id: Uuid) -> Self {
        Self { who: name.to_owned(), role: role.as_str(), request_id }
    }

    /// Returns their name.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    /// Returns the id that links the recorded rows of one action.
    #[must_use]
    pub const fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// Records the action, or its outcome. The details must not contain personal data.
    ///
    /// # Errors
    /// Returns database errors.
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

/// Returns a failure in the form used in an action's details.
#[must_use]
pub fn because(error: &impl std::fmt::Display) -> Value {
    json!({ "why": error.to_string() })
}
