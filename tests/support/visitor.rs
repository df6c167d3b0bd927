//! A customer's browser without JavaScript: it keeps cookies and sends forms, but follows no redirects or links.

use std::collections::BTreeMap;

use reqwest::{Client, Method, StatusCode, header::HeaderMap, redirect};

use crate::{Web, plaintext};

/// A browser with its own cookies.
#[derive(Debug, Clone)]
pub struct Visitor {
    /// The root URL of its front end, such as `http://127.0.0.1:4711`.
    pub root: String,
    /// The cookies, by name.
    pub cookies: BTreeMap<String, String>,
    client: Client,
}

/// A page, or the answer received instead.
#[derive(Debug, Clone)]
pub struct Page {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The text.
    pub text: String,
}

impl Visitor {
    /// Returns a browser without cookies.
    ///
    /// # Panics
    /// Panics if no client can be made.
    #[must_use]
    pub fn new(web: &Web) -> Self {
        let client = plaintext().redirect(redirect::Policy::none()).build().expect("a client");
        Self { root: web.root.clone(), cookies: BTreeMap::new(), client }
    }

    /// Requests a page.
    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, &[], None).await
    }

    /// Sends a form from a page that has no referrer, as browsers do.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("origin", "null"),
            ("sec-fetch-site", "same-origin"),
        ];
        self.send(Method::POST, path, &headers, Some(form)).await
    }

    /// Sends a request with the cookies and these headers, and keeps the cookies in the answer.
    ///
    /// # Panics
    /// Panics if there is no answer.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: Option<String>) -> Page {
        let mut request = self.client.request(method, format!("{}{path}", self.root));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        let answer = request.body(body.unwrap_or_default()).send().await;
        let answer = answer.unwrap_or_else(|error| panic!("no answer from {path}: {error:?}"));
        let (status, headers) = (answer.status(), answer.headers().clone());
        for cookie in headers.get_all("set-cookie") {
            self.keep(cookie.to_str().expect("text"));
        }
        Page { status, headers, text: answer.text().await.expect("text") }
    }

    fn keep(&mut self, cookie: &str) {
        let (name, rest) = cookie.split_once('=').expect("a cookie has a name");
        let value = rest.split(';').next().unwrap_or_default();
        if cookie.contains("Max-Age=0;") {
            self.cookies.remove(name);
        } else {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

impl Page {
    /// Returns a header's text; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the value of the form's field of this name; empty if it is missing.
    #[must_use]
    pub fn field(&self, name: &str) -> String {
        let tag =
            self.text.split('<').find(|tag| tag.starts_with("input") && tag.contains(&format!("name=\"{name}\"")));
        let value = tag.and_then(|tag| tag.split("value=\"").nth(1)).and_then(|rest| rest.split('"').next());
        value.unwrap_or_default().to_owned()
    }

    /// Returns the text of the element with this id, up to the first element inside it; empty if it is missing.
    #[must_use]
    pub fn element(&self, id: &str) -> String {
        let Some((_, rest)) = self.text.split_once(&format!(" id=\"{id}\"")) else { return String::new() };
        let inside = rest.split_once('>').map_or("", |(_, inside)| inside);
        inside.split('<').next().unwrap_or_default().trim().to_owned()
    }

    /// Returns the names of the steps, each with its state.
    #[must_use]
    pub fn steps(&self) -> Vec<(String, String)> {
        let steps = self.text.split("<li data-state=\"").skip(1);
        let step = |step: &str| {
            let state = step.split('"').next().unwrap_or_default().to_owned();
            // The state's text for screen readers precedes the name, in an element of its own.
            let name = step.split("visually-hidden").nth(1).and_then(|rest| rest.split("</span>").nth(1));
            (name.unwrap_or_default().trim().to_owned(), state)
        };
        steps.map(step).collect()
    }

    /// Returns the addresses of all assets that the page loads.
    #[must_use]
    pub fn loads(&self) -> Vec<String> {
        let parts = self.text.split(['"']).filter(|part| part.starts_with("/assets/"));
        let mut found: Vec<_> = parts.map(str::to_owned).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}
