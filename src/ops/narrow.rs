//! `orderflow rights narrow`: the last step of an upgrade, once no older program runs.

use std::io::Write;

use orderflow_service::config::{AdminConfig, Source};
use serde_json::json;

use super::{
    Exit, Failed,
    words::{some, wrapped},
};
use crate::{
    broker::{ClientConnection, Management},
    services::roster,
};

/// Restricts the front ends' RabbitMQ user to publishing the order service's event types, or with `undo` lifts the
/// restriction. Safe to repeat.
///
/// Returns [`Exit::No`], and changes nothing, while an older front end is connected.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, undo: bool, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let management = Management::new(source.finish(AdminConfig::read(source))?)?;
    let who = management.whoami().await?;
    if !who.is_administrator() {
        return Err(Failed::Usage(format!(
            "AMQP_ADMIN_URL's user ({}) cannot change rights: that requires the tag administrator",
            who.name
        )));
    }
    let older = if undo { Vec::new() } else { management.older_front_ends().await? };
    let older: Vec<String> = older.into_iter().map(|ClientConnection { name, .. }| name).collect();
    let is_done = older.is_empty();
    if undo {
        management.widen().await?;
    } else if is_done {
        management.narrow(roster()).await?;
    }
    if json {
        writeln!(out, "{}", json!({ "narrow": is_done && !undo, "older_front_ends": older }))?;
    } else if undo {
        writeln!(out, "orderflow-web may publish every kind of event again.")?;
    } else if is_done {
        writeln!(out, "orderflow-web may publish only order.*.")?;
    } else {
        let what = format!(
            "Nothing was changed: older front ends are connected, which publish events of every service: {}. Replace them \
             first.",
            some(&older)
        );
        wrapped(out, "", &what)?;
    }
    Ok(if is_done { Exit::Ok } else { Exit::No })
}
