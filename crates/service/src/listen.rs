//! Where a process answers what is not for customers: health, metrics, operators.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

/// Where to listen.
#[derive(Debug, Clone, Copy)]
pub struct Listen {
    /// The setting's name.
    pub setting: &'static str,
    /// What it says, or its default.
    pub address: SocketAddr,
    /// Whether somebody chose that address. If nobody did, any free port will do, since several processes run on one
    /// host.
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
    /// Takes the address.
    ///
    /// # Errors
    /// When it was chosen and cannot be listened on, or when there is no free port.
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
