//! `orderflow topology`: what has to exist on the broker.

use std::io::Write;

use serde_json::json;

use super::{Exit, Failed};
use crate::{
    broker::{Management, Topology},
    config::{AdminConfig, RetryDelays, Source},
};

/// The virtual host of the exported file; `topology apply` takes that of `AMQP_ADMIN_URL`.
pub const EXPORTED_VHOST: &str = "orderflow";

/// Makes what is missing, then checks. Safe to repeat, and from many hosts at once.
///
/// # Errors
/// See [`Failed`].
pub async fn apply(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let (management, topology) = open(source)?;
    management.apply(&topology).await?;
    // An object that exists with other arguments is left as it is by the import, so only a look tells.
    report(&topology, &management.live().await?, json, out)
}

/// Compares the broker with what has to exist.
///
/// # Errors
/// See [`Failed`].
pub async fn check(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let (management, topology) = open(source)?;
    report(&topology, &management.live().await?, json, out)
}

/// Writes what has to exist as a boot file for RabbitMQ (`load_definitions`).
///
/// # Errors
/// See [`Failed`].
pub fn export(source: &Source, out: &mut impl Write) -> Result<Exit, Failed> {
    let delays = source.finish(RetryDelays::read(source))?;
    let file = Topology::new(delays.as_slice()).as_boot_file(EXPORTED_VHOST)?;
    serde_json::to_writer_pretty(&mut *out, &file)?;
    writeln!(out)?;
    Ok(Exit::Ok)
}

fn open(source: &Source) -> Result<(Management, Topology), Failed> {
    let config = source.finish(AdminConfig::read(source))?;
    let topology = Topology::new(config.retry_delays.as_slice());
    Ok((Management::new(config)?, topology))
}

fn report(wanted: &Topology, live: &Topology, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let differences = wanted.missing_from(live);
    let exit = if differences.is_empty() { Exit::Ok } else { Exit::No };
    if json {
        let counts = json!({ "exchanges": wanted.exchanges.len(), "queues": wanted.queues.len() });
        writeln!(out, "{}", json!({ "ok": differences.is_empty(), "wanted": counts, "differences": differences }))?;
    } else if differences.is_empty() {
        let (exchanges, queues) = (wanted.exchanges.len(), wanted.queues.len());
        writeln!(out, "RabbitMQ has all {exchanges} exchanges and {queues} queues as they should be.")?;
    } else {
        for difference in differences {
            writeln!(out, "{difference}")?;
        }
        writeln!(
            out,
            "What is missing, `orderflow topology apply` makes. What differs cannot be changed while it exists: \
             empty it, delete it in the management UI, then apply again."
        )?;
    }
    Ok(exit)
}
