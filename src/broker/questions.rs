//! Read-only queries to the management API, for the operators' commands and the console.
//!
//! Each query names the fields that we need, and each field that a version may omit has a default. RabbitMQ 4.3 omits
//! `false` from an export, and reading that strictly made `topology apply` fail.

use orderflow_service::broker::{VERSION_PROPERTY, names};
use reqwest::Method;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Management, ManagementError, Topology,
    topology::Policy,
    users::{Rights, TopicRights, UserRights},
};

/// What the broker reports about itself. The fields are documented at `http://HOST:15672/api/index.html`.
#[derive(Debug, Clone, Deserialize)]
pub struct Overview {
    /// The version, for example `3.10.8`.
    #[serde(default = "unknown")]
    pub rabbitmq_version: String,
}

fn unknown() -> String {
    "of an unknown version".to_owned()
}

/// A node of the cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// `rabbit@host`.
    pub name: String,
    /// Whether it is running. A stopped node has no further fields.
    #[serde(default)]
    pub running: bool,
    /// Whether it has used up its memory, so that publishers wait.
    #[serde(default)]
    pub mem_alarm: bool,
    /// Whether its disk is nearly full, so that publishers wait.
    #[serde(default)]
    pub disk_free_alarm: bool,
    /// The nodes that it is partitioned from.
    #[serde(default)]
    pub partitions: Vec<String>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The user that we are logged in as.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Who {
    /// Its name.
    pub name: String,
    #[serde(default)]
    tags: Vec<String>,
}

impl Who {
    fn has(&self, tag: &str) -> bool {
        self.tags.iter().any(|one| one == tag)
    }

    /// Returns whether it may do everything, including virtual hosts and users.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.has("administrator")
    }

    /// Returns whether it sees nodes.
    #[must_use]
    pub fn sees_nodes(&self) -> bool {
        self.is_administrator() || self.has("monitoring")
    }
}

/// A connection to the virtual host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConnection {
    /// The user.
    pub user: String,
    /// The name that the client gave it, or else RabbitMQ's name for it.
    pub name: String,
    /// Orderflow's version. Programs report it since each process publishes only the events of its own services; for
    /// older programs it is `None`.
    pub version: Option<String>,
}

#[derive(Deserialize)]
struct Permission {
    user: String,
    #[serde(flatten)]
    rights: Rights,
}

#[derive(Deserialize)]
struct TopicPermission {
    user: String,
    exchange: String,
    #[serde(flatten)]
    rights: TopicRights,
}

