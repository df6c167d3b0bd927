//! The connection to PostgreSQL, with what Diesel does not hand on: an error's SQLSTATE, and a read-only session.
//!
//! Diesel's errors carry a message, in the server's language, and no code. So the stream between the driver and its
//! socket is read along: `errors` finds the SQLSTATE of every error in it, `session` keeps what it means for the
//! connection, `connection` attaches it to Diesel's error. `connect` opens the socket, which tokio-postgres would keep to
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
