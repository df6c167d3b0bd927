//! RabbitMQ's management API: the only way to make users and policies. The operator's commands use it, and
//! no other program.

use std::time::Duration;

use orderflow_service::{config::AdminConfig, telemetry, tls};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;

/// An import of some thirty quorum queues takes a few seconds on a busy node.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The text for an answer that is not the API's own.
const REASON_CHARS: usize = 200;

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
    #[error("RabbitMQ's management API answered {status} to {path}: {reason}")]
    Refused {
        /// Its status.
        status: StatusCode,
        /// What was asked for.
        path: String,
        /// Its words.
        reason: String,
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
            Self::Unreachable { source, .. } => {
                if let Some(why) = tls::explain(source) {
                    return format!(
                        "{self}: TLS was not agreed on: {why}. Certificates have to name the host and be issued by a CA that this \
                         system or TLS_CA trusts."
                    );
                }
                format!("{why}. Is RabbitMQ up, is its management plugin on, and is RABBITMQ_MANAGEMENT_URL right?")
            }
            Self::Refused { .. } if self.is_forbidden() => {
                format!("{why}. Is AMQP_ADMIN_URL's user an administrator, and its password right?")
            }
            Self::Refused { .. } | Self::Unreadable(_) => why,
        }
    }

    /// Whether the user may not do that. RabbitMQ says so with 401 as well, which is also its answer to a wrong password.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. })
    }

    /// Whether there is no such object.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

/// What people read of an answer such as `{"error":"bad_request","reason":["user_already_exists","orderflow-web"]}`.
fn reason(body: &str) -> String {
    let words = match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(answer)) => {
            answer.get("reason").or_else(|| answer.get("error")).map(words).unwrap_or_default()
        }
        // A proxy's page, perhaps.
        _ => body.chars().take(REASON_CHARS).collect(),
    };
    if words.trim().is_empty() { "it gave no reason".to_owned() } else { words.trim().to_owned() }
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().map(words).collect::<Vec<_>>().join(", "),
        Value::Object(parts) => {
            parts.iter().map(|(name, part)| format!("{name} {}", words(part))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
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
        tls::install();
        let mut client = Client::builder().timeout(timeout);
        // The administrator's password goes along: where it is encrypted it stays so, whatever we are redirected to, and where
        // it is not it goes straight to the host that was permitted and through no proxy.
        client = match config.management_url.scheme() {
            "https" => client.https_only(true),
            _ => client.no_proxy().redirect(reqwest::redirect::Policy::none()),
        };
        if let Some(own_ca) = &config.own_ca {
            let roots = reqwest::Certificate::from_pem_bundle(own_ca.pem().as_bytes());
            let unusable = |source| ManagementError::Unreachable { url: config.management_url.to_string(), source };
            client = client.tls_certs_merge(roots.map_err(unusable)?);
        }
        let client = client
            .build()
            .map_err(|source| ManagementError::Unreachable { url: config.management_url.to_string(), source })?;
        Ok(Self { client, config })
    }

    /// The settings that it works by.
    #[must_use]
    pub fn config(&self) -> &AdminConfig {
        &self.config
    }

    pub(super) fn vhost(&self) -> String {
        encoded(&self.config.vhost)
    }

    pub(super) async fn put(&self, path: &str, body: &Value) -> Result<(), ManagementError> {
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
            Err(ManagementError::Refused { status, path: path.to_owned(), reason: reason(&body) })
        }
    }
}

/// Returns the name percent-encoded, for a path.
pub(super) fn encoded(name: &str) -> String {
    utf8_percent_encode(name, NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An operator reads the reason, not the JSON that it came in.
    #[test]
    fn a_refusal_is_told_in_words() {
        for (body, told) in [
            (r#"{"error":"not_authorised","reason":"Not administrator user"}"#, "Not administrator user"),
            (r#"{"error":"bad_request","reason":["user_already_exists","shop"]}"#, "user_already_exists, shop"),
            (r#"{"error":"Object Not Found"}"#, "Object Not Found"),
            (r#"{"reason":{"limit":5}}"#, "limit 5"),
            ("<html>502</html>", "<html>502</html>"),
            ("", "it gave no reason"),
            ("[]", "[]"),
        ] {
            assert_eq!(reason(body), told);
        }
    }
}
