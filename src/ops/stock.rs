//! `orderflow stock`: lists and sets the available stock.

use std::io::Write;

use diesel_async::AsyncConnection as _;
use orderflow_service::{
    config::{DatabaseConfig, Source},
    store::{ANSWER_WITHIN, Connection, Database, StoreError},
};
use orderflow_worker::services::inventory::stock::{self, Set};
use serde_json::{Value, json};

use super::{
    Exit, Failed,
    principal::{Principal, What},
};
use crate::store::actions::Outcome;

/// The largest stock that a product can be set to.
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

/// The new stock of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Pieces.
    pub available: i64,
    /// The stock that the change is based on: if the available number differs by now, nothing is changed.
    pub expected: Option<i64>,
}

/// Changes a product's stock and records who did so, both or neither. Without a change nothing is recorded.
///
/// # Errors
/// Returns database errors; nothing is changed then.
pub async fn change(database: &Database, actor: &Principal, sku: &str, change: Change) -> Result<Set, StoreError> {
    let Change { available, expected } = change;
    database
        .run(ANSWER_WITHIN, async |connection: &mut Connection| {
            connection
                .transaction::<_, StoreError, _>(async |connection| {
                    let set = stock::set(connection, sku, available, expected).await?;
                    if let Set::Done { before } = set {
                        let mut details = json!({ "before": before, "available": available });
                        if let (Value::Object(fields), Some(expected)) = (&mut details, expected) {
                            fields.insert("expected".to_owned(), json!(expected));
                        }
                        actor.note(connection, (What::SetStock, sku), &details, Outcome::Done).await?;
                    }
                    Ok(set)
                })
                .await
        })
        .await
}

/// Sets how many pieces of a product can be ordered from now on.
///
/// # Errors
/// See [`Failed`].
pub async fn set(source: &Source, sku: &str, wanted: Change, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let Change { available, expected } = wanted;
    let (exit, said) = match change(&database(source)?, &Principal::system_user(), sku, wanted).await? {
        Set::Done { before } if json => {
            (Exit::Ok, json!({ "sku": sku, "before": before, "available": available }).to_string())
        }
        Set::Done { before } => (Exit::Ok, format!("{sku}: {available} available from now on (there were {before}).")),
        Set::Past { available } if json => (
            Exit::No,
            json!({ "sku": sku, "error": "changed", "available": available, "expected": expected }).to_string(),
        ),
        Set::Past { available } => {
            let expected = expected.unwrap_or(available);
            (Exit::No, format!("{sku}: {available} available now, not {expected}: nothing was changed."))
        }
        Set::Unknown if json => (Exit::No, json!({ "sku": sku, "error": "not_found" }).to_string()),
        Set::Unknown => (Exit::No, format!("There is no product {sku}: `orderflow stock list` shows what there is.")),
    };
    writeln!(out, "{said}")?;
    Ok(exit)
}