impl Management {
    /// Returns what the broker reports about itself.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn overview(&self) -> Result<Overview, ManagementError> {
        self.get("overview?columns=rabbitmq_version").await
    }

    /// Returns the cluster's nodes.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn nodes(&self) -> Result<Vec<Node>, ManagementError> {
        self.get("nodes?columns=name,running,mem_alarm,disk_free_alarm,partitions").await
    }

    /// Returns the names of all users. Requires an administrator.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn user_names(&self) -> Result<Vec<String>, ManagementError> {
        Ok(self.get::<Vec<Named>>("users?columns=name").await?.into_iter().map(|user| user.name).collect())
    }

    /// Returns the user that we are logged in as. This is the first request, since it decides which others are allowed.
    ///
    /// # Errors
    /// See [`ManagementError`]. A user without access to this API is refused.
    pub async fn whoami(&self) -> Result<Who, ManagementError> {
        self.get("whoami").await
    }

    /// Returns whether the virtual host exists and we may enter it.
    ///
    /// Requests for a virtual host that does not exist fail differently in each version. To a user who is not an
    /// administrator, they look like requests for a virtual host that the user may not enter.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn has_vhost(&self) -> Result<bool, ManagementError> {
        let vhosts: Vec<Named> = self.get("vhosts?columns=name").await?;
        Ok(vhosts.iter().any(|vhost| vhost.name == self.config().vhost))
    }

    /// Returns the connections to the virtual host. Without the tag monitoring or administrator, returns only our own.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn connections(&self) -> Result<Vec<ClientConnection>, ManagementError> {
        #[derive(Deserialize)]
        struct Open {
            // RabbitMQ lists a new connection for a moment with only its name.
            #[serde(default)]
            user: String,
            name: String,
            #[serde(default)]
            client_properties: Value,
        }
        let path = format!("vhosts/{}/connections?columns=user,name,client_properties", self.vhost());
        let open: Vec<Open> = self.get(&path).await?;
        let text = |properties: &Value, name: &str| properties.get(name).and_then(Value::as_str).map(str::to_owned);
        let all = open.into_iter().map(|Open { user, name, client_properties }| ClientConnection {
            user,
            name: text(&client_properties, "connection_name").unwrap_or(name),
            version: text(&client_properties, VERSION_PROPERTY),
        });
        Ok(all.collect())
    }

    /// Returns what each user may do in the virtual host. Requires an administrator.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn rights(&self) -> Result<Vec<UserRights>, ManagementError> {
        let path = format!("vhosts/{}/permissions?columns=user,configure,write,read", self.vhost());
        let permissions: Vec<Permission> = self.get(&path).await?;
        let path = format!("vhosts/{}/topic-permissions?columns=user,exchange,write,read", self.vhost());
        let mut topics: Vec<TopicPermission> = self.get(&path).await?;
        topics.retain(|one| one.exchange == names::EVENTS);
        let rights = permissions.into_iter().map(|Permission { user, rights }| {
            let topics = topics.iter().find(|one| one.user == user).map(|one| one.rights.clone());
            UserRights { user, rights, topics }
        });
        Ok(rights.collect())
    }

    /// Returns the names of quorum queues that accept and deliver nothing, because half or more of their members are
    /// offline. RabbitMQ lists such a queue as "down" or "minority".
    ///
    /// RabbitMQ 4.0 counts each member on a running node as online, even if the queue cannot be read there; RabbitMQ 3.10
    /// does not.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn unavailable_queues(&self) -> Result<Vec<String>, ManagementError> {
        #[derive(Deserialize)]
        struct Members {
            name: String,
            // Classic queues have neither.
            #[serde(default)]
            members: Vec<String>,
            #[serde(default)]
            online: Vec<String>,
        }
        // Without statistics: those of RabbitMQ 3.10 repeat what was online minutes ago.
        let path = format!("queues/{}?disable_stats=true&columns=name,members,online", self.vhost());
        let mut queues: Vec<Members> = self.get(&path).await?;
        queues.retain(|queue| !queue.members.is_empty() && queue.online.len() * 2 <= queue.members.len());
        Ok(queues.into_iter().map(|queue| queue.name).collect())
    }

    /// Returns the objects that the virtual host has now.
    ///
    /// They come from the broker itself, not from its statistics, which are a few seconds old. Any user of the
    /// management API may read them, unlike the virtual host's definitions.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn live(&self) -> Result<Topology, ManagementError> {
        let vhost = self.vhost();
        let mut live = Topology {
            policies: self.get(&format!("policies/{vhost}")).await?,
            operator_policies: self.operator_policies().await?,
            exchanges: self
                .get(&format!("exchanges/{vhost}?columns=name,type,durable,auto_delete,internal,arguments"))
                .await?,
            queues: self.get(&format!("queues/{vhost}?columns=name,durable,auto_delete,arguments")).await?,
            bindings: self.get(&format!("bindings/{vhost}")).await?,
        };
        live.leave_out_what_is_built_in();
        Ok(live)
    }

    async fn operator_policies(&self) -> Result<Option<Vec<Policy>>, ManagementError> {
        match self.get(&format!("operator-policies/{}", self.vhost())).await {
            Ok(policies) => Ok(Some(policies)),
            Err(error) if error.is_forbidden() => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ManagementError> {
        Ok(serde_json::from_str(&self.request(Method::GET, path, None::<&Value>).await?)?)
    }
}
