//! RabbitMQ's management API: the only way to make users and policies. The operator's commands use it, and
//! no other program.

use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Subscription, Topology, names};
use crate::{config::AdminConfig, telemetry};

/// An import of some thirty quorum queues takes a few seconds on a busy node.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Why the management API did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// Not reached, or no answer in time.
    #[error("RabbitMQ's management API at {url} cannot be reached")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// Why.
        source: reqwest::Error,
    },
    /// It answered, but not with success.
    #[error("RabbitMQ's management API answered {status} to {path}: {body}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// What was asked for.
        path: String,
        /// Its words.
        body: String,
    },
    /// Its answer is not what the API's documentation says.
    #[error("RabbitMQ's management API gave an answer that cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

impl ManagementError {
    /// What a person reads of it, with what to look at.
    #[must_use]
    pub fn explained(&self) -> String {
        let why = telemetry::chain(self);
        match self {
            Self::Unreachable { .. } => {
                format!("{why}. Is RabbitMQ up, is its management plugin on, and is RABBITMQ_MANAGEMENT_URL right?")
            }
            Self::Refused { .. } => {
                format!("{why}. Is AMQP_ADMIN_URL's user an administrator, and its password right?")
            }
            Self::Unreadable(_) => why,
        }
    }
}

/// A client of one virtual host, as an administrator.
#[derive(Debug)]
pub struct Management {
    client: Client,
    config: AdminConfig,
}

impl Management {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be made, as without any TLS roots.
    pub fn new(config: AdminConfig) -> Result<Self, ManagementError> {
        Self::within(config, TIMEOUT)
    }

    /// As [`Management::new`], with this long for an answer: who only looks need not wait as long as who imports.
    ///
    /// # Errors
    /// As [`Management::new`].
    pub fn within(config: AdminConfig, timeout: Duration) -> Result<Self, ManagementError> {
        crate::tls::install();
        let mut client = Client::builder().timeout(timeout);
        // The administrator's password goes along: where it is encrypted it stays so, whatever we are redirected to, and where
        // it is not it goes straight to the host that was permitted and through no proxy.
        client = match config.management_url.scheme() {
            "https" => client.https_only(true),
            _ => client.no_proxy().redirect(reqwest::redirect::Policy::none()),
        };
        let client = client
            .build()
            .map_err(|source| ManagementError::Unreachable { url: config.management_url.to_string(), source })?;
        Ok(Self { client, config })
    }

    /// Makes the virtual host, the users and everything of [`Topology`]. What exists is left as it is, so this is safe
    /// to repeat and from many hosts at once. An object that exists with other arguments is *not* changed: see
    /// [`Management::live`].
    ///
    /// # Errors
    /// See [`ManagementError`]; what was made before it stays.
    pub async fn apply(&self, topology: &Topology) -> Result<(), ManagementError> {
        self.put(&format!("vhosts/{}", self.vhost()), &json!({})).await?;
        let permitted = self.permitted().await?;
        for user in self.users() {
            self.apply_user(&user, &permitted).await?;
        }
        self.request(Method::POST, &format!("definitions/{}", self.vhost()), Some(topology)).await?;
        Ok(())
    }

