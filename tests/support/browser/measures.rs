//! What a page costs and what it complains about, by the browser's own figures.

use std::time::Duration;

use serde_json::Value;

use super::{Browser, PATIENCE};
use crate::until_within;

/// What the page that is shown has cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The page and all that it has loaded.
    pub requests: u64,
    /// What came over the wire for them, with headers, in bytes.
    pub bytes: u64,
}

impl Browser {
    /// What loading this page has cost, by the Performance API. What is embedded costs nothing more; a WebSocket is not in
    /// it.
    ///
    /// # Panics
    /// When the page has not loaded yet.
    pub async fn weight(&self) -> Weight {
        let script =
            "const all = performance.getEntriesByType('navigation').concat(performance.getEntriesByType('resource'));
            return [all.length, all.reduce((sum, one) => sum + one.transferSize, 0)]";
        let measured = self.run(script).await;
        let number = |index: usize| measured[index].as_u64().unwrap_or_else(|| panic!("no figures: {measured}"));
        let weight = Weight { requests: number(0), bytes: number(1) };
        assert!(weight.bytes > 0, "the page came out of a cache or has not loaded: {weight:?}");
        weight
    }

    /// How long after the navigation began something was seen for the first time.
    ///
    /// # Panics
    /// When nothing is seen within a minute.
    pub async fn first_paint(&self) -> Duration {
        let script = "return performance.getEntriesByName('first-contentful-paint').map(one => one.startTime)[0]";
        let mut painted = None;
        until_within(PATIENCE, "something is painted", async || {
            painted = self.run(script).await.as_f64();
            painted.map(drop).ok_or("nothing yet")
        })
        .await;
        Duration::from_secs_f64(painted.expect("the wait ends when it is known") / 1000.0)
    }

    /// The addresses that were asked for over the network since this was called last, in order. What is embedded in a page
    /// (`data:`) is not among them, and neither is a WebSocket.
    ///
    /// # Panics
    /// When the browser refuses to tell.
    pub async fn requests(&self) -> Vec<String> {
        let entries = self.session.log("performance").await.expect("the network's log can be read");
        let request = |entry: &Value| {
            let told: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
            let message = &told["message"];
            let sent = message["method"] == "Network.requestWillBeSent";
            let url = message["params"]["request"]["url"].as_str().filter(|_| sent)?;
            url.starts_with("http").then(|| url.to_owned())
        };
        entries.iter().filter_map(request).collect()
    }

    /// The errors that the page's console has got since this was called last: of scripts, of the content security policy,
    /// and of what could not be loaded.
    ///
    /// # Panics
    /// When the browser refuses to tell.
    pub async fn errors(&self) -> Vec<String> {
        let entries = self.session.log("browser").await.expect("the console can be read");
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Fails when the console has got an error since it was asked last.
    ///
    /// # Panics
    /// When it has.
    pub async fn no_errors(&self) {
        assert_eq!(self.errors().await, Vec::<String>::new(), "errors in the console");
    }
}
