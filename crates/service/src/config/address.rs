//! One parser for the addresses in all settings, so that every part of a program connects to the same server for the
//! same text.
//!
//! Client libraries parse URLs differently: amq-protocol-uri 10.6 replaces an IPv6 host by `localhost`, and others skip
//! what they do not know. Programs connect only to what this parser returns.

use std::net::IpAddr;

use secrecy::SecretString;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};
use url::{Host, Url};

/// A scheme, its default port, and whether its traffic is encrypted.
#[derive(Debug)]
pub struct Scheme {
    /// The name, without `://`.
    pub name: &'static str,
    /// The default port.
    pub port: u16,
    /// Whether the traffic is encrypted.
    pub encrypted: bool,
}

/// HTTP, unencrypted or encrypted.
pub const HTTP: &[Scheme] =
    &[Scheme { name: "http", port: 80, encrypted: false }, Scheme { name: "https", port: 443, encrypted: true }];

/// What may follow the `?`.
#[derive(Debug)]
pub enum Query {
    /// Only these parameters, each once.
    Only(&'static [&'static str]),
    /// Anything, and a fragment too: a link for people.
    Any,
}

/// What an address may consist of.
#[derive(Debug)]
pub struct Form {
    /// The permitted schemes.
    pub schemes: &'static [Scheme],
    /// The form as shown to operators.
    pub shown: &'static str,
    /// Whether it may have a user and password.
    pub credentials: bool,
    /// Whether it may have a path.
    pub path: bool,
    /// The parameters that may follow a `?`.
    pub query: Query,
}

/// A server as a setting names it.
#[derive(Debug, Clone)]
pub struct Address {
    /// Whether its scheme is encrypted.
    pub encrypted: bool,
    /// A host name or an IP address.
    pub host: Host<String>,
    /// The given port, or the default of its scheme.
    pub port: u16,
    /// User and password, decoded.
    pub credentials: Option<(String, SecretString)>,
    /// Decoded parameters.
    pub parameters: Vec<(String, String)>,
    /// The whole address, as the `url` crate writes it.
    pub url: Url,
}

impl Address {
    /// Parses `text`.
    ///
    /// # Errors
    /// Returns what is wrong and what is expected, without secrets.
    pub fn parse(text: &str, form: &Form) -> Result<Self, String> {
        Self::read(text, form).map_err(|why| format!("expected the form {}{why}", form.shown))
    }

    fn read(text: &str, form: &Form) -> Result<Self, String> {
        let because = |why: &str| format!(": {why}");
        if text.chars().any(is_changed) {
            return Err(because("spaces, invisible characters and backslashes must be percent-encoded"));
        }
        let url = Url::parse(text).map_err(|_| String::new())?;
        let scheme = form.schemes.iter().find(|scheme| scheme.name == url.scheme()).ok_or_else(String::new)?;
        check_literally(text, &url).map_err(because)?;
        let host = host(url.host_str().unwrap_or_default()).map_err(|why| because(&why))?;
        let port = url.port().unwrap_or(scheme.port);
        if port == 0 {
            return Err(because("nothing listens on port 0"));
        }
        let credentials = credentials(&url).map_err(because)?;
        if credentials.is_some() && !form.credentials {
            return Err(", without user and password".to_owned());
        }
        if !form.path && !matches!(url.path(), "" | "/") {
            return Err(because("a path is not allowed here"));
        }
        let parameters = parameters(&url, &form.query).map_err(|why| because(&why))?;
        Ok(Self { encrypted: scheme.encrypted, host, port, credentials, parameters, url })
    }

    /// Returns the host as resolvers and client libraries accept it: an IPv6 address without brackets.
    #[must_use]
    pub fn host_name(&self) -> String {
        name(&self.host)
    }

    /// Returns the value of a parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(one, _)| one == name).map(|(_, value)| value.as_str())
    }
}

/// Returns whether `Url` drops or replaces this character: it drops tabs, line breaks and invisible characters in a
/// host, and replaces a backslash by a slash for schemes that it knows.
fn is_changed(one: char) -> bool {
    one.is_whitespace() || one.is_control() || one == '\\' || one.general_category() == GeneralCategory::Format
}

