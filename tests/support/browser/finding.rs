//! What a user does on a page: read, find, click, type, and wait until something appears.

use serde_json::{Value, json};

use super::{
    Browser, PATIENCE,
    wire::{Element, Refused},
};
use crate::until_within;

/// The selectors that can match elements of a role; the browser then computes the role and the name of each match.
const CANDIDATES: [(&str, &str); 8] = [
    ("button", "button, input[type=submit], summary, [role=button]"),
    ("link", "a[href]"),
    ("textbox", "input, textarea"),
    ("spinbutton", "input[type=number]"),
    ("combobox", "select"),
    ("radio", "input[type=radio]"),
    ("checkbox", "input[type=checkbox]"),
    ("heading", "h1, h2, h3, h4"),
];

/// Finds the elements that may have this name, by the usual sources of names. It only saves WebDriver calls: the
/// browser computes the name and the role of each.
const MAY_BE: &str = "const [selector, name] = arguments;
    const clean = (text) => (text ?? '').replace(/\\s+/g, ' ').trim();
    const byId = (one) => (one.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id));
    const named = (one) => [one, ...byId(one), ...(one.labels ?? []), ...one.querySelectorAll('img')].flatMap((source) =>
        [source?.getAttribute('aria-label'), source?.title, source?.alt, source?.value, source?.textContent]);
    return [...document.querySelectorAll(selector)].filter((one) => named(one).some((text) => clean(text).includes(name)));";

impl Browser {
    /// Returns the visible text of the page.
    pub async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until this text is visible.
    pub async fn until_text(&self, wanted: &str) {
        self.until_texts(&[wanted]).await;
    }

    /// Waits until one of these texts is visible.
    ///
    /// # Panics
    /// Panics if none of them appears within a minute.
    pub async fn until_texts(&self, wanted: &[&str]) {
        until_within(PATIENCE, &format!("the page says one of {wanted:?}"), async || {
            // A style may have made the letters upper case.
            let text = self.text().await;
            let seen = text.to_lowercase();
            if wanted.iter().any(|wanted| seen.contains(&wanted.to_lowercase())) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits until this JavaScript returns something other than `null` and `false` on the page.
    ///
    /// # Panics
    /// Panics after a minute.
    pub async fn until_true(&self, what: &str, script: &str) {
        until_within(PATIENCE, what, async || {
            let value = self.run(script).await;
            let is_true = !matches!(value, Value::Null | Value::Bool(false));
            if is_true { Ok(()) } else { Err(value) }
        })
        .await;
    }

    /// Returns the current elements of this role and name; if there are none, those whose name begins with it.
    async fn now(&self, role: &str, name: &str) -> Result<Vec<Element>, Refused> {
        let selector = CANDIDATES.iter().find(|(known, _)| *known == role);
        let (_, selector) = selector.unwrap_or_else(|| panic!("no candidates for the role {role:?} are known"));
        let (mut exact, mut longer) = (Vec::new(), Vec::new());
        for element in self.session.elements(MAY_BE, json!([selector, name])).await? {
            // Different types of field have different roles, but a user types into all of them.
            let right_role = role == "textbox" || self.session.computed(&element, "role").await? == role;
            let label = self.session.computed(&element, "label").await?;
            match right_role.then(|| label.strip_prefix(name)).flatten() {
                Some("") => exact.push(element),
                Some(_) => longer.push(element),
                None => {}
            }
        }
        Ok(if exact.is_empty() { longer } else { exact })
    }

    /// Waits for the only element of this role and name, as assistive technology sees them. The beginning of the name
    /// is enough.
    ///
    /// # Panics
    /// Panics if no element is found within a minute, or there are several.
    pub async fn find(&self, role: &str, name: &str) -> Element {
        let mut found = None;
        until_within(PATIENCE, &format!("there is a {role} {name:?}"), async || {
            let mut elements = self.now(role, name).await.map_err(|error| error.to_string())?;
            assert!(elements.len() < 2, "{} elements are a {role} {name:?}", elements.len());
            found = elements.pop();
            if found.is_some() { Ok(()) } else { Err(self.text().await) }
        })
        .await;
        found.expect("the wait ends when it is found")
    }

    /// Returns whether there is an element of this role and name now. The beginning of the name is enough.
    ///
    /// # Panics
    /// Panics if the browser refuses the command.
    pub async fn has(&self, role: &str, name: &str) -> bool {
        !self.now(role, name).await.expect("the page can be inspected").is_empty()
    }

    /// Clicks the element of this role and name, as soon as it is there and nothing covers it.
    ///
    /// # Panics
    /// Panics if it cannot be clicked within a minute.
    pub async fn click(&self, role: &str, name: &str) {
        self.once_possible(role, name, async |element| self.session.click(element).await).await;
    }

    /// Clicks the element of this role and name twice, faster than any user: both clicks happen before the page has
    /// handled the first.
    ///
    /// # Panics
    /// Panics if no element is found within a minute.
    pub async fn click_twice(&self, role: &str, name: &str) {
        let element = self.find(role, name).await;
        let twice = "arguments[0].click(); arguments[0].click();";
        self.session.run(twice, json!([element.argument()])).await.expect("it can be clicked");
    }

    /// Replaces the content of the field with this label.
    ///
    /// # Panics
    /// Panics if no element is found within a minute.
    pub async fn fill(&self, label: &str, text: &str) {
        self.once_possible("textbox", label, async |field| {
            self.session.clear(field).await?;
            self.session.press(field, text).await
        })
        .await;
    }

    /// Chooses this option of the list with this label, by typing its first letters.
    ///
    /// # Panics
    /// Panics if no element is found within a minute.
    pub async fn choose(&self, label: &str, option: &str) {
        self.once_possible("combobox", label, async |list| self.session.press(list, option).await).await;
    }

    async fn once_possible(&self, role: &str, name: &str, what: impl AsyncFn(&Element) -> Result<(), Refused>) {
        until_within(PATIENCE, &format!("the {role} {name:?} can be used"), async || {
            let element = self.find(role, name).await;
            let done = what(&element).await;
            assert!(done.as_ref().err().is_none_or(Refused::may_pass), "{role} {name:?}: {done:?}");
            done
        })
        .await;
    }
}
