use std::env;

use orderflow_service::config::{AdminConfig, Source, Users};
use url::Url;

/// The PostgreSQL and RabbitMQ that the tests share, as `make services` writes them to the environment.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The URL of a database, as a role that may create databases.
    pub database_url: Url,
    /// The broker's URL, as an administrator.
    pub amqp_admin_url: Url,
    /// The URL of the management API.
    pub management_url: Url,
    /// Settings by name, including the passwords of our broker users.
    pub settings: Vec<(String, String)>,
}

impl Servers {
    /// Reads the environment.
    ///
    /// # Panics
    /// Panics if a variable is missing: `make test` sets them.
    #[must_use]
    pub fn from_env() -> Self {
        let url = |name: &str| -> Url {
            let text = env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `make test`"));
            text.parse().unwrap_or_else(|error| panic!("{name} is not a URL: {error}"))
        };
        Self {
            database_url: url("DATABASE_URL"),
            amqp_admin_url: url("AMQP_ADMIN_URL"),
            management_url: url("RABBITMQ_MANAGEMENT_URL"),
            settings: env::vars().collect(),
        }
    }

    /// Returns the URL of another database on the same server.
    #[must_use]
    pub fn database(&self, name: &str) -> Url {
        let mut url = self.database_url.clone();
        url.set_path(name);
        url
    }

    /// Returns the broker's URL for this user (`None`: the administrator) and virtual host.
    ///
    /// # Panics
    /// Never: the URL has a host.
    #[must_use]
    pub fn broker(&self, user: Option<(&str, &str)>, vhost: &str) -> Url {
        let mut url = self.amqp_admin_url.clone();
        if let Some((name, password)) = user {
            url = log_in(url, name, password);
        }
        url.set_path(vhost);
        url
    }

    /// Returns the settings of `orderflow topology` for this virtual host.
    ///
    /// # Panics
    /// Panics if the environment cannot be read as such settings.
    #[must_use]
    pub fn admin(&self, vhost: &str, retry_delays: &str) -> AdminConfig {
        let overrides = [
            ("AMQP_ADMIN_URL", self.broker(None, vhost).to_string()),
            ("RABBITMQ_MANAGEMENT_URL", self.management_url.to_string()),
            ("RETRY_DELAYS", retry_delays.to_owned()),
        ];
        let overrides = overrides.map(|(name, value)| (name.to_owned(), value));
        let source: Source = self.settings.iter().cloned().chain(overrides).collect();
        let read = AdminConfig::read(&source).map(|admin| AdminConfig { users: Users::read(&source), ..admin });
        source.finish(read).expect("the broker's settings are complete: run the tests with `make test`")
    }

    /// Returns the password with which `topology apply` creates one of our users. It is the environment's: users belong
    /// to the whole broker, and other tests are connected as them.
    #[must_use]
    pub fn password(&self, user: &str) -> String {
        let name = format!("{}_PASSWORD", user.replace("orderflow-", "amqp-").replace('-', "_").to_uppercase());
        let found = self.settings.iter().find(|(one, _)| *one == name);
        found.map_or_else(|| "for these tests".to_owned(), |(_, password)| password.clone())
    }
}

/// Returns the URL with this user and password.
///
/// # Panics
/// Panics if the URL has no host.
#[must_use]
pub fn log_in(mut url: Url, user: &str, password: &str) -> Url {
    url.set_username(user).and_then(|()| url.set_password(Some(password))).expect("the URL has a host");
    url
}
