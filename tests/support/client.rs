use std::collections::HashMap;

use futures::StreamExt as _;
use reqwest::{Certificate, Client, ClientBuilder, Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{Authority, until};

/// The maximum number of a test's concurrent requests.
const AT_ONCE: usize = 64;

/// A front end, as a customer's browser sees it.
#[derive(Debug, Clone)]
pub struct Web {
    /// `http://127.0.0.1:4711` or `https://localhost:4711`
    pub root: String,
    client: Client,
}

/// The answer to a request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers, names in lower case.
    pub headers: HashMap<String, String>,
    /// The JSON body; null if it is empty.
    pub body: Value,
}

/// An order that was accepted.
#[derive(Debug, Clone)]
pub struct Order {
    /// Its id.
    pub id: Uuid,
    /// The token that gives access to it.
    pub token: String,
}

/// Returns a fresh idempotency key.
#[must_use]
pub fn key() -> String {
    format!("test-{}", Uuid::now_v7())
}

/// Returns the body of an order for one product.
#[must_use]
pub fn body(sku: &str, quantity: i64, method: &str) -> Value {
    json!({
        "customer": { "name": "Ada Lovelace", "email": "ada@example.org" },
        "shipping_address": { "line1": "12 St James's Square", "city": "London", "postal_code": "SW1Y 4JH", "country": "GB" },
        "items": [{ "sku": sku, "quantity": quantity }],
        "payment": { "method": method },
    })
}

/// Returns a builder of HTTP clients for plaintext addresses. Any other client reads and parses all certificates of the
/// system when it is built: hundreds of files, in a program that is not optimised.
pub fn plaintext() -> ClientBuilder {
    orderflow_service::tls::install();
    Client::builder().tls_certs_only([])
}

impl Web {
    /// Returns a client of the front end at this address.
    ///
    /// # Panics
    /// Panics if no client can be made.
    #[must_use]
    pub fn new(address: std::net::SocketAddr) -> Self {
        Self::with(format!("http://{address}"), plaintext())
    }

    /// Returns a client of the front end that serves TLS at this port, as `localhost`. It trusts only this CA.
    ///
    /// # Panics
    /// Panics if no client can be made.
    #[must_use]
    pub fn encrypted(port: u16, authority: &Authority) -> Self {
        orderflow_service::tls::install();
        let root = Certificate::from_pem(authority.certificate().as_bytes()).expect("a certificate");
        Self::with(format!("https://localhost:{port}"), Client::builder().tls_certs_only([root]))
    }

    fn with(root: String, client: ClientBuilder) -> Self {
        let client = client.timeout(std::time::Duration::from_secs(30)).build().expect("a client");
        Self { root, client }
    }

    /// Sends a request with these headers and this raw body.
    ///
    /// # Errors
    /// Fails if there is no answer.
    ///
    /// # Panics
    /// Panics if the answer has a body that is not JSON.
    pub async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.root));
        for (name, value) in headers {
            // As bytes: a test may send what a client should not.
            request = request.header(*name, value.as_bytes());
        }
        if let Some(body) = body {
            request = request.body(body);
        }
        let response = request.send().await?;
        let status = response.status();
        let text = |value: &reqwest::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers = response.headers().iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        let bytes = response.bytes().await?;
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("a JSON body") };
        Ok(Answer { status, headers, body })
    }

    /// Like [`Web::try_send`], but there must be an answer.
    ///
    /// # Panics
    /// Panics if there is no answer.
    pub async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<Vec<u8>>) -> Answer {
        let answer = self.try_send(method, path, headers, body).await;
        answer.unwrap_or_else(|error| panic!("no answer from {path}: {error:?}"))
    }

    /// Requests a path.
    pub async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(Method::GET, path, headers, None).await
    }

    /// Requests a path below an order, with the order's token.
    pub async fn get_of(&self, order: &Order, path: &str) -> Answer {
        let token = format!("Bearer {}", order.token);
        self.get(&format!("/orders/{}{path}", order.id), &[("authorization", &token)]).await
    }

    /// Places an order.
    pub async fn place(&self, key: &str, body: &Value) -> Answer {
        let headers = [("idempotency-key", key), ("content-type", "application/json")];
        self.send(Method::POST, "/orders", &headers, Some(body.to_string().into_bytes())).await
    }

    /// Places an order for one product, which must be accepted.
    ///
    /// # Panics
    /// Panics if the order is refused.
    pub async fn order(&self, sku: &str, quantity: i64, method: &str) -> Order {
        self.place(&key(), &body(sku, quantity, method)).await.accepted()
    }

    /// Places this many orders for one item each, up to 64 concurrently; each must be accepted.
    ///
    /// # Panics
    /// Panics if an order is refused.
    pub async fn orders(&self, count: usize, sku: &str, method: &str) -> Vec<Order> {
        let placing = (0..count).map(|_| self.order(sku, 1, method));
        futures::stream::iter(placing).buffer_unordered(AT_ONCE).collect().await
    }

    /// Requests the cancellation of an order.
    pub async fn cancel(&self, order: &Order) -> Answer {
        let token = format!("Bearer {}", order.token);
        self.send(Method::POST, &format!("/orders/{}/cancel", order.id), &[("authorization", &token)], None).await
    }

    /// Returns the events in an order's timeline, oldest first.
    ///
    /// # Panics
    /// Panics if the timeline cannot be read.
    pub async fn events(&self, order: &Order) -> Vec<String> {
        let answer = self.get_of(order, "/timeline").await;
        let entries = answer.body["entries"].as_array().unwrap_or_else(|| panic!("no entries: {answer:?}")).clone();
        entries.iter().map(|entry| entry["event"].as_str().expect("an event").to_owned()).collect()
    }

    /// Returns the status of an order.
    ///
    /// # Panics
    /// Panics if it cannot be read.
    pub async fn status(&self, order: &Order) -> String {
        let answer = self.get_of(order, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.body["status"].as_str().expect("a status").to_owned()
    }

    /// Waits until an order has a status.
    pub async fn until_status(&self, order: &Order, wanted: &str) {
        until(&format!("order {} is {wanted}", order.id), async || {
            let status = self.status(order).await;
            if status == wanted { Ok(()) } else { Err(status) }
        })
        .await;
    }
}

impl Answer {
    /// Returns the order that this answer accepted.
    ///
    /// # Panics
    /// Panics if it is not a 202.
    #[must_use]
    pub fn accepted(&self) -> Order {
        assert_eq!(self.status, StatusCode::ACCEPTED, "{self:?}");
        let text = |name: &str| self.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {self:?}")).to_owned();
        Order { id: text("order_id").parse().expect("a UUID"), token: text("token") }
    }

    /// Returns the pointers and codes of a problem's errors, in order.
    #[must_use]
    pub fn errors(&self) -> Vec<(String, String)> {
        let text = |error: &Value, name: &str| error[name].as_str().unwrap_or_default().to_owned();
        let errors = self.body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| (text(error, "pointer"), text(error, "code"))).collect()
    }
}
