//! The connection to PostgreSQL, with what Diesel does not expose: an error's SQLSTATE, and a read-only session.
//!
//! Diesel's errors carry a message in the server's language, and no code. So this module reads the stream between the
//! driver and its socket: `errors` finds the SQLSTATE of every error, `session` keeps what it means for the connection,
//! and `connection` attaches it to Diesel's error. `connect` opens the socket, which tokio-postgres would keep to
//! itself, and `tls` encrypts it below all of that.

mod connect;
mod connection;
mod errors;
mod pooled;
mod refusal;
mod session;
mod tls;

pub use connection::Connection;
pub(super) use pooled::Pooled;
pub(super) use refusal::Refusal;
pub use session::Condition;
pub(super) use session::Sightings;
pub use tls::Protection;
