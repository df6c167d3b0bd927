//! The setting `SMTP_URL`.

use orderflow_service::config::{
    OwnCa, PlaintextHosts, Setting, Source,
    address::{self, Address, Form, Query, Scheme},
};
use secrecy::SecretString;
use url::Host;

/// The setting.
pub const SMTP_URL: Setting = Setting::secret(
    "SMTP_URL",
    "the mail server for MAIL=smtp: smtps://USER:PASSWORD@HOST (port 465, encrypted from the start) or smtp://USER:PASSWORD@HOST:587 (STARTTLS and a valid certificate are required; for this machine and hosts in PLAINTEXT_HOSTS, STARTTLS is used only if offered, and the certificate is not checked); ?tls=required requires both for these hosts too; either value of ?tls= (required, opportunistic) changes the default port of smtp:// from 25 to 587",
);

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SmtpEncryption {
    /// TLS from the first byte.
    FromTheStart,
    /// STARTTLS; nothing is sent without it.
    Required,
    /// STARTTLS if the server offers it. The certificate is not checked: the host is this machine, or one to which
    /// everything may be sent in plaintext anyway.
    WhereOffered,
}

/// A mail server, and our account there.
#[derive(Debug, Clone)]
pub struct SmtpServerConfig {
    /// The host.
    pub host: Host<String>,
    /// The port.
    pub port: u16,
    /// How the connection is encrypted.
    pub encryption: SmtpEncryption,
    /// The user and the password, if the server requires them.
    pub credentials: Option<(String, SecretString)>,
    /// A CA to trust in addition to the system's.
    pub own_ca: Option<OwnCa>,
}

/// The default ports: 25 (RFC 5321), and 465 with TLS from the start (RFC 8314).
const FORM: Form = Form {
    schemes: &[
        Scheme { name: "smtp", port: 25, encrypted: false },
        Scheme { name: "smtps", port: 465, encrypted: true },
    ],
    shown: "smtps://USER:PASSWORD@HOST:465 or smtp://USER:PASSWORD@HOST:587",
    credentials: true,
    path: false,
    query: Query::Only(&["tls"]),
};

/// The port of mail submission (RFC 6409): the default with `tls=` in the address.
const SUBMISSION: u16 = 587;

impl SmtpServerConfig {
    /// Reads the setting, if it is set. Collects problems in `source`.
    #[must_use]
    pub fn read(source: &Source) -> Option<Self> {
        let permitted = PlaintextHosts::read(source);
        let own_ca = OwnCa::read(source);
        source.parse(&SMTP_URL, |text| {
            let server = Self { own_ca: own_ca.clone(), ..Self::parse(text, &permitted)? };
            if let SmtpEncryption::WhereOffered = server.encryption {
                source.goes_in_clear(&SMTP_URL, &server.host, false);
            }
            Ok(server)
        })
    }

    /// Parses the forms that lettre's `from_url` accepts: `smtps://`, `smtp://`, `smtp://…?tls=required|opportunistic`.
    fn parse(text: &str, permitted: &PlaintextHosts) -> Result<Self, String> {
        let address = Address::parse(text, &FORM)?;
        let where_offered = || match permitted.takes(&address.host) {
            true => SmtpEncryption::WhereOffered,
            false => SmtpEncryption::Required,
        };
        let (encryption, port) = match (address.encrypted, address.parameter("tls")) {
            (true, None) => (SmtpEncryption::FromTheStart, address.port),
            (false, None) => (where_offered(), address.port),
            (false, Some("opportunistic")) => (where_offered(), address.url.port().unwrap_or(SUBMISSION)),
            (false, Some("required")) => (SmtpEncryption::Required, address.url.port().unwrap_or(SUBMISSION)),
            (true, Some(_)) => return Err("tls: expected none with smtps://".to_owned()),
            (false, Some(_)) => return Err("tls: expected required or opportunistic".to_owned()),
        };
        Ok(Self { host: address.host, port, encryption, credentials: address.credentials, own_ca: None })
    }

    /// Returns the host as resolvers and certificates write it.
    #[must_use]
    pub fn host_name(&self) -> String {
        address::name(&self.host)
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::{SmtpEncryption::*, *};

    fn read(text: &str) -> Result<SmtpServerConfig, String> {
        let source: Source = [("PLAINTEXT_HOSTS".to_owned(), "mailpit".to_owned())].into_iter().collect();
        SmtpServerConfig::parse(text, &PlaintextHosts::read(&source))
    }

    /// A mail server on another machine must offer STARTTLS, even without `tls=required`. Otherwise an attacker on the
    /// network could remove the offer and read the password.
    #[test]
    fn only_permitted_hosts_may_be_used_without_encryption() {
        for (url, host, port, encryption) in [
            ("smtp://localhost:1025", "localhost", 1025, WhereOffered),
            ("smtp://[::1]", "::1", 25, WhereOffered),
            ("smtp://mailpit:1025", "mailpit", 1025, WhereOffered),
            ("smtp://mailpit?tls=opportunistic", "mailpit", 587, WhereOffered),
            ("smtp://localhost?tls=required", "localhost", 587, Required),
            ("smtp://mail.example", "mail.example", 25, Required),
            ("smtp://u:p@mail.example:587", "mail.example", 587, Required),
            ("smtp://mail.example?tls=opportunistic", "mail.example", 587, Required),
            ("smtp://mail.example:25?tls=required", "mail.example", 25, Required),
            ("smtps://us%40er:p%2Fw@mail.example", "mail.example", 465, FromTheStart),
        ] {
            let server = read(url).expect(url);
            assert_eq!(
                (server.host_name().as_str(), server.port, server.encryption),
                (host, port, encryption),
                "{url}"
            );
        }
        let (user, password) = read("smtps://us%40er:p%2Fw@mail.example").expect("a URL").credentials.expect("some");
        assert_eq!((user.as_str(), password.expose_secret()), ("us@er", "p/w"));
    }

    #[test]
    fn invalid_url_is_explained_without_its_password() {
        for (url, why) in [
            ("http://u:hush@mail.example", "smtps://USER"),
            ("smtp://u:hush@mail.example?tls=maybe", "tls"),
            ("smtps://u:hush@mail.example?tls=required", "tls"),
            ("smtp://u:hush@mail.example?starttls=true", "starttls is not a parameter"),
            ("smtp://u:hush@mail.example/me.example", "path"),
            ("smtp://hush@mail.example", "user without a password"),
            ("hush", "smtps://USER"),
        ] {
            let refused = read(url).expect_err(url);
            assert!(
                refused.contains(why) && refused.contains("expected") && !refused.contains("hush"),
                "{url}: {refused}"
            );
        }
    }
}
