//! Which version of the programs this is.

/// The version, as CHANGELOG.md counts them. RabbitMQ gets it with each connection, and metrics and traces have it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `--version` prints behind the program's name: the version, the commit and the commit's day in UTC, as in
/// `0.2.0 (4f3c2a1b9d0e 2026-11-29)`. `development build` stands for the commit in a build without optimisation, and
/// `unknown commit` where git was not there to ask and nobody named one.
pub const DESCRIPTION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ORDERFLOW_BUILD"), ")");
