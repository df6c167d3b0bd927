//! The one right that only older front ends need: they publish the due events of every service.

use orderflow_service::{Roster, broker::names};
use reqwest::Method;
use serde_json::json;

use super::{
    ClientConnection, Management, ManagementError,
    users::{FRONT_ENDS, TopicRights},
};

impl Management {
    /// Returns the connected front ends that still publish the events of other services.
    ///
    /// RabbitMQ lists a new connection within five seconds.
    ///
    /// # Errors
    /// See [`ManagementError`]. Requires a user that sees the connections of others.
    pub async fn older_front_ends(&self) -> Result<Vec<ClientConnection>, ManagementError> {
        let mut connections = self.connections().await?;
        connections.retain(|one| one.user == FRONT_ENDS && one.version.is_none());
        Ok(connections)
    }

    /// Returns whether the front ends' user may publish only the order service's events.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn is_narrow(&self) -> Result<bool, ManagementError> {
        let rights = self.rights().await?;
        Ok(rights.iter().any(|one| one.user == FRONT_ENDS && one.topics.is_some()))
    }

    /// Restricts the front ends' user to publishing the order service's events.
    ///
    /// # Errors
    /// See [`ManagementError`]. It also fails if the user does not exist.
    pub async fn narrow(&self, roster: &Roster) -> Result<(), ManagementError> {
        let narrowed = self.users(roster).into_iter().filter_map(|user| Some((user.name, user.narrowed?)));
        for (name, TopicRights { write, read }) in narrowed {
            let body = json!({ "exchange": names::EVENTS, "write": write, "read": read });
            self.put(&format!("topic-permissions/{}/{name}", self.vhost()), &body).await?;
        }
        Ok(())
    }

    /// Undoes [`Management::narrow`].
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn widen(&self) -> Result<(), ManagementError> {
        let path = format!("topic-permissions/{}/{FRONT_ENDS}", self.vhost());
        match self.request(Method::DELETE, &path, None::<&()>).await {
            Err(error) if error.is_not_found() => Ok(()),
            done => done.map(drop),
        }
    }
}