    /// What the virtual host has now.
    ///
    /// # Errors
    /// See [`ManagementError`].
    pub async fn live(&self) -> Result<Topology, ManagementError> {
        let body = self.request(Method::GET, &format!("definitions/{}", self.vhost()), None::<&Value>).await?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Makes the user where a password is set. What a user may do follows the services that there are, so who is
    /// permitted anything here is brought up to date even without: a worker could not read a new service's queues.
    async fn apply_user(&self, user: &User, permitted: &[String]) -> Result<(), ManagementError> {
        if let Some(password) = &user.password {
            let body = json!({ "password": password.expose_secret(), "tags": user.tags });
            self.put_user(user.name, &body).await?;
        }
        if user.password.is_some() || permitted.iter().any(|one| one == user.name) {
            let body = json!({ "configure": "^$", "write": user.write, "read": user.read });
            self.put(&format!("permissions/{}/{}", self.vhost(), user.name), &body).await?;
        }
        Ok(())
    }

    /// Where two make a user at once, RabbitMQ refuses all but the first instead of bringing it up to date
    /// (seen with 3.10.8: 8 of 64 at once). It exists then, so that asking once more does.
    async fn put_user(&self, name: &str, body: &Value) -> Result<(), ManagementError> {
        let path = format!("users/{name}");
        match self.put(&path, body).await {
            Err(ManagementError::Refused { body: words, .. }) if words.contains("user_already_exists") => {
                self.put(&path, body).await
            }
            done => done,
        }
    }

    /// Least privilege: nobody but the administrator may declare anything.
    fn users(&self) -> [User; 3] {
        let services = Subscription::services().join("|");
        [
            User {
                name: "orderflow-web",
                password: self.config.users.web.clone(),
                tags: "",
                write: format!("^{}$", names::EVENTS.replace('.', "\\.")),
                read: "^$".to_owned(),
            },
            User {
                name: "orderflow-worker",
                password: self.config.users.worker.clone(),
                tags: "",
                write: "^orders\\.(events|dlx|return|retry\\..+)$".to_owned(),
                read: format!("^({services})\\.[a-z-]+$"),
            },
            User {
                name: "orderflow-viewer",
                password: self.config.users.viewer.clone(),
                // May look at everything in the management UI, and at messages too.
                tags: "monitoring",
                write: "^$".to_owned(),
                read: ".*".to_owned(),
            },
        ]
    }

    pub(super) fn vhost(&self) -> String {
        utf8_percent_encode(&self.config.vhost, NON_ALPHANUMERIC).to_string()
    }

    async fn put(&self, path: &str, body: &Value) -> Result<(), ManagementError> {
        self.request(Method::PUT, path, Some(body)).await?;
        Ok(())
    }

    pub(super) async fn request<B: Serialize + Sync>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<String, ManagementError> {
        let root = self.config.management_url.as_str().trim_end_matches('/').to_owned();
        // It is named already, and with what was asked for it is long.
        let unreachable =
            |source: reqwest::Error| ManagementError::Unreachable { url: root.clone(), source: source.without_url() };
        let mut request = self
            .client
            .request(method, format!("{root}/api/{path}"))
            .basic_auth(&self.config.user, Some(self.config.password.expose_secret()));
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body = response.text().await.map_err(unreachable)?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(ManagementError::Refused { status, path: path.to_owned(), body })
        }
    }
}

struct User {
    name: &'static str,
    password: Option<SecretString>,
    tags: &'static str,
    write: String,
    read: String,
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use actix_web::{App, HttpResponse, HttpServer, web};

    use super::*;
    use crate::config::Source;

    /// A management API that says `refusal` to the first that makes a user, and takes everything else.
    async fn refusing_once(refusal: &'static str) -> (Management, web::Data<AtomicUsize>) {
        let asked = web::Data::new(AtomicUsize::new(0));
        let (seen, counted) = (asked.clone(), asked.clone());
        let server = HttpServer::new(move || {
            let users = web::put().to(move |asked: web::Data<AtomicUsize>| async move {
                match asked.fetch_add(1, Ordering::SeqCst) {
                    0 => HttpResponse::BadRequest().body(refusal),
                    _ => HttpResponse::NoContent().finish(),
                }
            });
            App::new().app_data(counted.clone()).route("/api/users/{name}", users)
        })
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .expect("a port is free");
        let address = server.addrs().first().copied().expect("it listens");
        tokio::spawn(server.run());
        let settings = [
            ("AMQP_ADMIN_URL", "amqp://admin:secret@127.0.0.1:1/shop".to_owned()),
            ("RABBITMQ_MANAGEMENT_URL", format!("http://{address}")),
        ];
        let source: Source = settings.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        (Management::new(AdminConfig::read(&source).expect("complete")).expect("a client"), seen)
    }

    #[actix_web::test]
    async fn whoever_comes_second_with_a_user_brings_it_up_to_date() {
        let raced = r#"{"error":"bad_request","reason":["user_already_exists","orderflow-web"]}"#;
        let (management, asked) = refusing_once(raced).await;
        management.put_user("orderflow-web", &json!({})).await.expect("it is there now");
        assert_eq!(asked.load(Ordering::SeqCst), 2);
    }

    #[actix_web::test]
    async fn any_other_refusal_of_a_user_is_told() {
        let (management, asked) = refusing_once(r#"{"error":"bad_request","reason":"tags_not_atoms"}"#).await;
        let refused = management.put_user("orderflow-web", &json!({})).await.expect_err("it was refused");
        assert!(refused.to_string().contains("tags_not_atoms"), "{refused}");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }
}
