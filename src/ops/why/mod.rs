//! `orderflow why`: one order's whole story, for an operator who must explain where an order is.

pub(crate) mod facts;
pub(crate) mod pending;
mod report;
#[cfg(test)]
mod sample;
mod text;
pub(super) mod violations;
pub(crate) mod waiting;

use std::{collections::HashMap, io::Write, time::Duration};

use futures::FutureExt as _;
use orderflow_service::{
    Subscription,
    broker::{BrokerCheck, Connector},
    config::{BrokerConfig, DatabaseConfig, Source},
    store::{Connection, Database, StoreError},
};
use serde_json::json;

use super::{Exit, Failed};
use crate::{
    services::roster,
    store::story::{self, Found, Wanted},
    way,
};
use facts::Facts;
pub use report::Report;

/// The most orders of one e-mail address to list.
const MOST_ORDERS: usize = 20;

/// How long reading a whole order may take; each statement also has its own time-out.
const WITHIN: Duration = Duration::from_secs(60);

/// The state of each queue, if known.
type Queues = Option<HashMap<Subscription, way::Queue>>;

/// The result of a search.
pub(crate) enum Answer {
    Story(Box<Report>),
    /// One address, several orders.
    Several {
        orders: Vec<Found>,
        /// Whether more orders exist than are listed.
        more: bool,
    },
    Nothing,
}

/// Writes the story of the order that `asked` names: by its id, its number in any notation, the id of one of its
/// events, or its customer's e-mail address. For an address with several orders, lists these.
///
/// Returns [`Exit::No`] if there is no such order, and [`Exit::Unreachable`] if parts could not be read.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, asked: &str, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let (config, broker) = (DatabaseConfig::read(source), BrokerConfig::read_any(source));
    let config = source.finish(config)?;
    let database = Database::new(&config, "orderflow why", 1)?;
    let check = broker.map(|broker| Ok::<_, Failed>(BrokerCheck::new(&Connector::new(&broker, "orderflow why"))?));
    let check = check.transpose()?;
    let answer = match wanted(asked) {
        Some(wanted) => inspect(&database, check.as_ref(), &wanted).await,
        None => Ok(Answer::Nothing),
    };
    match answer {
        Ok(Answer::Story(report)) => tell(*report, json, out),
        Ok(Answer::Several { orders, more }) => {
            if json {
                write_json(out, &json!({ "orders": orders, "more": more }))?;
            } else {
                text::several(out, &orders, more)?;
            }
            Ok(Exit::Ok)
        }
        Ok(Answer::Nothing) => {
            if json {
                write_json(out, &json!({ "order": null, "error": "not_found" }))?;
            } else {
                text::nothing(out, asked)?;
            }
            Ok(Exit::No)
        }
        Err(error) => {
            if json {
                write_json(out, &Report::of_nothing())?;
            }
            Err(Failed::Why(error))
        }
    }
}

fn tell(report: Report, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    if json {
        write_json(out, &report)?;
        // The reasons go to standard error.
        return if report.unavailable.is_empty() { Ok(Exit::Ok) } else { Err(Failed::Incomplete(report.reasons)) };
    }
    text::story(out, &report)?;
    Ok(if report.unavailable.is_empty() { Exit::Ok } else { Exit::Unreachable })
}

fn write_json(out: &mut impl Write, value: &impl serde::Serialize) -> Result<(), Failed> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    Ok(writeln!(out)?)
}

/// Returns what the text names; `None` if it cannot name an order.
pub(crate) fn wanted(asked: &str) -> Option<Wanted> {
    let asked = asked.trim();
    // PostgreSQL rejects NUL characters, so no order has one.
    if asked.contains('\0') {
        return None;
    }
    if asked.contains('@') {
        return Some(Wanted::Email(asked.to_owned()));
    }
    asked.parse().map(Wanted::Id).or_else(|_| asked.parse().map(Wanted::Number)).ok()
}

/// Reads the story. Without a broker, or if it does not answer, the state of the queues is unknown.
///
/// # Errors
/// Returns database errors.
pub(crate) async fn inspect(
    database: &Database,
    check: Option<&BrokerCheck>,
    wanted: &Wanted,
) -> Result<Answer, StoreError> {
    let queues = match check {
        Some(check) => way::queues(database, check, roster().subscriptions()).await.ok(),
        None => None,
    };
    let wanted = wanted.clone();
    let reading = async |connection: &mut Connection| read(connection, wanted, queues).await;
    database.run(WITHIN, reading).await
}

async fn read(connection: &mut Connection, wanted: Wanted, queues: Queues) -> Result<Answer, StoreError> {
    story::snapshot(connection, |connection, moment| {
        async move {
            let limit = i64::try_from(MOST_ORDERS).unwrap_or(i64::MAX).saturating_add(1);
            let mut orders = story::find(connection, &wanted, limit).await?;
            let more = orders.len() > MOST_ORDERS;
            orders.truncate(MOST_ORDERS);
            Ok(match orders.as_slice() {
                [] => Answer::Nothing,
                [order] => {
                    let facts = Facts::read(connection, order.order_id, moment).await;
                    Answer::Story(Box::new(Report::new(Facts { queues, ..facts })))
                }
                _ => Answer::Several { orders, more },
            })
        }
        .boxed()
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_named_by_id_number_or_address() {
        let id = "0198f1c2-7c00-7000-8000-000000000001";
        assert!(wanted(id) == id.parse().ok().map(Wanted::Id));
        assert!(wanted(" 4z8k2-m9qio ") == "4Z8K2M9Q10".parse().ok().map(Wanted::Number));
        assert!(wanted("Ada@example.org") == Some(Wanted::Email("Ada@example.org".to_owned())));
        assert!(wanted("teapot").is_none() && wanted("\0@example.org").is_none());
    }
}
