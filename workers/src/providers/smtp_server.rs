//! What `SMTP_URL` says, and connections to that server.

use std::time::Duration;

use lettre::transport::smtp::{
    authentication::{Credentials, Mechanism},
    client::{AsyncSmtpConnection, TlsParameters},
    extension::ClientId,
};
use percent_encoding::percent_decode_str;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::ProviderSetupError;

/// How long a TCP connection may take to be made. Whoever connects bounds the whole conversation.
const CONNECT: Duration = Duration::from_secs(5);

/// How we log in: the first of these that the server knows.
const MECHANISMS: &[Mechanism] = &[Mechanism::Plain, Mechanism::Login];

/// How a connection is encrypted.
#[derive(Clone)]
enum Encryption {
    /// Not at all: for a server on the same host.
    None,
    /// From the first byte (`smtps://`).
    FromTheStart(TlsParameters),
    /// By STARTTLS, without which nothing is said (`smtp://…?tls=required`).
    Required(TlsParameters),
}

/// A mail server and the way into it.
pub(super) struct SmtpServer {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<Credentials>,
    hello: ClientId,
}

impl SmtpServer {
    /// Reads `smtp://HOST[:25]`, `smtp://…?tls=required` (port 587) or `smtps://…` (port 465), each with
    /// `USER:PASSWORD@`, percent-encoded, where the server wants one. These are the forms that lettre's own
    /// `from_url` takes.
    ///
    /// # Errors
    /// When it is none of these; the URL is not shown.
    pub(super) fn parse(url: &SecretString) -> Result<Self, ProviderSetupError> {
        let wrong = |expected| ProviderSetupError::SmtpUrl { expected };
        let url = Url::parse(url.expose_secret()).map_err(|_| wrong("expected a URL"))?;
        let host = url.host_str().ok_or_else(|| wrong("expected a host"))?;
        // The brackets around an IPv6 address belong to the URL and not to the address.
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = || TlsParameters::new(host.clone()).map_err(|_| wrong("expected a host that a certificate can name"));
        let asked = url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned());
        let (port, encryption) = match (url.scheme(), asked.as_deref()) {
            ("smtp", None) => (25, Encryption::None),
            ("smtp", Some("required")) => (587, Encryption::Required(tls()?)),
            ("smtps", None) => (465, Encryption::FromTheStart(tls()?)),
            _ => return Err(wrong("expected smtps://HOST, smtp://HOST or smtp://HOST?tls=required")),
        };
        let credentials = credentials(&url).map_err(wrong)?;
        Ok(Self { port: url.port().unwrap_or(port), host, encryption, credentials, hello: ClientId::default() })
    }

    /// A connection that mails can be sent on. It has no time-out for answers: the caller has to have one, and to drop
    /// the connection when that is over.
    ///
    /// # Errors
    /// When the server is away or does not want us.
    pub(super) async fn connect(&self) -> Result<AsyncSmtpConnection, lettre::transport::smtp::Error> {
        let address = (self.host.as_str(), self.port);
        let (wrapper, upgrade) = match self.encryption.clone() {
            Encryption::None => (None, None),
            Encryption::FromTheStart(tls) => (Some(tls), None),
            Encryption::Required(tls) => (None, Some(tls)),
        };
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT), &self.hello, wrapper, None).await?;
        if let Some(tls) = upgrade {
            connection.starttls(tls, &self.hello).await?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}

fn credentials(url: &Url) -> Result<Option<Credentials>, &'static str> {
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(std::borrow::Cow::into_owned)
            .map_err(|_| "expected UTF-8 in user and password")
    };
    match url.password() {
        None if url.username().is_empty() => Ok(None),
        None => Err("expected a password with the user"),
        Some(password) => Ok(Some(Credentials::new(decode(url.username())?, decode(password)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<SmtpServer, String> {
        SmtpServer::parse(&SecretString::from(url)).map_err(|error| error.to_string())
    }

    fn form(url: &str) -> (String, u16, &'static str, bool) {
        let server = parse(url).expect("a usable URL");
        let encryption = match server.encryption {
            Encryption::None => "none",
            Encryption::FromTheStart(_) => "from the start",
            Encryption::Required(_) => "required",
        };
        (server.host, server.port, encryption, server.credentials.is_some())
    }

    #[test]
    fn urls_say_host_port_encryption_and_credentials() {
        assert_eq!(form("smtp://localhost:1025"), ("localhost".to_owned(), 1025, "none", false));
        assert_eq!(form("smtp://[::1]"), ("::1".to_owned(), 25, "none", false));
        assert_eq!(form("smtp://mail.example?tls=required"), ("mail.example".to_owned(), 587, "required", false));
        assert_eq!(
            form("smtps://us%40er:p%2Fw@mail.example"),
            ("mail.example".to_owned(), 465, "from the start", true)
        );
    }

    #[test]
    fn credentials_are_decoded() {
        let url = Url::parse("smtps://us%40er:p%2Fw@mail.example").expect("a URL");
        assert_eq!(credentials(&url), Ok(Some(Credentials::new("us@er".to_owned(), "p/w".to_owned()))));
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_password() {
        for url in
            ["http://u:hush@mail.example", "smtp://u:hush@mail.example?tls=maybe", "hush", "smtp://hush@mail.example"]
        {
            let error = parse(url).err().expect("no usable URL");
            assert!(error.starts_with("SMTP_URL: ") && !error.contains("hush"), "{error}");
        }
    }
}
