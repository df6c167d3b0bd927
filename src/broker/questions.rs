//! What the operator's commands read from the management API. Changes nothing.
//!
//! Each query names the fields that we need, and each field that a version may leave out has a default: 4.3 leaves `false`
//! out of an export, and reading that strictly stopped `topology apply`.

use reqwest::{Method, StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Management, ManagementError};

/// What a broker says of itself. Fields as in its own documentation: `http://HOST:15672/api/index.html`.
#[derive(Debug, Clone, Deserialize)]
pub struct Overview {
    /// `3.10.8`.
    #[serde(default = "unknown")]
    pub rabbitmq_version: String,
}

fn unknown() -> String {
    "of an unknown version".to_owned()
}

/// One node of the cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// `rabbit@host`.
    pub name: String,
    /// Whether it runs. A node that does not has no further fields.
    #[serde(default)]
    pub running: bool,
    /// It has used up its memory: publishers wait.
    #[serde(default)]
    pub mem_alarm: bool,
    /// Its disk is nearly full: publishers wait.
    #[serde(default)]
    pub disk_free_alarm: bool,
    /// The nodes that it was cut off from.
    #[serde(default)]
    pub partitions: Vec<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Permission {
    user: String,
}

impl Management {
    /// What the broker says of itself.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn overview(&self) -> Result<Overview, ManagementError> {
        self.get("overview?columns=rabbitmq_version").await
    }

    /// The cluster's nodes.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn nodes(&self) -> Result<Vec<Node>, ManagementError> {
        self.get("nodes?columns=name,running,mem_alarm,disk_free_alarm,partitions").await
    }

    /// The names of all users; only an administrator may ask.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn user_names(&self) -> Result<Vec<String>, ManagementError> {
        Ok(self.get::<Vec<Named>>("users?columns=name").await?.into_iter().map(|user| user.name).collect())
    }

    /// Whether the virtual host exists: questions about one that does not are answered differently by each version.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn has_vhost(&self) -> Result<bool, ManagementError> {
        match self.get::<Value>(&format!("vhosts/{}", self.vhost())).await {
            Ok(_) => Ok(true),
            Err(ManagementError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Who may do anything at all in the virtual host.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn permitted(&self) -> Result<Vec<String>, ManagementError> {
        let path = format!("vhosts/{}/permissions?columns=user", self.vhost());
        Ok(self.get::<Vec<Permission>>(&path).await?.into_iter().map(|permission| permission.user).collect())
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ManagementError> {
        Ok(serde_json::from_str(&self.request(Method::GET, path, None::<&Value>).await?)?)
    }
}
