//! Connections to the broker: named for people, bounded in time, and made again for ever.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use lapin::{Connection, ConnectionProperties, ErrorKind, runtime, tcp::OwnedTLSConfig, uri::AMQPUri};

use super::{Full, NoVhost};
use crate::{
    config::{BrokerConfig, OwnCa},
    process_identity, tls,
    version::VERSION,
};

/// A peer that went away without a word is noticed after two of these; RabbitMQ's documentation advises 5 to 20 s.
const HEARTBEAT_SECONDS: u16 = 10;

/// The largest frame, in bytes, unless `AMQP_URL` says `frame_max=`. lapin 4.12 holds 32 frames of this size for each way
/// of each connection: 8 MiB with RabbitMQ's default of 128 KiB.
/// A body that is larger goes in several frames; headers have to fit into one, and all of ours together take less than
/// 4 KiB.
const FRAME_MAX: u32 = 32 * 1024;

/// The client property with the version of Orderflow that has opened a connection, which the management API shows. Programs without it
/// are older than the rule that a process publishes what its own services wrote.
pub const VERSION_PROPERTY: &str = "orderflow";

/// The whole of connecting: name, TCP, TLS, handshake.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection or it is no longer of use.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The client library's error.
    #[error("RabbitMQ: {0}")]
    Client(#[from] lapin::Error),
    /// The TLS handshake failed, mostly because of the server's certificate.
    #[error(
        "RabbitMQ: the TLS handshake with {host} failed: {why}. Certificates have to name the host and be issued by a CA that this system \
         or TLS_CA trusts"
    )]
    Tls {
        /// With whom.
        host: String,
        /// What failed.
        why: String,
    },
    /// The virtual host is missing, or closed to the user.
    #[error(transparent)]
    NoVhost(#[from] NoVhost),
    /// As many connections as there may be.
    #[error(transparent)]
    Full(Full),
    /// Another caller's attempt to make the connection that they share.
    #[error(transparent)]
    Shared(Arc<BrokerError>),
    /// No answer in time.
    #[error("RabbitMQ did not answer within {0:?}")]
    TimedOut(Duration),
    /// A message that was to be settled is not held any more.
    #[error("RabbitMQ has taken the message back: it was held for too long, or the connection broke")]
    NotHeld,
    /// There is no node to connect to.
    #[error("AMQP_URL names no node")]
    NoNode,
}

impl BrokerError {
    /// Whether RabbitMQ has as many connections as it may. It has one again when another is closed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full(_) => true,
            Self::Shared(error) => error.is_full(),
            _ => false,
        }
    }

    /// Whether the connection has as many channels as RabbitMQ allows on it.
    #[must_use]
    pub fn is_out_of_channels(&self) -> bool {
        match self {
            Self::Client(error) => matches!(error.kind(), ErrorKind::ChannelsLimitReached),
            Self::Shared(error) => error.is_out_of_channels(),
            _ => false,
        }
    }
}

/// Knows the nodes of the broker and the name by which a process is known there. Cheap to clone.
#[derive(Clone)]
pub struct Connector {
    uris: Arc<[AMQPUri]>,
    program: Arc<str>,
    next: Arc<AtomicUsize>,
    own_ca: Option<OwnCa>,
}

/// Without the URIs, which hold passwords.
impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("program", &self.program).finish_non_exhaustive()
    }
}

impl Connector {
    /// `program` is what the management UI shows first: `orderflow-worker`.
    #[must_use]
    pub fn new(config: &BrokerConfig, program: &str) -> Self {
        tls::install();
        let uris = config.nodes.iter().map(|node| {
            let mut uri = node.uri().clone();
            uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
            uri.query.frame_max.get_or_insert(FRAME_MAX);
            uri
        });
        let own_ca = config.own_ca.clone();
        Self { uris: uris.collect(), program: program.into(), next: Arc::default(), own_ca }
    }

    /// Connects to one node, the next time to the next. `purpose` tells a person what the connection is for:
    /// `payment.order-created` makes `orderflow-worker payment.order-created @host 4711`.
    ///
    /// The connection lives on the tokio runtime that this is called on, which has to be a multi-threaded one.
    ///
    /// # Errors
    /// When the node refuses or does not answer within ten seconds.
    pub async fn connect(&self, purpose: &str) -> Result<Connection, BrokerError> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let uri =
            turn.checked_rem(self.uris.len()).and_then(|index| self.uris.get(index)).ok_or(BrokerError::NoNode)?;
        let connecting = self.connect_to(uri, introduced(&self.name(purpose)));
        match tokio::time::timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(explained(error, uri)),
            Err(_) => Err(BrokerError::TimedOut(CONNECT_TIMEOUT)),
        }
    }

    /// Connects to this node, on the current runtime, without a bound in time.
    pub(super) async fn connect_to(
        &self,
        uri: &AMQPUri,
        introduced: ConnectionProperties,
    ) -> lapin::Result<Connection> {
        // Without a certificate of our own: RabbitMQ would be told who we are by it, and we have a name and a password.
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.own_ca.as_ref().map(|ca| ca.pem().to_owned()) };
        Connection::connect_uri_with_config(uri.clone(), introduced, tls, runtime::default_runtime()?).await
    }

    /// The name of a connection of this process with this purpose.
    #[must_use]
    pub fn name(&self, purpose: &str) -> String {
        format!("{} {purpose} {}", self.program, process_identity::place())
    }

    /// Whether somebody is trusted beside the system's CAs.
    pub(super) fn has_own_ca(&self) -> bool {
        self.own_ca.is_some()
    }

    pub(super) fn uris(&self) -> &[AMQPUri] {
        &self.uris
    }
}

/// Says what a failure to connect is about.
fn explained(error: lapin::Error, uri: &AMQPUri) -> BrokerError {
    if let Some(no) = NoVhost::behind(&error, uri) {
        return no.into();
    }
    if let Some(full) = Full::behind(&error) {
        return BrokerError::Full(full);
    }
    match tls::explain(&error) {
        Some(why) => BrokerError::Tls { host: uri.authority.host.clone(), why },
        None => error.into(),
    }
}

/// What a connection of this name tells RabbitMQ about itself.
pub(super) fn introduced(name: &str) -> ConnectionProperties {
    ConnectionProperties::default()
        .with_connection_name(name.into())
        .with_client_property(VERSION_PROPERTY.into(), VERSION.into())
}
