//! Reads how a connection to PostgreSQL is encrypted: the parameters that libpq has and the driver does not.

use std::fmt;

use tokio_postgres::{
    Config,
    config::{ChannelBinding, SslNegotiation},
};

use super::address;
use crate::tls::{ClientTls, Identity, Roots, Verification};

/// The parameters that are removed from the address before the driver reads it. The driver knows only three values of
/// the first, and none of the others.
const PARAMETERS: [&str; 4] = ["sslmode", "sslrootcert", "sslcert", "sslkey"];

/// The modes of encryption, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SslMode {
    /// No encryption.
    Disable,
    /// Encrypted if the server offers it.
    Prefer,
    /// Encrypted; the server is not verified, unless `sslrootcert` is given.
    Require,
    /// Encrypted; a CA of `sslrootcert` has issued the server's certificate.
    VerifyCa,
    /// Encrypted; a trusted CA has issued the server's certificate, and it names the host.
    VerifyFull,
}

impl SslMode {
    const ALL: [Self; 5] = [Self::Disable, Self::Prefer, Self::Require, Self::VerifyCa, Self::VerifyFull];

    /// Returns libpq's name of the mode.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The encryption settings in an address of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresTls {
    /// The requested mode.
    pub mode: SslMode,
    /// How to connect to the server, if encrypted.
    pub client: ClientTls,
}

impl PostgresTls {
    /// Removes our parameters from an address, and returns the rest for the driver.
    ///
    /// # Errors
    /// Returns what is wrong, without secrets.
    pub(super) fn take(text: &str) -> Result<(Self, String), String> {
        let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
        let (given, rest) = if is_url { take_from_url(text)? } else { take_from_list(text)? };
        let value = |name: &str| given.iter().find(|(one, _)| *one == name).map(|(_, value)| value.as_str());
        let mode = value("sslmode").map(mode).transpose()?;
        let roots = value("sslrootcert").map(|path| match path {
            // As in libpq since PostgreSQL 16.
            "system" => Roots::System,
            path => Roots::File(path.into()),
        });
        let identity = match (value("sslcert"), value("sslkey")) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(Identity { certificate: certificate.into(), key: key.into() }),
            (Some(_), None) => return Err("sslcert: expected sslkey=FILE with it".to_owned()),
            (None, Some(_)) => return Err("sslkey: expected sslcert=FILE with it".to_owned()),
        };
        let tls = Self::new(mode, roots, identity)?;
        // Reports unreadable files when a program starts, instead of at its first connection.
        if tls.is_required() {
            tls.client.load(None).map_err(|error| format!("expected usable TLS files: {error}"))?;
        }
        Ok((tls, rest))
    }

    fn new(mode: Option<SslMode>, roots: Option<Roots>, identity: Option<Identity>) -> Result<Self, String> {
        let mode = match (mode, &roots) {
            (Some(mode), Some(Roots::System)) if mode < SslMode::VerifyFull => {
                return Err(format!(
                    "sslmode={mode}: expected verify-full with sslrootcert=system, because anyone can get a certificate from \
                     one of those CAs"
                ));
            }
            (Some(mode), _) => mode,
            (None, Some(Roots::System)) => SslMode::VerifyFull,
            (None, _) => SslMode::Prefer,
        };
        if mode < SslMode::Require && (roots.is_some() || identity.is_some()) {
            let name = if roots.is_some() { "sslrootcert" } else { "sslcert" };
            return Err(format!("{name}: expected sslmode=verify-full, verify-ca or require with it, not {mode}"));
        }
        let verification = match (mode, &roots) {
            (SslMode::VerifyFull, _) => Verification::IssuerAndHost,
            (SslMode::VerifyCa, None) => {
                return Err(
                    "sslmode=verify-ca: expected sslrootcert=FILE with it, or verify-full: anyone can get a certificate \
                     from the CAs that this system trusts"
                        .to_owned(),
                );
            }
            // As in libpq, `require` verifies the issuer if a file of CAs is given.
            (SslMode::VerifyCa | SslMode::Require, Some(_)) => Verification::Issuer,
            _ => Verification::Nothing,
        };
        Ok(Self { mode, client: ClientTls { verification, roots: roots.unwrap_or(Roots::System), identity } })
    }

    /// Returns whether encryption is required.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.mode >= SslMode::Require
    }

    /// Refuses other parameters that this mode cannot satisfy.
    pub(super) fn check(&self, config: &Config) -> Result<(), String> {
        // An `sslmode` that only the driver found would be ignored, and a weaker mode would apply.
        if config.get_ssl_mode() != Config::new().get_ssl_mode() {
            return Err("sslmode: expected it as a parameter of its own, such as sslmode=verify-full".to_owned());
        }
        let encrypted = "expected sslmode=verify-full, verify-ca or require with it";
        if config.get_ssl_negotiation() == SslNegotiation::Direct && !self.is_required() {
            return Err(format!("sslnegotiation=direct: {encrypted}, not {}", self.mode));
        }
        if config.get_channel_binding() == ChannelBinding::Require && !self.is_required() {
            return Err(format!("channel_binding=require: {encrypted}, not {}", self.mode));
        }
        Ok(())
    }
}

