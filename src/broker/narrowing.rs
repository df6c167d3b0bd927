//! The one right that only older front ends need: they publish every due event, of any service.

use orderflow_service::{Roster, broker::names};
use reqwest::Method;
use serde_json::json;

use super::{
    ClientConnection, Management, ManagementError,
    users::{FRONT_ENDS, TopicRights},
};

impl Management {
    /// Returns the front ends that are connected now and are older than the rule that a process publishes what its own services
    /// wrote. RabbitMQ knows of a connection within five seconds.
    ///
    /// # Errors
    /// See [`ManagementError`]; only users who see the connections of others may ask.
    pub async fn older_front_ends(&self) -> Result<Vec<ClientConnection>, ManagementError> {
        let mut connections = self.connections().await?;
        connections.retain(|one| one.user == FRONT_ENDS && one.version.is_none());
        Ok(connections)
    }

    /// Whether the front ends' user may publish the order service's kinds of event alone.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn is_narrow(&self) -> Result<bool, ManagementError> {
        let rights = self.rights().await?;
        Ok(rights.iter().any(|one| one.user == FRONT_ENDS && one.topics.is_some()))
    }

    /// Lets the front ends' user publish the order service's kinds of event alone.
    ///
    /// # Errors
    /// See [`ManagementError`]; also where there is no such user.
    pub async fn narrow(&self, roster: &Roster) -> Result<(), ManagementError> {
        let narrowed = self.users(roster).into_iter().filter_map(|user| Some((user.name, user.narrowed?)));
        for (name, TopicRights { write, read }) in narrowed {
            let body = json!({ "exchange": names::EVENTS, "write": write, "read": read });
            self.put(&format!("topic-permissions/{}/{name}", self.vhost()), &body).await?;
        }
        Ok(())
    }

    /// Takes [`Management::narrow`] back.
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
