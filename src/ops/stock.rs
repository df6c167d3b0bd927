//! `orderflow stock`: what is available, and setting it.

use std::io::Write;

use diesel_async::AsyncConnection as _;
use serde_json::json;

use super::{
    Exit, Failed,
    actor::{Actor, What},
};
use crate::{
    config::{DatabaseConfig, Source},
    store::{ANSWER_WITHIN, Connection, Database, StoreError, actions::Outcome, stock},
};

/// The most pieces that a product can be said to have.
pub const MOST: i64 = 1_000_000_000;

fn database(source: &Source) -> Result<Database, Failed> {
    let config = source.finish(DatabaseConfig::read(source))?;
    Ok(Database::new(&config, "orderflow stock", 1)?)
}

/// Lists every product and how much of it can be ordered.
///
/// # Errors
/// See [`Failed`].
pub async fn list(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let levels = stock::list(&mut *database(source)?.connection().await?).await?;
    if json {
        serde_json::to_writer_pretty(&mut *out, &json!({ "items": levels }))?;
        writeln!(out)?;
        return Ok(Exit::Ok);
    }
    let width = levels.iter().map(|level| level.sku.len()).max().unwrap_or(0);
    writeln!(out, "{:width$}  {:>10}  name", "sku", "available")?;
    for level in levels {
        writeln!(out, "{:width$}  {:>10}  {}", level.sku, level.available, level.name)?;
    }
    Ok(Exit::Ok)
}

/// Makes `available` pieces of a product orderable from now on, and writes down who did so, both or neither. Returns how
/// many there were, or `None` for a product that the catalogue does not have: then nothing was done.
///
/// # Errors
/// Those of the database; nothing is changed then.
pub async fn change(database: &Database, actor: &Actor, sku: &str, available: i64) -> Result<Option<i64>, StoreError> {
    database
        .run(ANSWER_WITHIN, async |connection: &mut Connection| {
            connection
                .transaction::<_, StoreError, _>(async |connection| {
                    let before = stock::set(connection, sku, available).await?;
                    if let Some(before) = before {
                        let details = json!({ "before": before, "available": available });
                        actor.note(connection, (What::SetStock, sku), &details, Outcome::Done).await?;
                    }
                    Ok(before)
                })
                .await
        })
        .await
}

/// Makes `available` pieces of a product orderable from now on.
///
/// # Errors
/// See [`Failed`].
pub async fn set(source: &Source, sku: &str, available: i64, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let before = change(&database(source)?, &Actor::system_user(), sku, available).await?;
    let Some(before) = before else {
        if json {
            writeln!(out, "{}", json!({ "sku": sku, "error": "not_found" }))?;
        } else {
            writeln!(out, "There is no product {sku}: `orderflow stock list` shows what there is.")?;
        }
        return Ok(Exit::No);
    };
    if json {
        writeln!(out, "{}", json!({ "sku": sku, "before": before, "available": available }))?;
    } else {
        writeln!(out, "{sku}: {available} available from now on (there were {before}).")?;
    }
    Ok(Exit::Ok)
}
