//! The part of the WebDriver protocol (W3C Recommendation) that these tests need, and the two Chromium-specific
//! commands that reach its DevTools.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::plaintext;

/// How long one command may take: starting a browser on a busy machine takes several seconds.
const COMMAND: Duration = Duration::from_secs(90);

/// The protocol's key for an element's id.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The driver's error.
    #[error("{error}: {message}")]
    Driver {
        /// The protocol's error code, such as `stale element reference`.
        error: String,
        /// The human-readable message.
        message: String,
    },
    /// There was no answer.
    #[error("the driver does not answer: {0}")]
    Silent(#[from] reqwest::Error),
}

/// One window with a profile of its own.
#[derive(Debug, Clone)]
pub struct Session {
    root: String,
    client: Client,
}

/// An element of the current page.
#[derive(Debug, Clone)]
pub struct Element {
    id: String,
}

impl Session {
    /// Opens a window through the driver at this address.
    ///
    /// # Errors
    /// Fails if the browser does not start.
    pub async fn new(driver: &str, capabilities: Value) -> Result<Self, Refused> {
        let client = plaintext().timeout(COMMAND).no_proxy().build()?;
        let driver = Self { root: driver.to_owned(), client };
        let wanted = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let answer = driver.call(Method::POST, "/session", Some(wanted)).await?;
        let id = answer["sessionId"].as_str().unwrap_or_default();
        Ok(Self { root: format!("{}/session/{id}", driver.root), client: driver.client })
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value, Refused> {
        let mut request = self.client.request(method, format!("{}{path}", self.root));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let mut answer: Value = request.send().await?.json().await?;
        let value = answer["value"].take();
        let Some(error) = value["error"].as_str() else { return Ok(value) };
        let message = value["message"].as_str().unwrap_or_default();
        Err(Refused::Driver { error: error.to_owned(), message: message.to_owned() })
    }

    /// Shows a page, and returns once it has loaded.
    ///
    /// # Errors
    /// Fails if the page cannot be reached.
    pub async fn go_to(&self, url: &str) -> Result<(), Refused> {
        self.call(Method::POST, "/url", Some(json!({ "url": url }))).await.map(drop)
    }

    /// Reloads the current page.
    ///
    /// # Errors
    /// Fails if the page cannot be reached.
    pub async fn refresh(&self) -> Result<(), Refused> {
        self.call(Method::POST, "/refresh", Some(json!({}))).await.map(drop)
    }

    /// Returns the address of the current page.
    ///
    /// # Errors
    /// Fails if the driver refuses.
    pub async fn url(&self) -> Result<String, Refused> {
        let url = self.call(Method::GET, "/url", None).await?;
        Ok(url.as_str().unwrap_or_default().to_owned())
    }

    /// Runs this JavaScript and returns its result.
    ///
    /// # Errors
    /// Fails if it throws.
    pub async fn run(&self, script: &str, arguments: Value) -> Result<Value, Refused> {
        self.call(Method::POST, "/execute/sync", Some(json!({ "script": script, "args": arguments }))).await
    }

    /// Runs this JavaScript and returns what it passes to the callback, its last argument.
    ///
    /// # Errors
    /// Fails if it throws, or does not call the callback within a minute.
    pub async fn run_until_done(&self, script: &str, arguments: Value) -> Result<Value, Refused> {
        self.call(Method::POST, "/execute/async", Some(json!({ "script": script, "args": arguments }))).await
    }

    /// Runs a command of the DevTools protocol.
    ///
    /// # Errors
    /// Fails if the browser refuses the command.
    pub async fn devtools(&self, command: &str, parameters: Value) -> Result<Value, Refused> {
        self.call(Method::POST, "/goog/cdp/execute", Some(json!({ "cmd": command, "params": parameters }))).await
    }

    /// Returns the entries of this log since it was last read: `browser` is the page's console, `performance` the
    /// network events of DevTools.
    ///
    /// # Errors
    /// Fails if the driver refuses.
    pub async fn log(&self, name: &str) -> Result<Vec<Value>, Refused> {
        let entries = self.call(Method::POST, "/se/log", Some(json!({ "type": name }))).await?;
        Ok(entries.as_array().cloned().unwrap_or_default())
    }

    /// Returns the elements that this JavaScript returns.
    ///
    /// # Errors
    /// Fails if it throws.
    pub async fn elements(&self, script: &str, arguments: Value) -> Result<Vec<Element>, Refused> {
        let found = self.run(script, arguments).await?;
        let id = |one: &Value| one[ELEMENT].as_str().map(|id| Element { id: id.to_owned() });
        Ok(found.as_array().into_iter().flatten().filter_map(id).collect())
    }

    /// Returns what the browser exposes to assistive technology for an element: its `role` or `label`.
    ///
    /// # Errors
    /// Fails if the element no longer exists.
    pub async fn computed(&self, element: &Element, what: &str) -> Result<String, Refused> {
        let value = self.call(Method::GET, &format!("/element/{}/computed{what}", element.id), None).await?;
        Ok(value.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks the element.
    ///
    /// # Errors
    /// Fails if the element no longer exists, or is hidden or covered.
    pub async fn click(&self, element: &Element) -> Result<(), Refused> {
        self.call(Method::POST, &format!("/element/{}/click", element.id), Some(json!({}))).await.map(drop)
    }

    /// Empties a field.
    ///
    /// # Errors
    /// Fails if the element no longer exists or is not a field.
    pub async fn clear(&self, element: &Element) -> Result<(), Refused> {
        self.call(Method::POST, &format!("/element/{}/clear", element.id), Some(json!({}))).await.map(drop)
    }

    /// Presses these keys, with the element in focus.
    ///
    /// # Errors
    /// Fails if the element no longer exists or cannot receive focus.
    pub async fn press(&self, element: &Element, keys: &str) -> Result<(), Refused> {
        let keys = json!({ "text": keys });
        self.call(Method::POST, &format!("/element/{}/value", element.id), Some(keys)).await.map(drop)
    }
}

impl Element {
    /// Returns the element as a script argument.
    #[must_use]
    pub fn argument(&self) -> Value {
        json!({ ELEMENT: self.id })
    }
}

impl Refused {
    /// Returns whether the command may succeed when repeated: the page has changed meanwhile or is not ready yet.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        let passing = [
            "stale element reference",
            "no such element",
            "element not interactable",
            "element click intercepted",
            "detached shadow root",
        ];
        matches!(self, Self::Driver { error, .. } if passing.contains(&error.as_str()))
    }
}
