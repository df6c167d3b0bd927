//! Checks that PostgreSQL and RabbitMQ allow as many connections as the programs want.

use std::collections::BTreeMap;

use orderflow_service::{
    config::{DATABASE_ROLE_PREFIX, DatabaseConfig, Source},
    store::{Connection, StoreError, capacity::Capacity},
};

use super::report::Checkup;
use crate::{
    broker::{ConnectionLimit, Management, ManagementError},
    ops::lack::MORE_CONNECTIONS,
    services::roster,
    shares::Shares,
    web::Part,
};

/// The connections to RabbitMQ that a shop needs: up to nine for a worker for all services, a front end and an
/// operator's command (docs/OPERATORS.md, "Connections"), and one in reserve.
const BROKER_CONNECTIONS: usize = 10;

/// Finds roles that allow fewer connections than one process opens.
///
/// # Errors
/// Returns database errors.
pub async fn database(
    found: &mut Checkup,
    source: &Source,
    config: &DatabaseConfig,
    connection: &mut Connection,
) -> Result<(), StoreError> {
    let prefix = source.text(&DATABASE_ROLE_PREFIX).unwrap_or_default();
    let wanted = wanted(config, &prefix);
    let names: Vec<String> = wanted.keys().cloned().collect();
    for capacity in Capacity::of(connection, &names).await? {
        let needed = wanted.get(&capacity.role).copied().unwrap_or_default();
        compare(found, &capacity, needed, "one process of it");
    }
    let own = Capacity::own(connection).await?;
    if own.programs > 0 && !names.contains(&own.role) {
        let needed = config.worker_pool(roster().subscriptions().len()) + Shares::of(config, None).all();
        compare(found, &own, needed, "a worker for all services and a front end");
    }
    Ok(())
}

/// Returns the roles of programs, and how many connections one process of each opens.
fn wanted(config: &DatabaseConfig, prefix: &str) -> BTreeMap<String, usize> {
    let queues = |service: &str| roster().subscriptions().iter().filter(|one| one.service() == service).count();
    let mut wanted: BTreeMap<String, usize> = roster()
        .names()
        .into_iter()
        .map(|name| (format!("{prefix}_{}", name.replace('-', "_")), config.worker_pool(queues(name))))
        .collect();
    wanted.insert(format!("{prefix}_worker"), config.worker_pool(roster().subscriptions().len()));
    wanted.insert(format!("{prefix}_web"), Shares::of(config, Some(Part::Shop)).all());
    wanted.insert(format!("{prefix}_ops"), Shares::of(config, Some(Part::Console)).all());
    wanted
}

fn compare(found: &mut Checkup, capacity: &Capacity, needed: usize, who: &str) {
    if !capacity.allows(needed) {
        found.found("database", format!("{capacity}; {who} opens up to {needed}."), MORE_CONNECTIONS);
    }
}

/// Finds connection limits of RabbitMQ that are reached, or too small for a shop.
///
/// # Errors
/// See [`ManagementError`].
pub async fn broker(found: &mut Checkup, management: &Management) -> Result<(), ManagementError> {
    for ConnectionLimit { of, limit, in_use } in management.connection_limits().await? {
        let remedy = "raise max-connections (`rabbitmqctl set_vhost_limits`, `set_user_limits`, or the hoster's plan), or run fewer \
                      processes";
        if in_use >= limit {
            let what =
                format!("RabbitMQ allows {of} {limit} connections, and all are in use: queues may not be consumed.");
            found.found("broker", what, remedy);
        } else if limit < BROKER_CONNECTIONS && of.starts_with("the virtual host") {
            let what = format!(
                "RabbitMQ allows {of} {limit} connections; a worker for all services and a front end need {BROKER_CONNECTIONS}."
            );
            found.found("broker", what, remedy);
        }
    }
    Ok(())
}
