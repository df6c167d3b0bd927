//! How long certificates are valid, also those that servers show.

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

/// Programs that renew certificates do so when a third of their life is left: 30 of Let's Encrypt's 90 days. With 21 days left that has
/// failed for more than a week, and three weeks are enough to find out why, or to have a certificate issued by hand.
const SOON: TimeDelta = TimeDelta::days(21);

/// Of a short life a quarter, so that a certificate of six days is not always about to end. A third would be the time to renew.
const OF_A_SHORT_LIFE: i32 = 4;

/// How long a server may take to show its certificate.
const TIME_OUT: Duration = Duration::from_secs(5);

/// PostgreSQL's request for TLS (its documentation, 54.7).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// From when to when a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Its first moment.
    pub from: DateTime<Utc>,
    /// Its last one.
    pub until: DateTime<Utc>,
}

impl Validity {
    /// Reads a certificate; `None` where it is none.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, read) = X509Certificate::from_der(certificate).ok()?;
        let time = |seconds| DateTime::from_timestamp(seconds, 0);
        let validity = read.validity();
        Some(Self { from: time(validity.not_before.timestamp())?, until: time(validity.not_after.timestamp())? })
    }

    /// Whether it ends within three weeks, or within a quarter of its life where that is shorter, or has ended.
    #[must_use]
    pub fn is_ending(&self, now: DateTime<Utc>) -> bool {
        self.until - now < SOON.min((self.until - self.from) / OF_A_SHORT_LIFE)
    }

    /// Its last day, as `2026-12-09`.
    #[must_use]
    pub fn last_day(&self) -> String {
        self.until.format("%Y-%m-%d").to_string()
    }
}

/// How a server begins to speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Opening {
    /// At once: AMQP, HTTPS, SMTPS.
    AtOnce,
    /// After PostgreSQL's request for it.
    Postgres,
}

/// Connects to a server, at this address and port, and returns how long the certificate is valid that it shows for this name. Nobody
/// verifies it, and nothing is sent: who answers may be anybody.
///
/// # Errors
/// When it shows none within five seconds.
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
    // Politely, so that its log has no broken connection; what it makes of that is its own affair.
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
    fn three_weeks_or_a_quarter_of_a_short_life_are_soon() {
        for (days, left, soon) in [
            (90, 30, false),
            (90, 22, false),
            (90, 20, true),
            (365, 22, false),
            (365, 20, true),
            (365, -1, true),
            // Renewed when 15 days are left.
            (45, 15, false),
            (45, 10, true),
            (6, 2, false),
            (6, 1, true),
        ] {
            assert_eq!(lasting(days, left), soon, "{left} of {days} days are left");
        }
    }
}
