//! `orderflow migrate`: brings the database's tables up to date.

use std::io::Write;

use orderflow_service::{
    config::{DatabaseConfig, Source},
    store::migrations,
};
use serde_json::json;

use super::{Exit, Failed};
use crate::services::roster;

/// Runs pending migrations. Safe to repeat, and on several hosts at the same time.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let config = source.finish(DatabaseConfig::read(source))?;
    let done = migrations::run(&config, &roster().migrations()).await?;
    if json {
        writeln!(out, "{}", json!({ "migrated": done }))?;
    } else if done.is_empty() {
        writeln!(out, "The database is up to date.")?;
    } else {
        for migration in done {
            writeln!(out, "migrated {migration}")?;
        }
    }
    Ok(Exit::Ok)
}
