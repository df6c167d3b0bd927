//! What a person does on a page: read, find, click, type, and wait until something is there.

use serde_json::{Value, json};

use super::{
    Browser, PATIENCE,
    wire::{Element, Refused},
};
use crate::until_within;

/// Where elements of a role may be found; the browser is asked for the role and the name of each.
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

/// What may have this name, by what usually makes a name. It only spares questions: the browser is asked for the name and
/// the role of each.
const MAY_BE: &str = "const [selector, name] = arguments;
    const clean = (text) => (text ?? '').replace(/\\s+/g, ' ').trim();
    const byId = (one) => (one.getAttribute('aria-labelledby') ?? '').split(' ').map((id) => document.getElementById(id));
    const named = (one) => [one, ...byId(one), ...(one.labels ?? []), ...one.querySelectorAll('img')].flatMap((source) =>
        [source?.getAttribute('aria-label'), source?.title, source?.alt, source?.value, source?.textContent]);
    return [...document.querySelectorAll(selector)].filter((one) => named(one).some((text) => clean(text).includes(name)));";

impl Browser {
    /// The text that is seen on the page.
    pub async fn text(&self) -> String {
        self.run("return document.body.innerText").await.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until this text is seen.
    pub async fn until_text(&self, wanted: &str) {
        self.until_texts(&[wanted]).await;
    }

    /// Waits until one of these texts is seen.
    ///
    /// # Panics
    /// When none is within a minute.
    pub async fn until_texts(&self, wanted: &[&str]) {
        until_within(PATIENCE, &format!("the page says one of {wanted:?}"), async || {
            // In capitals it may be the style that has made them so.
            let text = self.text().await;
            let seen = text.to_lowercase();
            if wanted.iter().any(|wanted| seen.contains(&wanted.to_lowercase())) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Waits until this JavaScript returns something true on the page.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub async fn until_true(&self, what: &str, script: &str) {
        until_within(PATIENCE, what, async || {
            let value = self.run(script).await;
            let is_true = !matches!(value, Value::Null | Value::Bool(false));
            if is_true { Ok(()) } else { Err(value) }
        })
        .await;
    }

    /// The elements of this role and name, now; where there are none, those whose name begins so.
    async fn now(&self, role: &str, name: &str) -> Result<Vec<Element>, Refused> {
        let selector = CANDIDATES.iter().find(|(known, _)| *known == role);
        let (_, selector) = selector.unwrap_or_else(|| panic!("no candidates for the role {role:?} are known"));
        let (mut exact, mut longer) = (Vec::new(), Vec::new());
        for element in self.session.elements(MAY_BE, json!([selector, name])).await? {
            // Roles differ between kinds of fields, which is all one to a person who types.
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

    /// The one element of this role and name, as assistive technology is told them. Waits until there is one. What the name
    /// goes on with may be left out.
    ///
    /// # Panics
    /// When there is none within a minute, or several.
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

    /// Whether there is an element of this role and name now; what the name goes on with may be left out.
    ///
    /// # Panics
    /// When the browser refuses to tell.
    pub async fn has(&self, role: &str, name: &str) -> bool {
        !self.now(role, name).await.expect("the page can be looked at").is_empty()
    }

    /// Clicks the element of this role and name, as soon as it is there and nothing covers it.
    ///
    /// # Panics
    /// When that is not so within a minute.
    pub async fn click(&self, role: &str, name: &str) {
        self.once_possible(role, name, async |element| self.session.click(element).await).await;
    }

    /// Clicks the element of this role and name twice, as quickly as nobody can: both clicks are there before the page has
    /// answered the first.
    ///
    /// # Panics
    /// When there is none within a minute.
    pub async fn click_twice(&self, role: &str, name: &str) {
        let element = self.find(role, name).await;
        let twice = "arguments[0].click(); arguments[0].click();";
        self.session.run(twice, json!([element.argument()])).await.expect("it can be clicked");
    }

    /// Replaces what is in the field with this label.
    ///
    /// # Panics
    /// When there is none within a minute.
    pub async fn fill(&self, label: &str, text: &str) {
        self.once_possible("textbox", label, async |field| {
            self.session.clear(field).await?;
            self.session.press(field, text).await
        })
        .await;
    }

    /// Chooses this option of the list with this label, as by its first letters.
    ///
    /// # Panics
    /// When there is none within a minute.
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
