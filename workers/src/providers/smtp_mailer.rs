//! Sends mails over SMTP.
//!
//! Connections are pooled here and not by lettre's own transport (0.11). That one has no time-out for replies, and
//! returns a connection to its pool in the middle of a conversation when the caller stops waiting. The next mail then
//! reads the replies to the previous one: we saw a mail counted as sent that the server had refused.

use std::{
    io::ErrorKind,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use lettre::{
    message::Mailbox,
    transport::smtp::{Error as SmtpError, client::AsyncSmtpConnection},
};
use orderflow_service::{provider_error::ProviderError, tls};

use super::{
    ProviderSetupError, SmtpServerConfig,
    mail::{Mail, Mailer, compose},
    smtp_server::{ConnectError, SmtpServer},
};

/// Connections that were idle for longer are not reused: servers and firewalls close theirs after a few minutes.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// The time-out for connecting, greeting, encrypting and authenticating, and again for the mail itself. RFC 5321 allows
/// minutes, which only ties up a connection: the mail is retried anyway, with the same Message-ID.
const TIME_OUT: Duration = Duration::from_secs(15);

/// Sends mails to a mail server over reused connections. It has as many connections as concurrent mails
/// (`MAIL_CONCURRENCY`).
pub struct SmtpMailer {
    server: SmtpServer,
    from: Mailbox,
    time_out: Duration,
    idle: Mutex<Vec<Idle>>,
}

/// A connection whose last conversation is complete.
struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl SmtpMailer {
    /// Returns a mailer for this server. It connects when the first mail is sent.
    ///
    /// # Errors
    /// Fails if the server's settings cannot be used; see [`ProviderSetupError`].
    pub fn new(config: &SmtpServerConfig, from: Mailbox) -> Result<Self, ProviderSetupError> {
        let server = SmtpServer::new(config)?;
        Ok(Self { server, from, time_out: TIME_OUT, idle: Mutex::default() })
    }

    async fn deliver(&self, mail: Mail) -> Result<(), ProviderError> {
        let message = compose(&self.from, mail)?;
        let mut connection = self.connection().await?;
        let content = message.formatted();
        match tokio::time::timeout(self.time_out, connection.send(message.envelope(), &content)).await {
            // Only now is no reply outstanding; in every other case the connection is dropped.
            Ok(Ok(_)) => self.put_back(connection),
            Ok(Err(error)) => return Err(sorted(&error)),
            Err(_) => return Err(ProviderError::unavailable("the mail server did not take the mail in time")),
        }
        Ok(())
    }

    /// Returns an idle connection that still answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, ProviderError> {
        let connecting = async {
            while let Some(mut connection) = self.take_idle() {
                if connection.test_connected().await {
                    return Ok(connection);
                }
            }
            self.server.connect().await
        };
        match tokio::time::timeout(self.time_out, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            // Every error here concerns the server and not the mail.
            Ok(Err(ConnectError::Smtp(error))) => {
                Err(ProviderError::unavailable(format!("no connection to the mail server: {}", shown(&error))))
            }
            Ok(Err(error)) => Err(ProviderError::unavailable(format!("no connection to the mail server: {error}"))),
            Err(_) => Err(ProviderError::unavailable("no connection to the mail server in time")),
        }
    }

    fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|one| one.since.elapsed() < MAX_IDLE);
        idle.pop().map(|one| one.connection)
    }

    fn put_back(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle { connection, since: Instant::now() });
    }
}

impl Mailer for SmtpMailer {
    fn domain(&self) -> &str {
        self.from.email.domain()
    }

    fn send(&self, mail: Mail) -> BoxFuture<'_, Result<(), ProviderError>> {
        self.deliver(mail).boxed()
    }
}

/// Classifies an error in the conversation about a mail: does it concern this mail or the server?
fn sorted(error: &SmtpError) -> ProviderError {
    let why = format!("the mail server refused a mail: {}", shown(error));
    let reply = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match error.status() {
        Some(code) if error.is_permanent() && is_the_recipients(code.into(), &reply) => ProviderError::permanent(why),
        // The address is not ASCII, and the server does not support that.
        None if error.is_client() => ProviderError::permanent(why),
        // The connection broke, or the server sent something that is not a reply.
        None => ProviderError::unavailable(why),
        // RFC 5321 3.8: the server is shutting down or accepts no mail now.
        Some(code) if u16::from(code) == 421 => ProviderError::unavailable(why),
        Some(_) => ProviderError::transient(why),
    }
}

