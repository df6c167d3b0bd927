//! The address for requests that are not for customers: health, metrics, operators.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// An address to listen on.
#[derive(Debug, Clone, Copy)]
pub struct Listen {
    /// The setting's name.
    pub setting: &'static str,
    /// The setting's value or default.
    pub address: SocketAddr,
    /// Whether the setting is set. If not, any free port will do, since several processes may run on one host.
    pub is_chosen: bool,
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("{setting}: cannot listen on {address}: {source}; choose another address, or port 0 for any free one")]
pub struct ListenError {
    setting: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl Listen {
    /// Binds the address. Falls back to a free port if the address is in use and the setting is not set.
    ///
    /// # Errors
    /// Fails if the address cannot be bound, or no port is free.
    pub fn bind(&self) -> Result<TcpListener, ListenError> {
        let error = |source, address| ListenError { setting: self.setting, address, source };
        match TcpListener::bind(self.address) {
            Ok(listener) => Ok(listener),
            Err(taken) if taken.kind() == io::ErrorKind::AddrInUse && !self.is_chosen => {
                let any = SocketAddr::new(self.address.ip(), 0);
                TcpListener::bind(any).map_err(|source| error(source, any))
            }
            Err(source) => Err(error(source, self.address)),
        }
    }
}
