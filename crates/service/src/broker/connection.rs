//! Opens connections to the broker, within a time limit and under names that operators recognise.

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

/// A peer that vanished silently is noticed after two heartbeats; RabbitMQ's documentation advises 5 to 20 s.
const HEARTBEAT_SECONDS: u16 = 10;

/// The largest frame, in bytes, unless `AMQP_URL` sets `frame_max=`. lapin 4.12 holds 32 frames of this size for each
/// direction of each connection: 8 MiB with RabbitMQ's default of 128 KiB. A larger body is split into several frames.
/// Headers must fit into one frame, and all of ours together take less than 4 KiB.
const FRAME_MAX: u32 = 32 * 1024;

/// The client property with the version of Orderflow that opened a connection, shown by the management API. Programs
/// without it predate the rule that a process publishes only what its own services wrote.
pub const VERSION_PROPERTY: &str = "orderflow";

/// The time limit for connecting: DNS, TCP, TLS and handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection, or why it is no longer usable.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// The client library's error.
    #[error("RabbitMQ: {0}")]
    Client(#[from] lapin::Error),
    /// The TLS handshake failed, mostly because of the server's certificate.
    #[error(
        "RabbitMQ: the TLS handshake with {host} failed: {why}. Certificates must name the host and be issued by a CA that this system \
         or TLS_CA trusts"
    )]
    Tls {
        /// The host.
        host: String,
        /// What failed.
        why: String,
    },
    /// The virtual host is missing, or the user may not access it.
    #[error(transparent)]
    NoVhost(#[from] NoVhost),
    /// RabbitMQ has reached its limit on connections.
    #[error(transparent)]
    Full(Full),
    /// Another caller's attempt to open the shared connection failed.
    #[error(transparent)]
    Shared(Arc<BrokerError>),
    /// No answer in time.
    #[error("RabbitMQ did not answer within {0:?}")]
    TimedOut(Duration),
    /// A message to settle is no longer held.
    #[error("RabbitMQ has taken the message back: it was held for too long, or the connection broke")]
    NotHeld,
    /// No node to connect to.
    #[error("AMQP_URL names no node")]
    NoNode,
}

impl BrokerError {
    /// Returns whether RabbitMQ has reached its limit on connections. It accepts a new one when another is closed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full(_) => true,
            Self::Shared(error) => error.is_full(),
            _ => false,
        }
    }

    /// Returns whether the connection has as many channels as RabbitMQ allows.
    #[must_use]
    pub fn is_out_of_channels(&self) -> bool {
        match self {
            Self::Client(error) => matches!(error.kind(), ErrorKind::ChannelsLimitReached),
            Self::Shared(error) => error.is_out_of_channels(),
            _ => false,
        }
    }
}

/// Opens connections to the nodes of the broker, under the name of this process. Cheap to clone.
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
    /// Returns a connector. `program`, such as `orderflow-worker`, comes first in the names that the management UI
    /// shows.
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

    /// Connects to one node, and at the next call to the next node. `purpose` describes the connection in the
    /// management UI: `payment.order-created` makes `orderflow-worker payment.order-created @host 4711`.
    ///
    /// The connection lives on the tokio runtime that this is called on, which must be multi-threaded.
    ///
    /// # Errors
    /// Fails if the node refuses or does not answer within ten seconds.
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

    /// Connects to this node, on the current runtime, without a time limit.
    pub(super) async fn connect_to(
        &self,
        uri: &AMQPUri,
        introduced: ConnectionProperties,
    ) -> lapin::Result<Connection> {
        // No client certificate: RabbitMQ would identify us by it, but we use a name and a password.
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.own_ca.as_ref().map(|ca| ca.pem().to_string()) };
        Connection::connect_uri_with_config(uri.clone(), introduced, tls, runtime::default_runtime()?).await
    }

    /// Returns the name of a connection of this process with this purpose.
    #[must_use]
    pub fn name(&self, purpose: &str) -> String {
        format!("{} {purpose} {}", self.program, process_identity::place())
    }

    /// Returns whether another CA is trusted in addition to the system's.
    pub(super) fn has_own_ca(&self) -> bool {
        self.own_ca.is_some()
    }

    pub(super) fn uris(&self) -> &[AMQPUri] {
        &self.uris
    }
}

/// Explains a failure to connect.
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

/// Returns the properties with which a connection of this name introduces itself to RabbitMQ.
pub(super) fn introduced(name: &str) -> ConnectionProperties {
    ConnectionProperties::default()
        .with_connection_name(name.into())
        .with_client_property(VERSION_PROPERTY.into(), VERSION.into())
}
