//! Opens a connection on a socket that is read along. tokio-postgres can connect too, but only over a socket of
//! its own, in which nothing can be read.

use std::{io, path::Path, sync::Arc, time::Duration};

use diesel::{ConnectionError, result::Error as DieselError};
use rand::seq::SliceRandom as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
};
use tokio_postgres::{
    Client, Config, NoTls,
    config::{Host, LoadBalanceHosts, TargetSessionAttrs},
    tls::NoTlsStream,
};

use super::{errors::Watched, refusal::Refusal, session::Session};

/// PostgreSQL's port where none is given.
const PORT: u16 = 5432;

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The driver's end of a connection.
pub(super) type Driver = tokio_postgres::Connection<Watched<Box<dyn Stream>>, NoTlsStream>;

/// Where one server is.
enum Address {
    Tcp(String, u16),
    #[cfg(unix)]
    Unix(std::path::PathBuf),
}

/// Connects to the first of the URL's servers that takes us and is what `target_session_attrs` asks for.
///
/// # Errors
/// Those of the last server.
pub(super) async fn connect(config: &Config, session: &Arc<Session>) -> Result<(Client, Driver), ConnectionError> {
    let mut last = ConnectionError::BadConnection("the URL names no host".to_owned());
    for address in addresses(config) {
        match one(config, &address, session).await {
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
            (Some(address), _) => Some(Address::Tcp(address.to_string(), port)),
            (None, Some(Host::Tcp(name))) => Some(Address::Tcp(name.clone(), port)),
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

async fn one(config: &Config, address: &Address, session: &Arc<Session>) -> Result<(Client, Driver), ConnectionError> {
    let stream = match address {
        Address::Tcp(host, port) => tcp(config, host, *port).await,
        #[cfg(unix)]
        Address::Unix(path) => unix(config, path).await,
    };
    let stream =
        stream.map_err(|error| ConnectionError::BadConnection(format!("error connecting to server: {error}")))?;
    let stream = Watched::new(stream, Arc::clone(session));
    let connected = config.connect_raw(stream, NoTls).await;
    let (client, driver) = connected.map_err(|error| refused(&error, session))?;
    let is_read_only = is_read_only(&driver);
    match config.get_target_session_attrs() {
        TargetSessionAttrs::ReadWrite if is_read_only => {
            Err(ConnectionError::BadConnection("the server accepts no writes".to_owned()))
        }
        TargetSessionAttrs::ReadOnly if !is_read_only => {
            Err(ConnectionError::BadConnection("the server is not read-only".to_owned()))
        }
        _ => Ok((client, driver)),
    }
}

/// Whether the server has begun this session read-only. PostgreSQL reports both since version 14; a pooler may not.
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

/// Why the server took us not, with its SQLSTATE where it gave one.
fn refused(error: &tokio_postgres::Error, session: &Session) -> ConnectionError {
    match (session.take(), error.as_db_error()) {
        (Some(state), Some(said)) => {
            let refusal = Refusal::new(state, Box::new(said.message().to_owned()));
            ConnectionError::CouldntSetupConfiguration(refusal.into_diesel())
        }
        _ => ConnectionError::CouldntSetupConfiguration(DieselError::QueryBuilderError(
            crate::telemetry::chain(error).into(),
        )),
    }
}
