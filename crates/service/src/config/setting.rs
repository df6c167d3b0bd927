//! Where settings come from, and the collection of everything that is wrong with them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use url::Host;

use super::address;
use crate::listen::Listen;

/// One environment variable: what `orderflow config` prints and what the documentation says of it.
#[derive(Debug)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// What holds when it is not set; `None` where it has to be set, or where absence itself means something.
    pub default: Option<&'static str>,
    /// Never printed; may also come from the file named by `NAME_FILE`.
    pub secret: bool,
    /// What it does, with its unit or its form.
    pub meaning: &'static str,
}

/// Everything that is wrong with the settings, one line a variable.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// A reading of the settings: values from the environment, problems collected rather than thrown one by one,
/// so that whoever sets a system up sees all of them at once.
#[derive(Debug, Default)]
pub struct Source {
    values: BTreeMap<String, String>,
    /// Variables whose value is no text.
    no_text: BTreeSet<String>,
    problems: RefCell<Vec<String>>,
    /// Choices without the setting that they need, where only what is given is read.
    unmet: RefCell<Vec<String>>,
    /// Only what is given is read: what is absent may be another program's.
    only_given: Cell<bool>,
    in_clear: RefCell<BTreeSet<(&'static str, String)>>,
}

impl Source {
    /// Reads the process's environment. A variable that is set but empty counts as not set.
    #[must_use]
    pub fn from_env() -> Self {
        let mut source = Self::default();
        for (name, value) in std::env::vars_os() {
            // Names of ours are text.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(source.values.insert(name, value)),
                Err(_) => drop(source.no_text.insert(name)),
            }
        }
        source
    }

    /// The setting's text, from its variable, its file or its default.
    pub fn text(&self, setting: &Setting) -> Option<String> {
        self.given(setting).or_else(|| setting.default.map(str::to_owned))
    }

    /// The setting's text where someone set it.
    pub fn given(&self, setting: &Setting) -> Option<String> {
        if let Some(value) = self.variable(setting.name) {
            return Some(value.to_owned());
        }
        let path = self.variable(&file_of(setting)?)?;
        match std::fs::read_to_string(path) {
            Ok(text) => Some(text.trim().to_owned()),
            Err(error) => {
                self.problem(format!("{}_FILE: {path} cannot be read: {error}", setting.name));
                None
            }
        }
    }

    /// The variable's text; one that is empty is not set.
    fn variable(&self, name: &str) -> Option<&str> {
        if self.no_text.contains(name) {
            self.problem(format!("{name}: expected text in UTF-8"));
        }
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether there is anything to read the setting from, readable or not: what cannot be read has a line of its own.
    fn is_named(&self, setting: &Setting) -> bool {
        let is_named = |name: &str| self.no_text.contains(name) || self.variable(name).is_some();
        is_named(setting.name) || file_of(setting).is_some_and(|file| is_named(&file))
    }

    /// The setting's value as `parse` reads it; `None` where it is absent or wrong, and wrong is remembered.
    pub fn parse<T>(&self, setting: &Setting, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(setting)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                // A secret's text stays out of every message, and so does what may have a password where none belongs.
                let is_secret = setting.secret || text.contains('@');
                let shown = if is_secret { ": ".to_owned() } else { format!(" is {text:?}; ") };
                self.problem(format!("{}{shown}{expected}", setting.name));
                None
            }
        }
    }

    /// As [`Source::parse`], and absence is a problem too.
    pub fn require<T>(&self, setting: &Setting, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.text(setting).is_none() {
            if !self.is_named(setting) && !self.only_given.get() {
                self.problem(format!("{} is not set: {}", setting.name, setting.meaning));
            }
            return None;
        }
        self.parse(setting, parse)
    }

    /// `value`, which the setting `by` needs and `needed` gives; that it is not set is a problem.
    pub fn needed<T>(&self, value: Option<T>, by: &Setting, needed: &Setting) -> Option<T> {
        if value.is_none() && !self.is_named(needed) {
            let chosen = self.text(by).unwrap_or_default();
            let line = format!("{} is {chosen:?}; with it {} has to be set", by.name, needed.name);
            if self.only_given.get() {
                self.unmet.borrow_mut().push(line);
            } else {
                self.problem(line);
            }
        }
        value
    }

    /// Makes a problem of each choice without the setting that it needs, as [`Source::needed`] found them in
    /// [`Source::only_given`].
    pub fn refuse_unmet(&self) {
        self.unmet.take().into_iter().for_each(|line| self.problem(line));
    }

    /// Remembers a problem that `parse` cannot see, such as two settings that contradict each other. A setting that several
    /// read has one line all the same.
    pub fn problem(&self, line: String) {
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&line) {
            problems.push(line);
        }
    }

    /// Calls `read`, for which a setting that is not there is no problem, and one that is wrong is.
    pub fn only_given<T>(&self, read: impl FnOnce(&Self) -> T) -> T {
        self.only_given.set(true);
        let value = read(self);
        self.only_given.set(false);
        value
    }

    /// Remembers that the setting `by` leads to this host, unless that is encrypted or stays on this machine.
    pub fn goes_in_clear(&self, by: &Setting, host: &Host<String>, encrypted: bool) {
        if !encrypted && !address::is_loopback(host) {
            self.in_clear.borrow_mut().insert((by.name, address::name(host)));
        }
    }

    /// What has been read so far and leads to another machine without encryption: the setting's name and the host.
    #[must_use]
    pub fn in_clear(&self) -> Vec<(&'static str, String)> {
        self.in_clear.borrow().iter().cloned().collect()
    }

    /// `value` if everything was right.
    ///
    /// # Errors
    /// All the problems found so far.
    pub fn finish<T>(&self, value: Option<T>) -> Result<T, ConfigError> {
        let problems = self.problems.borrow();
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(ConfigError(problems.clone())),
        }
    }
}

impl FromIterator<(String, String)> for Source {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(values: I) -> Self {
        Self { values: values.into_iter().collect(), ..Self::default() }
    }
}

/// The variable that names a secret's file.
fn file_of(setting: &Setting) -> Option<String> {
    setting.secret.then(|| format!("{}_FILE", setting.name))
}

/// A whole number between two bounds.
pub fn number<T>(text: &str, low: T, high: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    let expected = || format!("expected a whole number from {low} to {high}");
    let value = text.parse::<T>().map_err(|_| expected())?;
    if value < low || value > high {
        return Err(expected());
    }
    Ok(value)
}

/// A length of time such as `15m` or `1s`, not zero.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a length of time such as 500ms, 10s, 15m or 6h".to_owned()),
    }
}

/// Where to answer what is not for customers: the address that somebody chose, or the usual one.
pub fn listen(source: &Source, setting: &Setting) -> Option<Listen> {
    let is_chosen = source.given(setting).is_some();
    Some(Listen { setting: setting.name, address: source.parse(setting, address)?, is_chosen })
}

/// An address to listen on.
pub fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}
