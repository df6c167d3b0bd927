//! A page's costs and errors, by the browser's own figures.

use std::time::Duration;

use serde_json::Value;

use super::{Browser, PATIENCE};
use crate::until_within;

/// The cost of loading the current page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The number of requests: the page and everything it loaded.
    pub requests: u64,
    /// The bytes transferred for them, including headers.
    pub bytes: u64,
}

impl Browser {
    /// Returns the cost of loading this page, by the Performance API. Embedded data counts with the page; WebSockets
    /// are not included.
    ///
    /// # Panics
    /// Panics if the page has not loaded yet.
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

    /// Returns the time from the start of the navigation to the first contentful paint.
    ///
    /// # Panics
    /// Panics if nothing is painted within a minute.
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

    /// Returns the addresses requested over the network since the last call, in order. Embedded data (`data:`) and
    /// WebSockets are not included.
    ///
    /// # Panics
    /// Panics if the browser refuses the command.
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

    /// Returns the errors in the page's console since the last call: from scripts, the content security policy and
    /// failed loads.
    ///
    /// # Panics
    /// Panics if the browser refuses the command.
    pub async fn errors(&self) -> Vec<String> {
        let entries = self.session.log("browser").await.expect("the console can be read");
        let severe = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Checks that the console has no new errors since it was last read.
    ///
    /// # Panics
    /// Panics if there are new errors.
    pub async fn no_errors(&self) {
        assert_eq!(self.errors().await, Vec::<String>::new(), "errors in the console");
    }
}