fn mode(text: &str) -> Result<SslMode, String> {
    let found = SslMode::ALL.into_iter().find(|mode| mode.as_str() == text);
    found.ok_or_else(|| "sslmode: expected disable, prefer, require, verify-ca or verify-full".to_owned())
}

type Split = (Vec<(&'static str, String)>, String);

fn ours(name: &str) -> Option<&'static str> {
    PARAMETERS.into_iter().find(|one| *one == name)
}

fn take_from_url(text: &str) -> Result<Split, String> {
    let Some((before, query)) = text.split_once('?') else { return Ok((Vec::new(), text.to_owned())) };
    let (mut taken, mut rest) = (Vec::new(), Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match ours(name) {
            None => rest.push(pair),
            Some(name) => taken.push((name, given(name, address::decoded(value)?)?)),
        }
    }
    let rest = if rest.is_empty() { before.to_owned() } else { format!("{before}?{}", rest.join("&")) };
    Ok((taken, rest))
}

fn given(name: &str, value: String) -> Result<String, String> {
    match name {
        _ if !value.is_empty() => Ok(value),
        "sslmode" => Err("sslmode: expected disable, prefer, require, verify-ca or verify-full".to_owned()),
        _ => Err(format!("{name}: expected the path of a file")),
    }
}

/// Parses a list as libpq and the driver do: values may be in apostrophes, and a backslash escapes the next character.
/// Text in any other form is left to the driver, which refuses it.
fn take_from_list(text: &str) -> Result<Split, String> {
    let (mut taken, mut rest, mut left) = (Vec::<(&'static str, String)>::new(), String::new(), text.trim_start());
    while let Some((name, after)) = left.split_once('=') {
        let Some((value, end)) = value(after) else { break };
        let (pair, next) = left.split_at(name.len().saturating_add(1).saturating_add(end));
        match ours(name.trim()) {
            None => rest.push_str(pair),
            Some(name) if taken.iter().any(|(one, _)| *one == name) => {
                return Err(format!("{name} is given twice; expected it once"));
            }
            Some(name) => taken.push((name, given(name, value)?)),
        }
        rest.push(' ');
        left = next.trim_start();
    }
    rest.push_str(left);
    Ok((taken, rest.trim().to_owned()))
}

/// Returns the value at the start of `text`, and where it ends; `None` if its apostrophe is never closed.
fn value(text: &str) -> Option<(String, usize)> {
    let (mut value, mut is_quoted, mut is_escaped, mut has_begun) = (String::new(), false, false, false);
    for (at, letter) in text.char_indices() {
        let end = at.saturating_add(letter.len_utf8());
        match letter {
            _ if is_escaped => {
                value.push(letter);
                is_escaped = false;
            }
            _ if !has_begun && letter.is_whitespace() => continue,
            '\\' => is_escaped = true,
            '\'' if !has_begun => is_quoted = true,
            '\'' if is_quoted => return Some((value, end)),
            _ if letter.is_whitespace() && !is_quoted => return Some((value, at)),
            _ => value.push(letter),
        }
        has_begun = true;
    }
    (!is_quoted && !is_escaped).then_some((value, text.len()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn client(verification: Verification, roots: Roots) -> ClientTls {
        ClientTls { verification, roots, identity: None }
    }

    /// Returns a directory with a certificate and its key.
    fn files() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        let key = KeyPair::generate().expect("a key");
        let certificate =
            CertificateParams::new(["db".to_owned()]).expect("a name").self_signed(&key).expect("it signs");
        for (name, content) in [
            ("ca.pem", certificate.pem()),
            ("c.pem", certificate.pem()),
            ("k.pem", key.serialize_pem()),
            ("empty", String::new()),
            ("other.pem", KeyPair::generate().expect("a key").serialize_pem()),
        ] {
            std::fs::write(directory.path().join(name), content).expect("a file of our own");
        }
        directory
    }

    #[test]
    fn parameters_of_tls_are_read_as_libpq_reads_them() {
        let directory = files();
        let at = directory.path().display();
        let file = || Roots::File(directory.path().join("ca.pem"));
        for (parameters, mode, verification, roots) in [
            (String::new(), SslMode::Prefer, Verification::Nothing, Roots::System),
            ("sslmode=disable".to_owned(), SslMode::Disable, Verification::Nothing, Roots::System),
            ("sslmode=require".to_owned(), SslMode::Require, Verification::Nothing, Roots::System),
            ("sslmode=verify-full".to_owned(), SslMode::VerifyFull, Verification::IssuerAndHost, Roots::System),
            ("sslrootcert=system".to_owned(), SslMode::VerifyFull, Verification::IssuerAndHost, Roots::System),
            (format!("sslmode=require&sslrootcert={at}/ca.pem"), SslMode::Require, Verification::Issuer, file()),
            (format!("sslrootcert={at}/ca.pem&sslmode=verify-ca"), SslMode::VerifyCa, Verification::Issuer, file()),
            (
                format!("sslmode=verify%2Dfull&sslrootcert={}", at.to_string().replace('/', "%2F") + "%2Fca.pem"),
                SslMode::VerifyFull,
                Verification::IssuerAndHost,
                file(),
            ),
        ] {
            let expected = PostgresTls { mode, client: client(verification, roots) };
            let url = format!("postgres://u:p@db/d?connect_timeout=3&{parameters}&application_name=x");
            let (read, rest) = PostgresTls::take(&url).unwrap_or_else(|why| panic!("{url}: {why}"));
            assert_eq!(read, expected, "{url}");
            assert!(!rest.contains("ssl") && rest.contains("connect_timeout=3&"), "{rest}");
            let list = format!("host=db {} password='p w'", parameters.replace('&', " ").replace("%2F", "/"));
            let list = list.replace("%2D", "-");
            let (read, rest) = PostgresTls::take(&list).unwrap_or_else(|why| panic!("{list}: {why}"));
            assert_eq!(read, expected, "{list}");
            assert_eq!(rest.split_whitespace().collect::<Vec<_>>(), ["host=db", "password='p", "w'"], "{list}");
        }
    }

    #[test]
    fn client_certificate_consists_of_two_files() {
        let directory = files();
        let at = directory.path().display();
        let url = format!("postgres://u@db/d?sslmode=require&sslcert={at}/c.pem&sslkey={at}/k.pem");
        let (read, rest) = PostgresTls::take(&url).expect("both can be read");
        let identity = Identity { certificate: directory.path().join("c.pem"), key: directory.path().join("k.pem") };
        assert_eq!((read.client.identity, rest.as_str()), (Some(identity), "postgres://u@db/d"));
    }

    #[test]
    fn contradictory_or_unreadable_parameter_is_named() {
        let directory = files();
        let at = directory.path().display();
        for (parameters, why) in [
            ("sslmode=allow".to_owned(), "sslmode: expected"),
            ("sslmode=".to_owned(), "sslmode: expected"),
            ("sslmode=Require".to_owned(), "sslmode: expected"),
            ("sslmode=verify-ca".to_owned(), "sslrootcert=FILE"),
            ("sslmode=verify-ca&sslrootcert=system".to_owned(), "verify-full"),
            ("sslmode=require&sslrootcert=system".to_owned(), "verify-full"),
            (format!("sslrootcert={at}/ca.pem"), "sslrootcert: expected sslmode=verify-full"),
            (format!("sslmode=disable&sslrootcert={at}/ca.pem"), "not disable"),
            (format!("sslcert={at}/c.pem&sslkey={at}/k.pem"), "sslcert: expected sslmode"),
            (format!("sslmode=require&sslcert={at}/c.pem"), "sslkey=FILE"),
            (format!("sslmode=require&sslkey={at}/k.pem"), "sslcert=FILE"),
            ("sslmode=verify-full&sslrootcert=".to_owned(), "sslrootcert: expected the path"),
            (format!("sslmode=verify-full&sslrootcert={at}/none.pem"), "none.pem cannot be read"),
            (format!("sslmode=verify-full&sslrootcert={at}/empty"), "empty has no certificate"),
            (format!("sslmode=verify-full&sslrootcert={at}/k.pem"), "k.pem has no certificate"),
            (format!("sslmode=require&sslcert={at}/c.pem&sslkey={at}/c.pem"), "c.pem has no private key"),
            (format!("sslmode=require&sslcert={at}/c.pem&sslkey={at}/other.pem"), "cannot be used together"),
        ] {
            for text in
                [format!("postgres://u:hush@db/d?{parameters}"), format!("host=db {}", parameters.replace('&', " "))]
            {
                // In a list, an empty value would take the next word.
                if text.starts_with("host") && text.ends_with('=') {
                    continue;
                }
                let refused = PostgresTls::take(&text).expect_err(&text);
                assert!(refused.contains(why) && refused.contains("expected"), "{text}: {refused}");
                assert!(!refused.contains("hush"), "{text}: {refused}");
            }
        }
        assert!(PostgresTls::take("sslmode=require sslmode=disable").is_err_and(|why| why.contains("twice")));
    }

    /// Apostrophes and backslashes: text within a password is not a parameter.
    #[test]
    fn list_is_split_where_the_driver_splits_it() {
        for (text, mode, rest) in [
            (
                "password='x sslmode=disable' sslmode = 'require' host=db",
                SslMode::Require,
                "password='x sslmode=disable'  host=db",
            ),
            (r"password=x\ sslmode=disable host=db", SslMode::Prefer, r"password=x\ sslmode=disable host=db"),
            (
                r"password='it\'s sslmode=disable' sslmode=require",
                SslMode::Require,
                r"password='it\'s sslmode=disable'",
            ),
            ("password='never closed sslmode=require", SslMode::Prefer, "password='never closed sslmode=require"),
            ("host=db sslmode=require nonsense", SslMode::Require, "host=db  nonsense"),
            ("host=db", SslMode::Prefer, "host=db"),
        ] {
            let (read, left) = PostgresTls::take(text).expect(text);
            assert_eq!((read.mode, left.as_str()), (mode, rest), "{text}");
        }
    }
}
