//! Opens a connection over a socket whose traffic we can read too. tokio-postgres can connect too, but gives no access
//! to its socket.

use std::{io, path::Path, sync::Arc, time::Duration};

use diesel::{ConnectionError, result::Error as DieselError};
use rand::seq::SliceRandom as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_postgres::{
    Client, Config,
    config::{Host, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs},
};

use super::{
    errors::Watched,
    refusal::Refusal,
    session::Session,
    tls::{Passthrough, Protection, Secured, Stream, TlsError},
};
use crate::config::{PostgresServer, PostgresTls};

/// PostgreSQL's default port.
const PORT: u16 = 5432;

/// The driver's end of a connection.
pub(super) type Driver = tokio_postgres::Connection<Watched<Box<dyn Stream>>, Watched<Box<dyn Stream>>>;

/// An open connection.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) driver: Driver,
    pub(super) protection: Protection,
}

/// The address of one server.
enum Address {
    Tcp {
        /// The host to connect to.
        host: String,
        port: u16,
        /// The host that the server's certificate must name.
        name: String,
    },
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

/// Connects to the first server in the URL that accepts us and satisfies `target_session_attrs`.
///
/// # Errors
/// Returns the errors of the last server.
pub(super) async fn connect(server: &PostgresServer, session: &Arc<Session>) -> Result<Connected, ConnectionError> {
    let mut last = ConnectionError::BadConnection("the URL names no host".to_owned());
    for address in addresses(&server.driver) {
        match one(server, &address, session).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn addresses(config: &Config) -> Vec<Address> {
    let (hosts, fixed, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let address = |number: usize| {
        let port = ports.get(number).or_else(|| ports.first()).copied().unwrap_or(PORT);
        match (fixed.get(number), hosts.get(number)) {
            (Some(address), host) => {
                let name = match host {
                    Some(Host::Tcp(name)) => name.clone(),
                    _ => address.to_string(),
                };
                Some(Address::Tcp { host: address.to_string(), port, name })
            }
            (None, Some(Host::Tcp(name))) => Some(Address::Tcp { host: name.clone(), port, name: name.clone() }),
            #[cfg(unix)]
            (None, Some(Host::Unix(directory))) => Some(Address::Unix(directory.join(format!(".s.PGSQL.{port}")))),
            (None, None) => None,
        }
    };
    let mut all: Vec<Address> = (0..hosts.len().max(fixed.len())).filter_map(address).collect();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        all.shuffle(&mut rand::rng());
    }
    all
}

async fn one(server: &PostgresServer, address: &Address, session: &Arc<Session>) -> Result<Connected, ConnectionError> {
    let config = &server.driver;
    let secured = match address {
        Address::Tcp { host, port, name } => {
            let stream = tcp(config, host, *port).await.map_err(unreachable)?;
            let agreed = within(config.get_connect_timeout(), agree(stream, &server.tls, config, name)).await;
            agreed.map_err(|error| ConnectionError::BadConnection(format!("{name} port {port}: {error}")))?
        }
        #[cfg(unix)]
        Address::Unix(path) => Secured::plain(unix(config, path).await.map_err(unreachable)?, Protection::Socket),
    };
    let Secured { stream, protection, binding } = secured;
    let mut config = config.clone();
    // The driver calls its TLS connector immediately, encrypted or not, and gets the same stream back.
    config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
    let connected = config.connect_raw(Watched::new(stream, binding, Arc::clone(session)), Passthrough).await;
    let (client, driver) = connected.map_err(|error| refused(&error, session))?;
    let is_read_only = is_read_only(&driver);
    match config.get_target_session_attrs() {
        TargetSessionAttrs::ReadWrite if is_read_only => {
            Err(ConnectionError::BadConnection("the server accepts no writes".to_owned()))
        }
        TargetSessionAttrs::ReadOnly if !is_read_only => {
            Err(ConnectionError::BadConnection("the server is not read-only".to_owned()))
        }
        _ => Ok(Connected { client, driver, protection }),
    }
}

fn unreachable(error: io::Error) -> ConnectionError {
    ConnectionError::BadConnection(format!("error connecting to server: {error}"))
}

async fn agree(stream: Box<dyn Stream>, tls: &PostgresTls, config: &Config, name: &str) -> io::Result<Secured> {
    Secured::agree(stream, tls, config, name).await.map_err(|error| match error {
        TlsError::Ended(error) => error,
        other => io::Error::other(other),
    })
}

/// Returns whether the server has started this session read-only. PostgreSQL reports both parameters since version 14;
/// a pooler may not.
pub(super) fn is_read_only(driver: &Driver) -> bool {
    let is_on = |name| driver.parameter(name) == Some("on");
    is_on("default_transaction_read_only") || is_on("in_hot_standby")
}

async fn tcp(config: &Config, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in lookup_host((host, port)).await? {
        match within(config.get_connect_timeout(), TcpStream::connect(address)).await {
            Ok(stream) => {
                set_options(config, &stream)?;
                return Ok(Box::new(stream));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn set_options(config: &Config, stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    #[cfg(target_os = "linux")]
    if let Some(limit) = config.get_tcp_user_timeout() {
        socket.set_tcp_user_timeout(Some(*limit))?;
    }
    if config.get_keepalives() {
        let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
        if let Some(interval) = config.get_keepalives_interval() {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(retries) = config.get_keepalives_retries() {
            keepalive = keepalive.with_retries(retries);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

#[cfg(unix)]
async fn unix(config: &Config, path: &Path) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(within(config.get_connect_timeout(), UnixStream::connect(path)).await?))
}

async fn within<T>(limit: Option<&Duration>, connecting: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match limit {
        Some(limit) => tokio::time::timeout(*limit, connecting)
            .await
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "connection timed out"))),
        None => connecting.await,
    }
}

/// Returns why the server refused us, with its SQLSTATE if it sent one.
fn refused(error: &tokio_postgres::Error, session: &Session) -> ConnectionError {
    match (session.take(), error.as_db_error()) {
        (Some(state), Some(said)) => {
            let refusal = Refusal::new(state, Box::new(said.message().to_owned()));
            ConnectionError::CouldntSetupConfiguration(refusal.into_diesel())
        }
        // With TLS 1.3 the server checks the client's certificate only after the client has finished its handshake.
        _ => match crate::tls::explain(error) {
            Some(why) => ConnectionError::BadConnection(format!("the TLS handshake failed: {why}")),
            None => ConnectionError::CouldntSetupConfiguration(DieselError::QueryBuilderError(
                crate::telemetry::chain(error).into(),
            )),
        },
    }
}