/// Refuses what `Url` silently repairs. It reads `https:///x`, `https:/x` and `https:x` as `https://x`, and resolves
/// dots in a path.
fn check_literally(text: &str, url: &Url) -> Result<(), &'static str> {
    let rest = text.get(url.scheme().len()..).and_then(|rest| rest.strip_prefix("://")).unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() {
        return Err("it has no host after its ://");
    }
    if authority.contains('@') && url.username().is_empty() && url.password().is_none() {
        return Err("it has an @ without user and password");
    }
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let is_dots = |segment: &str| matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..");
    if path.split('/').skip(1).any(is_dots) {
        return Err("its path has . or .. in it");
    }
    Ok(())
}

/// Parses a host as it is written in a URL: possibly percent-encoded, an IPv6 address in brackets. International names
/// become ASCII.
///
/// # Errors
/// Fails if no server can have this name.
pub(super) fn host(text: &str) -> Result<Host<String>, String> {
    if text.is_empty() {
        return Err("it has no host".to_owned());
    }
    match Host::parse(text) {
        // DNS has no longer names, and nothing resolves other forms, such as patterns or lists.
        Ok(Host::Domain(name)) if name.len() > 253 || !is_name(&name) => Err("it has no usable host".to_owned()),
        Ok(host) => Ok(host),
        Err(_) => Err("its host is neither a name nor an IP address".to_owned()),
    }
}

/// Returns whether DNS and certificates allow this name (RFC 1035, 2.3.4: 63 bytes between two dots). Also allows the
/// underscore, which container names have.
fn is_name(name: &str) -> bool {
    let is_of_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(is_of_label)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.strip_suffix('.').unwrap_or(name).split('.').all(is_label)
}

/// Returns a host without the brackets of an IPv6 address.
pub fn name(host: &Host<String>) -> String {
    match host {
        Host::Domain(name) => name.clone(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

/// Returns whether traffic to this host stays on this machine. For `localhost` RFC 6761 guarantees it.
pub fn is_loopback(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.trim_end_matches('.');
            name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
        }
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).to_canonical().is_loopback(),
    }
}

/// Returns `text` percent-decoded.
pub(super) fn decoded(text: &str) -> Result<String, &'static str> {
    let decoded = percent_encoding::percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| "its percent-encoded part is not UTF-8")
}

fn credentials(url: &Url) -> Result<Option<(String, SecretString)>, &'static str> {
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) => Err("it has a password without a user"),
        (_, None) => Err("it has a user without a password"),
        (user, Some(password)) => Ok(Some((decoded(user)?, decoded(password)?.into()))),
    }
}

fn parameters(url: &Url, allowed: &Query) -> Result<Vec<(String, String)>, String> {
    let Query::Only(known) = allowed else { return Ok(Vec::new()) };
    if url.fragment().is_some() {
        return Err("a # must be percent-encoded".to_owned());
    }
    let mut found: Vec<(String, String)> = Vec::new();
    for (name, value) in url.query_pairs() {
        if !known.contains(&name.as_ref()) {
            return Err(format!("{} is not a parameter that is allowed here", shown(&name)));
        }
        if found.iter().any(|(one, _)| *one == name) {
            return Err(format!("{} is given twice", shown(&name)));
        }
        found.push((name.into_owned(), value.into_owned()));
    }
    if url.query().is_some() && found.is_empty() {
        return Err("nothing follows its ?".to_owned());
    }
    Ok(found)
}

