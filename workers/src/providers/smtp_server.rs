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

/// How long a TCP connection may take to be made. Whoever connects bounds the whole conversation.
const CONNECT: Duration = Duration::from_secs(5);

/// How we log in: the first of these that the server knows.
const MECHANISMS: &[Mechanism] = &[Mechanism::Plain, Mechanism::Login];

/// A mail server and the way into it.
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
    /// The server, or the way there.
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    /// Somebody in between may have taken the offer away.
    #[error(
        "it does not offer STARTTLS, and without encryption nothing is sent to it; if you trust everyone on the network to it, \
         add its host to PLAINTEXT_HOSTS"
    )]
    NoStartTls,
}

impl SmtpServer {
    /// Nothing is connected to yet.
    ///
    /// # Errors
    /// When no certificate can name the host.
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

    /// A connection that mails can be sent on. It has no time-out for answers: the caller has to have one, and to drop
    /// the connection when that is over.
    ///
    /// # Errors
    /// When the server is away, does not want us, or is not encrypted where it has to be; nothing was said to it then.
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
