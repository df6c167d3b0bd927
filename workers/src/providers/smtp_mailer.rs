//! Mails over SMTP.
//!
//! The connections are pooled here and not by lettre's own transport: that one has no time-out for answers, and takes
//! a connection back in the middle of a conversation when its caller stops waiting. The next mail then reads the
//! answers that were meant for the one before, and counts as sent although it was refused.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use futures::{FutureExt as _, future::BoxFuture};
use lettre::{
    message::Mailbox,
    transport::smtp::{Error as SmtpError, client::AsyncSmtpConnection},
};
use secrecy::SecretString;
use tokio::sync::Semaphore;

use super::{
    ProviderError, ProviderSetupError,
    mail::{Mail, Mailer, compose},
    smtp_server::SmtpServer,
};

/// Mail servers commonly take about this many connections from one client.
const CONNECTIONS: usize = 10;

/// A connection that was idle for longer is not trusted: servers and firewalls close theirs after some minutes.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// For connecting, greeting, encrypting and authenticating, and then again for the mail itself. RFC 5321 would wait
/// for minutes, which only ties up a connection: the mail is sent again, with the same Message-ID.
const TIME_OUT: Duration = Duration::from_secs(15);

/// Sends each mail to a mail server, by at most ten connections that are used again.
pub struct SmtpMailer {
    server: SmtpServer,
    from: Mailbox,
    permits: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

/// A connection on which the last conversation was finished.
struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl SmtpMailer {
    /// A mailer for this server, to which it connects when the first mail is sent.
    ///
    /// # Errors
    /// When the URL is of none of the forms that `SMTP_URL` may have.
    pub fn new(url: &SecretString, from: Mailbox) -> Result<Self, ProviderSetupError> {
        let server = SmtpServer::parse(url)?;
        Ok(Self { server, from, permits: Semaphore::new(CONNECTIONS), idle: Mutex::default() })
    }

    async fn deliver(&self, mail: Mail) -> Result<(), ProviderError> {
        let message = compose(&self.from, mail)?;
        // The caller's own time-out bounds the waiting for a free connection.
        let _permit = self.permits.acquire().await.map_err(|_| ProviderError::passing("the mailer is closed"))?;
        let mut connection = self.connection().await?;
        let content = message.formatted();
        match tokio::time::timeout(TIME_OUT, connection.send(message.envelope(), &content)).await {
            // Only now is it certain that no answer is outstanding; in every other case the connection is dropped.
            Ok(Ok(_)) => self.put_back(connection),
            Ok(Err(error)) => return Err(sorted(&error)),
            Err(_) => return Err(ProviderError::passing("the mail server did not take the mail in time")),
        }
        Ok(())
    }

    /// An idle connection that still answers, or a new one.
    async fn connection(&self) -> Result<AsyncSmtpConnection, ProviderError> {
        let connecting = async {
            while let Some(mut connection) = self.take_idle() {
                if connection.test_connected().await {
                    return Ok(connection);
                }
            }
            self.server.connect().await
        };
        match tokio::time::timeout(TIME_OUT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            // Whatever it is, it is about the server and not about the mail.
            Ok(Err(error)) => {
                Err(ProviderError::passing(format!("no connection to the mail server: {}", shown(&error))))
            }
            Err(_) => Err(ProviderError::passing("the mail server did not greet in time")),
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

/// Whether a failure in the conversation about a mail is that mail's own.
fn sorted(error: &SmtpError) -> ProviderError {
    let why = format!("the mail server refused a mail: {}", shown(error));
    let reply = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    match error.status() {
        Some(code) if error.is_permanent() && is_the_recipients(code.into(), &reply) => ProviderError::for_good(why),
        // An address with letters beyond ASCII, and a server that does not take such.
        None if error.is_client() => ProviderError::for_good(why),
        _ => ProviderError::passing(why),
    }
}

/// Whether a permanent refusal is about the recipient. Those about us (authentication, policy, our own sender
/// address) end when somebody corrects a setting, and the mails are then to go out.
fn is_the_recipients(code: u16, reply: &str) -> bool {
    // RFC 5321 4.2.3 and RFC 7504: no such mailbox, not local, over quota, no such name, takes no mail.
    let about_mailbox = matches!(code, 550 | 551 | 552 | 553 | 556);
    // RFC 3463: 5.7 is security or policy, 5.1.7 and 5.1.8 are a bad sender.
    let about_us = ["5.7.", "5.1.7", "5.1.8"].iter().any(|status| reply.trim_start().starts_with(status));
    about_mailbox && !about_us
}

/// An error for the log: the reply's code and never its text, in which servers like to repeat the recipient's address.
fn shown(error: &SmtpError) -> String {
    match error.status() {
        Some(code) => format!("it replied {code}"),
        None if error.is_timeout() => "it took too long".to_owned(),
        None if error.is_tls() => "the encryption could not be agreed on".to_owned(),
        None if error.is_client() => "it cannot do what is needed".to_owned(),
        None if error.is_response() => "its reply could not be understood".to_owned(),
        None => "the connection failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_of_the_recipient_are_for_good() {
        assert!(is_the_recipients(550, "5.1.1 <zoe@example.com>: Recipient address rejected"));
        assert!(is_the_recipients(553, "no such name"));
        assert!(!is_the_recipients(535, "5.7.8 authentication failed"));
        assert!(!is_the_recipients(550, "5.7.1 relaying denied"));
        assert!(!is_the_recipients(550, "5.1.8 sender's domain not found"));
        assert!(!is_the_recipients(554, "transaction failed"));
    }
}
