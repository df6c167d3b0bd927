//! RabbitMQ's limits on connections.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{Management, ManagementError};

/// A configured limit, and how many connections count against it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLimit {
    /// What it applies to: `the virtual host v`, or `the user u`.
    pub of: String,
    /// The maximum number of connections.
    pub limit: usize,
    /// The current number of connections to this virtual host.
    pub in_use: usize,
}

#[derive(Deserialize)]
struct Limits {
    #[serde(default)]
    user: String,
    // RabbitMQ writes an empty set of limits as `[]` or leaves it out.
    #[serde(default)]
    value: Value,
}

impl Limits {
    fn connections(&self) -> Option<usize> {
        let limit = self.value.get("max-connections")?.as_i64()?;
        // A negative limit means no limit.
        usize::try_from(limit).ok()
    }
}

impl Management {
    /// Returns the connection limits of the virtual host and of the users connected to it. Requires an administrator.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn connection_limits(&self) -> Result<Vec<ConnectionLimit>, ManagementError> {
        let mut by_user: BTreeMap<String, usize> = BTreeMap::new();
        for one in self.connections().await? {
            *by_user.entry(one.user).or_default() += 1;
        }
        let of_vhost: Vec<Limits> = self.get(&format!("vhost-limits/{}", self.vhost())).await?;
        let of_users: Vec<Limits> = self.get("user-limits").await?;
        let vhosts = of_vhost.iter().filter_map(Limits::connections).map(|limit| ConnectionLimit {
            of: format!("the virtual host {}", self.config().vhost),
            limit,
            in_use: by_user.values().sum(),
        });
        let users = of_users.iter().filter_map(|of_user| {
            let in_use = *by_user.get(&of_user.user)?;
            Some(ConnectionLimit { of: format!("the user {}", of_user.user), limit: of_user.connections()?, in_use })
        });
        Ok(vhosts.chain(users).collect())
    }
}
