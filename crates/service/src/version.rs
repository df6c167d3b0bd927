//! The version of the programs.

/// The version, as in CHANGELOG.md. RabbitMQ connections, metrics and traces carry it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The text that `--version` prints after the program's name: the version, the commit and the commit's date in UTC, as
/// in `0.2.0 (4f3c2a1b9d0e 2026-11-29)`. `development build` replaces the commit in a build without optimisation, and
/// `unknown commit` where git is not available and the build environment names no commit.
pub const DESCRIPTION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ORDERFLOW_BUILD"), ")");
