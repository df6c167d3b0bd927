//! A client of RabbitMQ's management API, the only way to create users and policies. Only the operators' commands and
//! the console use it.

use std::time::Duration;

use orderflow_service::{config::AdminConfig, telemetry, tls};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;

/// The time limit of a request. Importing about thirty quorum queues takes a few seconds on a busy node.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How much to show of a response that does not come from the API itself.
const REASON_CHARS: usize = 200;

/// Why a request to the management API failed.
#[derive(Debug, thiserror::Error)]
pub enum ManagementError {
    /// It could not be reached, or did not answer in time.
    #[error("RabbitMQ's management API at {url} cannot be reached")]
    Unreachable {
        /// The address tried.
        url: String,
        /// The cause.
        source: reqwest::Error,
    },
    /// It refused the request.
    #[error("RabbitMQ's management API answered {status} to {path}: {reason}")]
    Refused {
        /// The status of the response.
        status: StatusCode,
        /// The path requested.
        path: String,
        /// The reason that the API gave.
        reason: String,
    },
    /// The response does not have the documented form.
    #[error("RabbitMQ's management API returned a response that cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

impl ManagementError {
    /// Returns the error as an operator reads it, with what to check.
    #[must_use]
    pub fn explained(&self) -> String {
        let why = telemetry::chain(self);
        match self {
            Self::Unreachable { source, .. } => {
                if let Some(why) = tls::explain(source) {
                    return format!(
                        "{self}: the TLS handshake failed: {why}. The certificate must name the host and be issued by a CA that this \
                         system or TLS_CA trusts."
                    );
                }
                format!("{why}. Is RabbitMQ up, is its management plugin on, and is RABBITMQ_MANAGEMENT_URL right?")
            }
            Self::Refused { .. } if self.is_forbidden() => {
                format!("{why}. Is AMQP_ADMIN_URL's user an administrator, and is its password right?")
            }
            Self::Refused { .. } | Self::Unreadable(_) => why,
        }
    }

    /// Returns whether the user lacks the permission. RabbitMQ may report this as 401, as it does for a wrong password.
    #[must_use]
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, .. })
    }

    /// Returns whether the object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: StatusCode::NOT_FOUND, .. })
    }
}

/// Returns the reason in plain words from a response such as
/// `{"error":"bad_request","reason":["user_already_exists","orderflow-web"]}`.
fn reason(body: &str) -> String {
    let words = match serde_json::from_str::<Value>(body) {
        Ok(Value::Object(answer)) => {
            answer.get("reason").or_else(|| answer.get("error")).map(words).unwrap_or_default()
        }
        // Perhaps a proxy's error page.
        _ => body.chars().take(REASON_CHARS).collect(),
    };
    if words.trim().is_empty() { "no reason given".to_owned() } else { words.trim().to_owned() }
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

/// A client for one virtual host, with the credentials of `AMQP_ADMIN_URL`.
#[derive(Debug)]
pub struct Management {
    client: Client,
    config: AdminConfig,
}

impl Management {
    /// Creates a client. Sends nothing yet.
    ///
    /// # Errors
    /// Fails if no HTTP client can be created, for example without any TLS roots.
    pub fn new(config: AdminConfig) -> Result<Self, ManagementError> {
        Self::within(config, TIMEOUT)
    }

    /// Creates a client like [`Management::new`], with another time limit: a read need not wait as long as an import.
    ///
    /// # Errors
    /// Fails as [`Management::new`] does.
    pub fn within(config: AdminConfig, timeout: Duration) -> Result<Self, ManagementError> {
        tls::install();
        let unreachable = |source| ManagementError::Unreachable { url: config.management_url.to_string(), source };
        let client = Client::builder().timeout(timeout);
        // Each request carries the administrator's password. Over HTTPS it stays encrypted whatever redirects follow.
        // In plaintext it goes only to the permitted host: no redirect, no proxy. Reading the system's certificates would
        // take longer than the request.
        let client = match (config.management_url.scheme(), &config.own_ca) {
            ("https", None) => client.https_only(true),
            ("https", Some(own_ca)) => {
                let roots = reqwest::Certificate::from_pem_bundle(own_ca.pem().as_bytes());
                client.https_only(true).tls_certs_merge(roots.map_err(unreachable)?)
            }
            _ => client.no_proxy().redirect(reqwest::redirect::Policy::none()).tls_certs_only([]),
        };
        let client = client.build().map_err(unreachable)?;
        Ok(Self { client, config })
    }

    /// Returns the client's settings.
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
        // The error already names the address; the full URL with its query would only make it long.
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

    /// Operators read the reason, not the JSON around it.
    #[test]
    fn refusal_reason_is_plain_words() {
        for (body, expected) in [
            (r#"{"error":"not_authorised","reason":"Not administrator user"}"#, "Not administrator user"),
            (r#"{"error":"bad_request","reason":["user_already_exists","shop"]}"#, "user_already_exists, shop"),
            (r#"{"error":"Object Not Found"}"#, "Object Not Found"),
            (r#"{"reason":{"limit":5}}"#, "limit 5"),
            ("<html>502</html>", "<html>502</html>"),
            ("", "no reason given"),
            ("[]", "[]"),
        ] {
            assert_eq!(reason(body), expected);
        }
    }
}
