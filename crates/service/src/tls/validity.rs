//! How long certificates are valid, including those that servers present.

use std::{io, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::{ClientTls, Roots, Verification};

/// When to warn. Programs that renew certificates do so when a third of their life is left: 30 of Let's Encrypt's 90
/// days. With 21 days left, renewal has failed for more than a week, and three weeks are enough to fix it.
const SOON: TimeDelta = TimeDelta::days(21);

/// For short-lived certificates, warn when a quarter of their life is left: else a six-day certificate would always be
/// about to expire. A third would be when it is renewed.
const OF_A_SHORT_LIFE: i32 = 4;

/// How long a server may take to present its certificate.
const TIME_OUT: Duration = Duration::from_secs(5);

/// PostgreSQL's SSLRequest message (its documentation, 54.7).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// The period in which a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The start.
    pub from: DateTime<Utc>,
    /// The end.
    pub until: DateTime<Utc>,
}

impl Validity {
    /// Returns the validity of a DER certificate, or `None` if it cannot be parsed.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let time = |seconds| DateTime::from_timestamp(seconds, 0);
        let validity = read.validity();
        Some(Self { from: time(validity.not_before.timestamp())?, until: time(validity.not_after.timestamp())? })
    }

    /// Returns whether the certificate expires within three weeks or a quarter of its life, whichever is shorter, or
    /// has expired.
    #[must_use]
    pub fn is_ending(&self, now: DateTime<Utc>) -> bool {
        self.until - now < SOON.min((self.until - self.from) / OF_A_SHORT_LIFE)
    }

    /// Returns the last day, as in `2026-12-09`.
    #[must_use]
    pub fn last_day(&self) -> String {
        self.until.format("%Y-%m-%d").to_string()
    }
}

/// How a connection to a server starts TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opening {
    /// Immediately: AMQP, HTTPS, SMTPS.
    AtOnce,
    /// After PostgreSQL's SSLRequest.
    Postgres,
}

/// Connects to a server at this address and port, and returns the validity of the certificate that it presents for this
/// name. The certificate is not verified, so the server may be anybody; nothing is sent to it.
///
/// # Errors
/// Fails if the server presents no certificate within five seconds.
pub async fn shown(name: &str, at: (&str, u16), opening: Opening) -> io::Result<Validity> {
    timeout(TIME_OUT, ask(name, at, opening)).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn ask(name: &str, at: (&str, u16), opening: Opening) -> io::Result<Validity> {
    let mut stream = TcpStream::connect(at).await?;
    if opening == Opening::Postgres {
        stream.write_all(&SSL_REQUEST).await?;
        if stream.read_u8().await? != b'S' {
            return Err(io::Error::other("it does not offer TLS"));
        }
    }
    let anybody = ClientTls { verification: Verification::Nothing, roots: Roots::System, identity: None };
    let client = anybody.load(None).map_err(io::Error::other)?;
    let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
    let mut stream = TlsConnector::from(Arc::new(client)).connect(name, stream).await?;
    let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let validity = shown.and_then(|certificate| Validity::of(certificate));
    // Close cleanly, so that the server logs no broken connection. Its answer does not matter.
    drop(stream.shutdown().await);
    validity.ok_or_else(|| io::Error::other("its certificate cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting(days: i64, left: i64) -> bool {
        let now = DateTime::from_timestamp(1_800_000_000, 0).expect("a time");
        let until = now + TimeDelta::days(left);
        Validity { from: until - TimeDelta::days(days), until }.is_ending(now)
    }

    #[test]
    fn certificate_is_ending_within_three_weeks_or_a_quarter_of_a_short_life() {
        for (days, left, soon) in [
            (90, 30, false),
            (90, 22, false),
            (90, 20, true),
            (365, 22, false),
            (365, 20, true),
            (365, -1, true),
            // Usually renewed when 15 days are left.
            (45, 15, false),
            (45, 10, true),
            (6, 2, false),
            (6, 1, true),
        ] {
            assert_eq!(lasting(days, left), soon, "{left} of {days} days are left");
        }
    }
}
