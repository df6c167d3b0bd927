//! `orderflow doctor`: what is wrong with the installation, each finding with its remedy.
//!
//! It leaves nothing behind: what it writes, to see whether that is possible, it rolls back. Every question has a time-out of
//! seconds, so it may be run at any time.

mod access;
mod capacity;
mod certificates;
mod database;
mod encryption;
mod letters;
mod management;
mod missing;
mod queues;
mod report;

use std::io::Write;

use super::{Exit, Failed};
use crate::{broker::Topology, services};
use orderflow_service::config::{self, AdminConfig, BrokerConfig, ConfigError, DatabaseConfig, Source};
use report::Checkup;

/// Looks at settings, database and broker, and tells what is wrong with them.
///
/// Ends with [`Exit::Ok`] where nothing is, [`Exit::No`] with findings, [`Exit::Unreachable`] where something could not
/// be checked, [`Exit::Usage`] where a setting is missing or wrong; whatever could be found is told in each case.
///
/// # Errors
/// Only when `out` cannot be written to.
pub async fn run(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let mut checkup = Checkup::new();
    let (database, admin) = (DatabaseConfig::read(source), AdminConfig::read(source));
    let arrival = config::reconcile_after(source);
    match source.finish(Some(())) {
        Ok(()) => checkup.saw("settings", "those of these checks are complete"),
        Err(ConfigError(lines)) => lines.iter().for_each(|line| checkup.setting(line)),
    }
    let in_clear = source.in_clear();
    if !in_clear.is_empty() {
        let named = in_clear.iter().map(|(setting, host)| format!("{setting} to {host}")).collect::<Vec<_>>();
        checkup.saw("plaintext", format!("PLAINTEXT_HOSTS permits what goes in clear text: {}", named.join(", ")));
    }
    let indexed = match &database {
        Some(config) => {
            encryption::unverified(&mut checkup, source, config);
            database::check(&mut checkup, source, config).await
        }
        None => {
            checkup.cannot("database", "DATABASE_URL is missing or wrong");
            None
        }
    };
    // The same variable a second time: where it is wrong, that has been said.
    match admin.and_then(|admin| Some((admin, BrokerConfig::read_admin(source)?))) {
        Some((config, broker)) => {
            encryption::others(&mut checkup, source, Some((&broker, &config)));
            certificates::check(&mut checkup, source, database.as_ref(), Some((&broker, &config))).await;
            let topology = Topology::new(services::roster(), config.retry_delays.as_slice());
            let vhost = management::check(&mut checkup, &config, &topology).await;
            let queues = queues::check(&mut checkup, &broker, &topology, vhost).await;
            missing::check(&mut checkup, indexed.as_ref(), queues.as_ref(), arrival).await;
            letters::check(&mut checkup, indexed.as_ref(), queues.as_ref()).await;
        }
        None => {
            encryption::others(&mut checkup, source, None);
            certificates::check(&mut checkup, source, database.as_ref(), None).await;
            checkup.cannot("broker", "AMQP_ADMIN_URL, RABBITMQ_MANAGEMENT_URL or RETRY_DELAYS is missing or wrong");
        }
    }
    if json {
        serde_json::to_writer_pretty(&mut *out, &checkup)?;
        writeln!(out)?;
    } else {
        checkup.tell(out)?;
    }
    Ok(checkup.exit())
}
