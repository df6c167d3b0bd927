//! Connections to the mail server that `SMTP_URL` names.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lettre::transport::smtp::{
    Error as SmtpError,
    authentication::{Credentials, Mechanism},
    client::{AsyncSmtpConnection, Certificate, TlsParameters},
    extension::ClientId,
};
use orderflow_service::config::OwnCa;
use secrecy::ExposeSecret as _;

use super::{ProviderSetupError, SmtpEncryption, SmtpServerConfig};

/// How long a TCP connection may take to open. The caller bounds the whole conversation.
const CONNECT: Duration = Duration::from_secs(5);

/// The authentication mechanisms, in order of preference.
const MECHANISMS: &[Mechanism] = &[Mechanism::Plain, Mechanism::Login];

/// A mail server, and how to connect to it.
pub(super) struct SmtpServer {
    host: String,
    port: u16,
    encryption: SmtpEncryption,
    own_ca: Option<OwnCa>,
    trusting: Mutex<Trusting>,
    credentials: Option<Credentials>,
    hello: ClientId,
}

/// The TLS parameters, and the certificates of `TLS_CA` that they trust.
struct Trusting {
    own: Option<Arc<str>>,
    tls: TlsParameters,
}

impl Trusting {
    fn new(host: &str, encryption: SmtpEncryption, own: Option<Arc<str>>) -> Result<Self, ProviderSetupError> {
        let unchecked = encryption == SmtpEncryption::WhereOffered;
        let mut tls = TlsParameters::builder(host.to_owned()).dangerous_accept_invalid_certs(unchecked);
        if let Some(own) = &own {
            let expected = "expected a file of certificates in TLS_CA";
            let roots = Certificate::from_pem(own.as_bytes());
            tls = tls.add_root_certificate(roots.map_err(|_| ProviderSetupError::SmtpUrl { expected })?);
        }
        let tls = tls.build();
        let tls =
            tls.map_err(|_| ProviderSetupError::SmtpUrl { expected: "expected a host that a certificate can name" })?;
        Ok(Self { own, tls })
    }
}

/// Why there is no connection to the mail server.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The server, or the network in between, failed.
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    /// The server does not offer STARTTLS. A man in the middle may have removed the offer.
    #[error(
        "it does not offer STARTTLS, and nothing is sent to it unencrypted; if you trust everyone on the network in between, \
         add its host to PLAINTEXT_HOSTS"
    )]
    NoStartTls,
}

impl SmtpServer {
    /// Returns a server without connecting to it.
    ///
    /// # Errors
    /// Fails if no certificate can name the host, or the CA file is invalid.
    pub(super) fn new(config: &SmtpServerConfig) -> Result<Self, ProviderSetupError> {
        let (host, port, encryption, own_ca) =
            (config.host_name(), config.port, config.encryption, config.own_ca.clone());
        let trusting = Trusting::new(&host, encryption, own_ca.as_ref().map(OwnCa::pem))?;
        let credentials = config.credentials.as_ref();
        let credentials =
            credentials.map(|(user, password)| Credentials::new(user.clone(), password.expose_secret().to_owned()));
        let (trusting, hello) = (Mutex::new(trusting), ClientId::default());
        Ok(Self { host, port, encryption, own_ca, trusting, credentials, hello })
    }

    /// Returns the TLS parameters, with the CAs that `TLS_CA` contains now. Making them reads all CAs of the system, so
    /// they are kept until the file changes.
    fn tls(&self) -> TlsParameters {
        let own = self.own_ca.as_ref().map(OwnCa::pem);
        let mut trusting = self.trusting.lock().unwrap_or_else(PoisonError::into_inner);
        if trusting.own != own
            && let Ok(renewed) = Trusting::new(&self.host, self.encryption, own)
        {
            *trusting = renewed;
        }
        trusting.tls.clone()
    }

    /// Returns a connection on which mails can be sent. It has no time-out for replies: the caller must have one, and
    /// must drop the connection when it expires.
    ///
    /// # Errors
    /// Fails if the server is unavailable, refuses us, or lacks required encryption. No credentials or mails are sent
    /// in plaintext then.
    pub(super) async fn connect(&self) -> Result<AsyncSmtpConnection, ConnectError> {
        let address = (self.host.as_str(), self.port);
        let tls = self.tls();
        let from_the_start = (self.encryption == SmtpEncryption::FromTheStart).then(|| tls.clone());
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT), &self.hello, from_the_start, None).await?;
        match self.encryption {
            SmtpEncryption::FromTheStart => {}
            _ if connection.can_starttls() => connection.starttls(tls, &self.hello).await?,
            SmtpEncryption::WhereOffered => {}
            SmtpEncryption::Required => return Err(ConnectError::NoStartTls),
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}