/// Returns whether a permanent refusal concerns the recipient. Refusals that concern us (authentication, policy, our
/// sender address) end when an operator corrects a setting, and the mails must be sent then.
fn is_the_recipients(code: u16, reply: &str) -> bool {
    // RFC 5321 4.2.3 and RFC 7504: no such mailbox, not local, over quota, invalid name, accepts no mail.
    let about_mailbox = matches!(code, 550 | 551 | 552 | 553 | 556);
    // RFC 3463: 5.7 means security or policy, 5.1.7 and 5.1.8 a bad sender.
    let about_us = ["5.7.", "5.1.7", "5.1.8"].iter().any(|status| reply.trim_start().starts_with(status));
    about_mailbox && !about_us
}

/// Returns an error's text for the log: the reply's code but never its text, which often repeats the recipient's
/// address.
fn shown(error: &SmtpError) -> String {
    match error.status() {
        Some(code) => format!("it replied {code}"),
        None if error.is_timeout() => "it took too long".to_owned(),
        None if error.is_tls() || is_of_encryption(error) => match tls::explain(error) {
            Some(why) => format!("the TLS handshake failed: {why}"),
            None => "the TLS handshake failed".to_owned(),
        },
        None if error.is_client() => "it lacks a required feature".to_owned(),
        None if error.is_response() => "its reply could not be parsed".to_owned(),
        None => "the connection failed".to_owned(),
    }
}

/// Returns whether the error is a failed TLS handshake. It is reported as a connection error, with an `InvalidData`
/// error of tokio-rustls among its causes.
fn is_of_encryption(error: &SmtpError) -> bool {
    let chain = std::iter::successors(std::error::Error::source(error), |error| error.source());
    chain.filter_map(|error| error.downcast_ref::<std::io::Error>()).any(|error| error.kind() == ErrorKind::InvalidData)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use tokio::{
        io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
        net::{TcpListener, TcpStream},
    };

    use crate::providers::SmtpEncryption;

    use super::*;
    use orderflow_order::domain::mail_address::sender;

    /// Starts a mail server that accepts everything, but replies too late to a mail to `slow`. Returns its settings and
    /// the number of connections to it.
    async fn server() -> (SmtpServerConfig, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let config = SmtpServerConfig {
            host: url::Host::Ipv4(std::net::Ipv4Addr::LOCALHOST),
            port: listener.local_addr().expect("it is bound").port(),
            encryption: SmtpEncryption::WhereOffered,
            credentials: None,
            own_ca: None,
        };
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(converse(stream));
            }
        });
        (config, connections)
    }

    async fn converse(stream: TcpStream) -> std::io::Result<()> {
        let (reader, mut writer) = stream.into_split();
        let mut lines = BufReader::new(reader).lines();
        let (mut in_mail, mut slow) = (false, false);
        writer.write_all(b"220 test\r\n").await?;
        while let Some(line) = lines.next_line().await? {
            slow |= line.starts_with("RCPT TO:<slow");
            let reply = match (in_mail, line.as_str()) {
                (true, ".") if slow => {
                    tokio::time::sleep(Duration::from_millis(400)).await;
                    "250 taken\r\n"
                }
                (true, ".") => "250 taken\r\n",
                (true, _) => continue,
                (false, "DATA") => "354 continue\r\n",
                (false, _) => "250 fine\r\n",
            };
            in_mail = !in_mail && line == "DATA";
            writer.write_all(reply.as_bytes()).await?;
        }
        Ok(())
    }

    fn mail(to: &str) -> Mail {
        Mail {
            message_id: "1.received@shop.example".to_owned(),
            to_name: Some("Ada".to_owned()),
            to_address: to.to_owned(),
            subject: "We have received your order".to_owned(),
            text: "text".to_owned(),
            html: "html".to_owned(),
        }
    }

    #[tokio::test]
    async fn connections_are_reused_unless_a_reply_is_outstanding() {
        let (config, connections) = server().await;
        let from = sender("orders@shop.example").expect("a mailbox");
        let mut mailer = SmtpMailer::new(&config, from).expect("a usable server");
        mailer.send(mail("ada@example.com")).await.expect("it is taken");
        mailer.send(mail("ada@example.com")).await.expect("it is taken");
        assert_eq!(connections.load(Ordering::SeqCst), 1);

        mailer.time_out = Duration::from_millis(100);
        let error = mailer.send(mail("slow@example.com")).await.expect_err("no answer in time");
        assert!(matches!(error, ProviderError::Unavailable { .. }), "{error}");

        mailer.time_out = TIME_OUT;
        mailer.send(mail("ada@example.com")).await.expect("it is taken");
        assert_eq!(connections.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn only_refusals_of_the_recipient_are_permanent() {
        assert!(is_the_recipients(550, "5.1.1 <zoe@example.com>: Recipient address rejected"));
        assert!(is_the_recipients(553, "no such name"));
        assert!(!is_the_recipients(535, "5.7.8 authentication failed"));
        assert!(!is_the_recipients(550, "5.7.1 relaying denied"));
        assert!(!is_the_recipients(550, "5.1.8 sender's domain not found"));
        assert!(!is_the_recipients(554, "transaction failed"));
    }
}
