//! `orderflow doctor`: finds what is wrong with the installation, with a remedy for each finding.
//!
//! It leaves nothing behind: the writes that test whether writing works are rolled back. Every request has a time-out
//! of seconds, so the command may run at any time.

mod access;
mod capacity;
mod certificates;
mod database;
mod dead_letters;
mod encryption;
mod management;
mod missing;
mod queues;
mod report;

use std::io::Write;

use super::{Exit, Failed};
use crate::{broker::Topology, services};
use orderflow_service::config::{self, AdminConfig, BrokerConfig, ConfigError, DatabaseConfig, Source};
use report::Checkup;

/// Checks settings, database and broker, and reports what is wrong.
///
/// Returns [`Exit::Ok`] without findings, [`Exit::No`] with findings, [`Exit::Unreachable`] if something could not be
/// checked, and [`Exit::Usage`] if a setting is missing or invalid. In every case it reports what it found.
///
/// # Errors
/// Fails only if `out` cannot be written to.
pub async fn run(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let mut checkup = Checkup::new();
    let (database, admin) = (DatabaseConfig::read(source), AdminConfig::read(source));
    let arrival = config::reconcile_after(source);
    match source.finish(Some(())) {
        Ok(()) => checkup.saw("settings", "the settings for these checks are complete"),
        Err(ConfigError(lines)) => lines.iter().for_each(|line| checkup.setting(line)),
    }
    let in_clear = source.in_clear();
    if !in_clear.is_empty() {
        let named = in_clear.iter().map(|(setting, host)| format!("{setting} to {host}")).collect::<Vec<_>>();
        checkup.saw("plaintext", format!("PLAINTEXT_HOSTS permits unencrypted connections: {}", named.join(", ")));
    }
    let indexed = match &database {
        Some(config) => {
            encryption::unverified(&mut checkup, source, config);
            database::check(&mut checkup, source, config).await
        }
        None => {
            checkup.cannot("database", "DATABASE_URL is missing or invalid");
            None
        }
    };
    // This reads the same variable again: an invalid value was reported above.
    match admin.and_then(|admin| Some((admin, BrokerConfig::read_admin(source)?))) {
        Some((config, broker)) => {
            encryption::others(&mut checkup, source, Some((&broker, &config)));
            certificates::check(&mut checkup, source, database.as_ref(), Some((&broker, &config))).await;
            let topology = Topology::new(services::roster(), config.retry_delays.as_slice());
            let vhost = management::check(&mut checkup, &config, &topology).await;
            let queues = queues::check(&mut checkup, &broker, &topology, vhost).await;
            missing::check(&mut checkup, indexed.as_ref(), queues.as_ref(), arrival).await;
            dead_letters::check(&mut checkup, indexed.as_ref(), queues.as_ref()).await;
        }
        None => {
            encryption::others(&mut checkup, source, None);
            certificates::check(&mut checkup, source, database.as_ref(), None).await;
            checkup.cannot("broker", "AMQP_ADMIN_URL, RABBITMQ_MANAGEMENT_URL or RETRY_DELAYS is missing or invalid");
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
