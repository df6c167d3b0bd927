//! The requests to Stripe's API, one function each.

use reqwest::{Client, Method, RequestBuilder, Response, header::HeaderMap, redirect};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::Duration;
use url::Url;
use uuid::Uuid;

use super::{answers::Call, intent::Intent, refusal::Refusal, settings::StripeConfig};
use crate::providers::ProviderSetupError;

/// The version of the API that this code expects. Without it, Stripe answers in the account's version.
const VERSION: &str = "2024-06-20";

/// The longest response, in bytes; far longer than any that we request.
const LONGEST_ANSWER: usize = 256 * 1024;

/// Connections that were idle for longer are not reused: load balancers close theirs after about a minute.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// The time-out for connecting. Shorter than the call's time-out, so that the more precise error is reported.
const CONNECTING: Duration = Duration::from_secs(5);

/// A request's parameters.
pub(super) type Fields<'f> = [(&'f str, &'f str)];

/// A payment intent to create.
#[derive(Debug)]
pub(super) struct NewIntent<'n> {
    /// The first idempotency key to try.
    pub key: &'n str,
    pub order: Uuid,
    /// In Stripe's units.
    pub units: i64,
    /// ISO 4217.
    pub currency: &'n str,
}

/// The fields of a refund that we use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Refund {
    pub id: String,
    /// In Stripe's units.
    pub amount: i64,
    /// Some refunds at Stripe have none.
    #[serde(default)]
    pub status: Option<String>,
}

impl Refund {
    /// Returns whether the refund has happened or will.
    pub fn holds(&self) -> bool {
        !matches!(self.status.as_deref(), Some("failed" | "canceled"))
    }
}

#[derive(Deserialize)]
struct List<T> {
    data: Vec<T>,
}

/// A client of the API, with our key. Callers must bound every call in time.
pub(super) struct Api {
    client: Client,
    base: Url,
    key: SecretString,
}

impl Api {
    pub fn new(config: &StripeConfig) -> Result<Self, ProviderSetupError> {
        orderflow_service::tls::install();
        let client = Client::builder()
            .connect_timeout(CONNECTING)
            .pool_idle_timeout(MAX_IDLE)
            // The API does not redirect, and our key must not be sent elsewhere.
            .redirect(redirect::Policy::none());
        // Unencrypted requests go directly to the permitted host, never through a proxy.
        let client = if config.base.scheme() == "http" { client.no_proxy() } else { client };
        let client = client.build().map_err(ProviderSetupError::Stripe)?;
        Ok(Self { client, base: config.base.clone(), key: config.key.clone() })
    }

    /// Creates an intent without confirming it.
    pub async fn create(&self, new: &NewIntent<'_>, key: &str) -> Result<Intent, Refusal> {
        let (amount, order) = (new.units.to_string(), new.order.to_string());
        let fields = [
            ("amount", amount.as_str()),
            ("currency", &new.currency.to_lowercase()),
            // Cards only: other payment methods redirect the customer, who is no longer present.
            ("payment_method_types[]", "card"),
            ("metadata[order_id]", &order),
        ];
        self.answer(Call::Create, self.post(&["payment_intents"], &fields, Some(key))).await
    }

    /// Returns the current state of the intent.
    pub async fn retrieve(&self, intent: &str) -> Result<Intent, Refusal> {
        self.answer(Call::Read, self.request(Method::GET, &["payment_intents", intent], &[])).await
    }

    /// Charges the intent, unless it is already charged. Sends no idempotency key: an intent succeeds at most once, and
    /// with a key Stripe would keep returning a stored error.
    pub async fn confirm(&self, intent: &str, card: &str) -> Result<Intent, Refusal> {
        let request = self.post(&["payment_intents", intent, "confirm"], &[("payment_method", card)], None);
        self.answer(Call::Confirm, request).await
    }

    /// Cancels the intent, which then can never be charged.
    pub async fn cancel(&self, intent: &str, reason: &str) -> Result<Intent, Refusal> {
        let path = ["payment_intents", intent, "cancel"];
        self.answer(Call::Cancel, self.post(&path, &[("cancellation_reason", reason)], None)).await
    }

    /// Returns the refunds of an intent, at most a hundred; one is expected.
    pub async fn refunds(&self, intent: &str) -> Result<Vec<Refund>, Refusal> {
        let query = [("payment_intent", intent), ("limit", "100")];
        let list: List<Refund> = self.answer(Call::Refunds, self.request(Method::GET, &["refunds"], &query)).await?;
        Ok(list.data)
    }

    /// Refunds this much of an intent's charge, in Stripe's units.
    pub async fn refund(&self, intent: &str, units: i64, key: &str) -> Result<Refund, Refusal> {
        let units = units.to_string();
        let fields = [("payment_intent", intent), ("amount", &units)];
        self.answer(Call::Refund, self.post(&["refunds"], &fields, Some(key))).await
    }

    fn post(&self, path: &[&str], fields: &Fields<'_>, key: Option<&str>) -> RequestBuilder {
        let request = self.request(Method::POST, path, &[]).form(fields);
        match key {
            Some(key) => request.header("Idempotency-Key", key),
            None => request,
        }
    }

    fn request(&self, method: Method, path: &[&str], query: &Fields<'_>) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let request = self.client.request(method, url).header("Stripe-Version", VERSION);
        request.bearer_auth(self.key.expose_secret())
    }

    async fn answer<T: DeserializeOwned>(&self, call: Call, request: RequestBuilder) -> Result<T, Refusal> {
        let mut response = request.send().await.map_err(|error| unreachable(&error))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = bounded(&mut response).await?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|_| Refusal::unreadable(status));
        }
        let replayed = text(&headers, "idempotent-replayed") == Some("true");
        let retry_after = text(&headers, "retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
        Err(Refusal::of(call, status, retry_after, replayed, &body))
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Returns the whole body. Fails if it is longer than [`LONGEST_ANSWER`].
async fn bounded(response: &mut Response) -> Result<Vec<u8>, Refusal> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len().saturating_add(chunk.len()) > LONGEST_ANSWER {
            return Err(Refusal::unreadable(response.status()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Returns the refusal for a request without a response. The error's own text contains the address; how far the request
/// got is enough.
fn unreachable(error: &reqwest::Error) -> Refusal {
    let why = if error.is_connect() {
        "no connection to the payment provider"
    } else if error.is_timeout() {
        "the payment provider took too long"
    } else {
        "the connection to the payment provider broke"
    };
    Refusal::unreachable(why)
}