/// Returns a parameter's name for a message. Text that is not a plain name may be part of a password, so it is not
/// quoted.
pub(super) fn shown(name: &str) -> &str {
    let is_name =
        !name.is_empty() && name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    if is_name { name } else { "what follows the ?" }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    const FORM: Form = Form {
        schemes: &[
            Scheme { name: "amqp", port: 5672, encrypted: false },
            Scheme { name: "https", port: 443, encrypted: true },
        ],
        shown: "amqp://HOST",
        credentials: true,
        path: true,
        query: Query::Only(&["heartbeat"]),
    };

    /// Covers schemes that the URL standard calls special, and others.
    #[test]
    fn host_is_the_one_to_connect_to() {
        for (text, host, port) in [
            ("amqp://[2001:db8::1]:5673/v", "2001:db8::1", 5673),
            ("amqp://[2001:DB8:0::1]", "2001:db8::1", 5672),
            ("https://[::1]/", "::1", 443),
            ("amqp://127.0.0.1/v", "127.0.0.1", 5672),
            ("amqp://RABBIT.example", "rabbit.example", 5672),
            ("amqp://rab%62it_1:1/v", "rabbit_1", 1),
            ("amqp://müller.example", "xn--mller-kva.example", 5672),
            ("https://shop.example:8443", "shop.example", 8443),
            ("HTTPS://shop.example.", "shop.example.", 443),
            ("https://shop.example/a.b/..c?heartbeat=../3", "shop.example", 443),
        ] {
            let address = Address::parse(text, &FORM).expect(text);
            assert_eq!((address.host_name().as_str(), address.port), (host, port), "{text}");
        }
    }

    #[test]
    fn user_and_password_are_decoded() {
        let address = Address::parse("amqp://us%40er:p%2Fw%3A%2C%C3%BC@h", &FORM).expect("a URL");
        let (user, password) = address.credentials.expect("there are some");
        assert_eq!((user.as_str(), password.expose_secret()), ("us@er", "p/w:,ü"));
    }

    #[test]
    fn unusable_address_is_refused_without_quoting_it() {
        for (text, why) in [
            ("", "amqp://HOST"),
            ("hush", "amqp://HOST"),
            ("ftp://u:hush@h", "amqp://HOST"),
            ("amqp:h", "no host"),
            ("amqp://", "no host"),
            ("amqp://u:hush@/v", "amqp://HOST"),
            ("amqp:///v", "no host"),
            ("amqp://u:hush@h:0/v", "port 0"),
            ("amqp://u:hush@h:65536/v", "amqp://HOST"),
            ("amqp://u:hush@[::1", "amqp://HOST"),
            ("amqp://u:hush@[fe80::1%25eth0]/v", "amqp://HOST"),
            ("amqp://hush@h", "user without a password"),
            ("amqp://:hush@h", "password without a user"),
            ("amqp://u:hush%ff@h", "not UTF-8"),
            ("amqp://u:hu sh@h", "percent-encoded"),
            ("amqp://u:hush\\@h", "percent-encoded"),
            ("amqp://u:hush@h\t", "percent-encoded"),
            ("amqp://u:hush@h/\nv", "percent-encoded"),
            ("https://u:hush@ex\rample", "percent-encoded"),
            ("https://u:hush@ex\u{200b}ample", "percent-encoded"),
            ("https://u:hush@ex\u{ad}ample", "percent-encoded"),
            ("https:///example/hush", "no host"),
            ("https:////example/hush", "no host"),
            ("https:/example/hush", "no host"),
            ("https:example/hush", "no host"),
            ("https:example://hush", "no host"),
            ("https://@example/hush", "an @ without"),
            ("https://:@example/hush", "an @ without"),
            ("amqp://@h/hush", "an @ without"),
            ("https://example/hush/../v", ". or .."),
            ("https://example/hush/%2E/v", ". or .."),
            ("amqp://h/hush/..", ". or .."),
            ("https://example/hush?", "nothing follows its ?"),
            ("https://example/hush?&", "nothing follows its ?"),
            ("https://u:hush@ex..ample", "no usable host"),
            ("https://u:hush@-example", "no usable host"),
            ("amqp://u:hush@example-.lan", "no usable host"),
            ("amqp://u:hush@aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.lan", "no usable host"),
            ("amqp://u:hush@h%20x", "neither a name"),
            ("amqp://u:hush@h,i", "no usable host"),
            ("amqp://u:hush@h?hartbeat=3", "hartbeat is not a parameter"),
            ("amqp://u:hush@h?hush%21=3", "what follows the ? is not a parameter"),
            ("amqp://u:hush@h?heartbeat=3&heartbeat=4", "heartbeat is given twice"),
            ("amqp://u:p@h/v#hush", "#"),
        ] {
            let refused = Address::parse(text, &FORM).expect_err(text);
            assert!(
                refused.starts_with("expected the form amqp://HOST") && refused.contains(why),
                "{text:?}: {refused}"
            );
            assert!(!refused.contains("hush"), "{text:?}: {refused}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, expected) in [
            ("localhost", true),
            ("Shop.LocalHost.", true),
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("0x7f.1", true),
            ("localhost.example", false),
            ("notlocalhost", false),
            ("0.0.0.0", false),
            ("[::]", false),
            ("[::ffff:10.0.0.1]", false),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(&host(text).expect(text)), expected, "{text}");
        }
    }
}
