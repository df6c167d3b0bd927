//! Reads settings from their sources, and collects everything that is wrong with them.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use secrecy::SecretString;
use url::Host;

use super::address;
use crate::listen::Listen;

/// One environment variable, as `orderflow config` and the documentation describe it.
#[derive(Debug)]
pub struct Setting {
    /// The variable's name.
    pub name: &'static str,
    /// The value when it is not set; `None` if it must be set, or if its absence has a meaning of its own.
    pub default: Option<&'static str>,
    /// Whether it is secret: never printed, and may also come from the file that `NAME_FILE` names.
    pub secret: bool,
    /// Its meaning, with its unit or form.
    pub meaning: &'static str,
}

impl Setting {
    /// Returns a secret setting without a default.
    #[must_use]
    pub const fn secret(name: &'static str, meaning: &'static str) -> Self {
        Self { name, default: None, secret: true, meaning }
    }

    /// Returns a secret setting whose name is known only at run time. Each call leaks its texts, which last as long as
    /// the process.
    #[must_use]
    pub fn leaked_secret(name: String, meaning: String) -> &'static Self {
        Box::leak(Box::new(Self::secret(name.leak(), meaning.leak())))
    }
}

/// Everything that is wrong with the settings, one line per variable.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigError {}

/// A reading of the settings. Takes values from the environment and collects problems, so that an operator sees all of
/// them together.
#[derive(Debug, Default)]
pub struct Source {
    values: BTreeMap<String, String>,
    /// Variables whose value is not UTF-8.
    no_text: BTreeSet<String>,
    problems: RefCell<Vec<String>>,
    /// Choices whose required setting is missing, found while only given settings are read.
    unmet: RefCell<Vec<String>>,
    /// Whether only given settings are read: an absent one may belong to another program.
    only_given: Cell<bool>,
    names_read: RefCell<BTreeSet<&'static str>>,
    in_clear: RefCell<BTreeSet<(&'static str, String)>>,
}

impl Source {
    /// Reads the process's environment. An empty variable counts as not set.
    #[must_use]
    pub fn from_env() -> Self {
        let mut source = Self::default();
        for (name, value) in std::env::vars_os() {
            // Our own names are UTF-8.
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => drop(source.values.insert(name, value)),
                Err(_) => drop(source.no_text.insert(name)),
            }
        }
        source
    }

    /// Returns the setting's text, from its variable, its file or its default.
    pub fn text(&self, setting: &Setting) -> Option<String> {
        self.given(setting).or_else(|| setting.default.map(str::to_owned))
    }

    /// Returns the setting's text if it is given, ignoring its default.
    pub fn given(&self, setting: &Setting) -> Option<String> {
        if !self.only_given.get() {
            self.names_read.borrow_mut().insert(setting.name);
        }
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

    /// Like [`Source::given`], for a secret that is used as it is.
    pub fn secret(&self, setting: &Setting) -> Option<SecretString> {
        self.given(setting).map(SecretString::from)
    }

    /// Returns the variable's text; an empty one counts as not set.
    fn variable(&self, name: &str) -> Option<&str> {
        if self.no_text.contains(name) {
            self.problem(format!("{name}: expected text in UTF-8"));
        }
        self.values.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Returns whether the setting is given at all, readable or not: an unreadable one has a problem line of its own.
    fn is_named(&self, setting: &Setting) -> bool {
        let is_named = |name: &str| self.no_text.contains(name) || self.variable(name).is_some();
        is_named(setting.name) || file_of(setting).is_some_and(|file| is_named(&file))
    }

    /// Returns the setting's value as parsed by `parse`; `None` if it is absent or invalid. Records a problem if it is
    /// invalid.
    pub fn parse<T>(&self, setting: &Setting, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(setting)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                // Keep a secret's text out of every message. Also keep out text with an @, which may hold a password
                // where none is allowed.
                let is_secret = setting.secret || text.contains('@');
                let shown = if is_secret { ": ".to_owned() } else { format!(" is {text:?}; ") };
                self.problem(format!("{}{shown}{expected}", setting.name));
                None
            }
        }
    }

    /// Like [`Source::parse`], but absence is a problem too.
    pub fn require<T>(&self, setting: &Setting, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        if self.text(setting).is_none() {
            if !self.is_named(setting) && !self.only_given.get() {
                self.problem(format!("{} is not set: {}", setting.name, setting.meaning));
            }
            return None;
        }
        self.parse(setting, parse)
    }

    /// Returns `value`, which the setting `needed` provides and the setting `by` requires. If `needed` is not set, that
    /// is a problem.
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

    /// Records a problem for each choice whose required setting is missing, as found by [`Source::needed`] within
    /// [`Source::only_given`].
    pub fn refuse_unmet(&self) {
        self.unmet.take().into_iter().for_each(|line| self.problem(line));
    }

    /// Records a problem that `parse` cannot detect, such as two contradictory settings. A setting that is read several
    /// times gets one line.
    pub fn problem(&self, line: String) {
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&line) {
            problems.push(line);
        }
    }

    /// Calls `read` so that an absent setting is no problem, but an invalid one is.
    pub fn only_given<T>(&self, read: impl FnOnce(&Self) -> T) -> T {
        self.only_given.set(true);
        let value = read(self);
        self.only_given.set(false);
        value
    }

    /// Returns the names of the settings read so far, given or not. Settings that were read only within
    /// [`Source::only_given`] are omitted, since they may belong to another program.
    #[must_use]
    pub fn names_read(&self) -> BTreeSet<&'static str> {
        self.names_read.borrow().clone()
    }

    /// Records that the setting `by` names this host, if the connection is not encrypted and leaves this machine.
    pub fn goes_in_clear(&self, by: &Setting, host: &Host<String>, encrypted: bool) {
        if !encrypted && !address::is_loopback(host) {
            self.in_clear.borrow_mut().insert((by.name, address::name(host)));
        }
    }

    /// Returns the settings read so far that lead to another machine without encryption, as setting name and host.
    #[must_use]
    pub fn in_clear(&self) -> Vec<(&'static str, String)> {
        self.in_clear.borrow().iter().cloned().collect()
    }

    /// Returns `value` if there is no problem.
    ///
    /// # Errors
    /// Returns all problems found so far.
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

/// Returns the variable that names a secret's file.
fn file_of(setting: &Setting) -> Option<String> {
    setting.secret.then(|| format!("{}_FILE", setting.name))
}

/// Parses a whole number between two bounds, inclusive.
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

/// Parses a duration such as `15m` or `1s`, not zero.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("expected a length of time such as 500ms, 10s, 15m or 6h".to_owned()),
    }
}

/// Reads an address for requests that are not customers': the chosen one, or the default.
pub fn listen(source: &Source, setting: &Setting) -> Option<Listen> {
    let is_chosen = source.given(setting).is_some();
    Some(Listen { setting: setting.name, address: source.parse(setting, address)?, is_chosen })
}

/// Parses an address to listen on.
pub fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port such as 127.0.0.1:8080 or [::1]:8080".to_owned())
}
