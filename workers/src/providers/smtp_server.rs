//! Connections to the mail server that `SMTP_URL` names.

use std::time::Duration;

use lettre::transport::smtp::{
    Error as SmtpError,
    authentication::{Credentials, Mechanism},
    client::{AsyncSmtpConnection, Certificate, TlsParameters},
    extension::ClientId,
};
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
    tls: TlsParameters,
    credentials: Option<Credentials>,
    hello: ClientId,
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
        let host = config.host_name();
        let unchecked = config.encryption == SmtpEncryption::WhereOffered;
        let mut tls = TlsParameters::builder(host.clone()).dangerous_accept_invalid_certs(unchecked);
        if let Some(own_ca) = &config.own_ca {
            let expected = "expected a file of certificates in TLS_CA";
            let roots = Certificate::from_pem(own_ca.pem().as_bytes());
            tls = tls.add_root_certificate(roots.map_err(|_| ProviderSetupError::SmtpUrl { expected })?);
        }
        let tls = tls.build();
        let tls =
            tls.map_err(|_| ProviderSetupError::SmtpUrl { expected: "expected a host that a certificate can name" })?;
        let credentials = config.credentials.as_ref();
        let credentials =
            credentials.map(|(user, password)| Credentials::new(user.clone(), password.expose_secret().to_owned()));
        let (port, encryption) = (config.port, config.encryption);
        Ok(Self { host, port, encryption, tls, credentials, hello: ClientId::default() })
    }

    /// Returns a connection on which mails can be sent. It has no time-out for replies: the caller must have one, and
    /// must drop the connection when it expires.
    ///
    /// # Errors
    /// Fails if the server is unavailable, refuses us, or lacks required encryption. No credentials or mails are sent
    /// in plaintext then.
    pub(super) async fn connect(&self) -> Result<AsyncSmtpConnection, ConnectError> {
        let address = (self.host.as_str(), self.port);
        let from_the_start = (self.encryption == SmtpEncryption::FromTheStart).then(|| self.tls.clone());
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(address, Some(CONNECT), &self.hello, from_the_start, None).await?;
        match self.encryption {
            SmtpEncryption::FromTheStart => {}
            _ if connection.can_starttls() => connection.starttls(self.tls.clone(), &self.hello).await?,
            SmtpEncryption::WhereOffered => {}
            SmtpEncryption::Required => return Err(ConnectError::NoStartTls),
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(MECHANISMS, credentials).await?;
        }
        Ok(connection)
    }
}
