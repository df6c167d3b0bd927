//! A user of a real browser: Debian's Chromium, headless, driven by WebDriver.
//!
//! ```text
//! let browser = Browser::open(&web.root, DESKTOP).await;
//! browser.fill("E-mail", "ada@example.org").await;
//! browser.click("button", "Buy").await;
//! browser.until_text("on its way").await;
//! browser.axe().await;            // fails on any violation
//! browser.no_errors().await;
//! ```
//!
//! Elements are found as by a user of a screen reader: by role and name. Everything waits for a condition, with a
//! time-out. A failing test leaves a screenshot of the page in `.dev/log/browser/` and prints its text.

mod axe;
mod chromedriver;
mod finding;
mod measures;
mod pictures;
mod wire;

use std::time::Duration;

use serde_json::{Value, json};

use self::{chromedriver::Chromedriver, wire::Session};
use crate::until_within;
pub use measures::Weight;
pub use wire::Element;

/// How long anything on a page may take, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The screen and preferences with which the page is viewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// Whether it is a phone's, which lays a page without a viewport tag out as wide as a desktop's and shrinks it.
    pub phone: bool,
    /// Whether the user prefers dark pages.
    pub dark: bool,
    /// Whether the page's scripts run.
    pub scripts: bool,
}

/// A small laptop.
pub const DESKTOP: Screen = Screen { width: 1280, height: 800, phone: false, dark: false, scripts: true };
/// A phone held upright.
pub const PHONE: Screen = Screen { width: 390, height: 844, phone: true, dark: false, scripts: true };

impl Screen {
    /// Returns the same screen for a user who prefers dark pages.
    #[must_use]
    pub fn dark(self) -> Self {
        Self { dark: true, ..self }
    }

    /// Returns the same screen with JavaScript switched off.
    #[must_use]
    pub fn without_scripts(self) -> Self {
        Self { scripts: false, ..self }
    }
}

/// A browser with a fresh profile, like a device that never visited the shop. Dropping it ends it and all its child
/// processes.
#[derive(Debug)]
pub struct Browser {
    session: Session,
    driver: Chromedriver,
}

impl Browser {
    /// Starts a browser and shows this page.
    ///
    /// # Panics
    /// Panics if there is no browser, or the page does not load.
    pub async fn open(url: &str, screen: Screen) -> Self {
        let driver = Chromedriver::start();
        let session = Session::new(&driver.root, driver.capabilities("profile")).await;
        let session = session.unwrap_or_else(|error| panic!("Chromium does not start: {error}"));
        let browser = Self { session, driver };
        // Leave the browser's start page, whose own requests and log entries would be counted.
        browser.go_to("about:blank").await;
        drop((browser.requests().await, browser.errors().await));
        browser.set(screen).await;
        browser.go_to(url).await;
        browser
    }

    /// Changes the screen. Whether scripts run is decided when a page is loaded.
    pub async fn set(&self, screen: Screen) {
        let metrics =
            json!({ "width": screen.width, "height": screen.height, "deviceScaleFactor": 1, "mobile": screen.phone });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if screen.dark { "dark" } else { "light" };
        // Without animations: a moving element cannot be clicked, and a colour in transition fails the contrast checks.
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.devtools("Emulation.setEmulatedMedia", media).await;
        self.devtools("Emulation.setScriptExecutionDisabled", json!({ "value": !screen.scripts })).await;
    }

    /// Shows another page and returns once it has loaded.
    ///
    /// # Panics
    /// Panics if it does not load.
    pub async fn go_to(&self, url: &str) {
        self.session.go_to(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    }

    /// Loads the page again.
    ///
    /// # Panics
    /// Panics if it does not load.
    pub async fn refresh(&self) {
        self.session.refresh().await.expect("the page can be loaded again");
    }

    /// Returns the address of the current page.
    ///
    /// # Panics
    /// Panics if the browser has ended.
    pub async fn url(&self) -> String {
        self.session.url().await.expect("a page is shown")
    }

    /// Waits until the address fulfils `condition`.
    pub async fn until_url(&self, what: &str, condition: impl Fn(&str) -> bool) {
        until_within(PATIENCE, &format!("the address is {what}"), async || {
            let url = self.url().await;
            if condition(&url) { Ok(()) } else { Err(url) }
        })
        .await;
    }

    /// Runs this JavaScript on the page and returns its result.
    ///
    /// # Panics
    /// Panics if it throws.
    pub async fn run(&self, script: &str) -> Value {
        self.session.run(script, json!([])).await.unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Returns the ids of the browser's processes.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.driver.processes()
    }

    async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let answer = self.session.devtools(command, parameters).await;
        answer.unwrap_or_else(|error| panic!("{command}: {error}"))
    }

    /// Writes a screenshot of the whole page as `NAME.png` into the folder named by the variable `PICTURES`, by default
    /// into `.dev/log/browser/`.
    ///
    /// # Panics
    /// Panics if it cannot be written.
    pub async fn picture(&self, name: &str) {
        pictures::of_page(&self.session, name).await;
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if std::thread::panicking() {
            pictures::of_failure(&self.session);
        }
    }
}
