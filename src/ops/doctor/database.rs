//! Checks that the database is reachable and up to date, that its clock agrees with ours, and that the outbox drains.

use std::collections::{BTreeSet, HashMap};

use chrono::{TimeDelta, Utc};
use orderflow_service::{
    config::{DatabaseConfig, Source},
    store::{
        ANSWER_WITHIN, Condition, Connection, Database, StoreError, failures, migrations,
        outbox::{self, Depth, Depths},
        pooler,
    },
    telemetry,
};

use super::{access, capacity, encryption, report::Checkup};
use crate::{
    ops::{
        lack::{Lack, explained},
        words::{count, span},
    },
    services::roster,
    store::{checkup, trial},
};

/// The largest harmless clock difference. Hosts that use NTP are milliseconds apart; beyond this, times in the log
/// visibly contradict each other.
const CLOCKS_APART: TimeDelta = TimeDelta::seconds(5);

/// The age from which an unpublished event is a finding. An event is published within milliseconds, or ten seconds
/// later by the relay of another process of its service, and a relay's lease is a minute. An older event could not be
/// published, or no process tries.
const OUTBOX_AGE: TimeDelta = TimeDelta::seconds(60);

/// The most rows of the outbox to count.
const OUTBOX_ROWS: i64 = 1_000_000;

/// The index of dead letters, and the database to read it again.
pub struct Indexed {
    /// For a second read.
    pub database: Database,
    /// Dead letters by subscription.
    pub dead_letters: HashMap<String, i64>,
}

/// Checks the database. Returns the index of dead letters, to be compared with the broker.
pub async fn check(found: &mut Checkup, source: &Source, config: &DatabaseConfig) -> Option<Indexed> {
    let database = match Database::new(config, "orderflow doctor", 1) {
        Ok(database) => database,
        Err(error) => {
            found.setting(&format!("DATABASE_URL cannot be used: {error}"));
            return None;
        }
    };
    let mut connection = match database.connection().await {
        Ok(connection) => connection,
        Err(error) => {
            if let Some(pooler) = pooler::Pooler::behind(&error, database.is_pooled()) {
                found.found("database", pooler.to_string(), "`orderflow config` shows DATABASE_URL");
                return None;
            }
            found.cannot("database", explained(&error));
            return None;
        }
    };
    encryption::database(found, "DATABASE_URL", &connection);
    past_the_pooler(found, &database).await;
    let looking = async {
        if !database.is_pooled() {
            capacity::database(found, source, config, &mut connection).await?;
        }
        inspect(found, &mut connection).await
    };
    let dead_letters = match looking.await {
        Ok(dead_letters) => dead_letters?,
        Err(error) => {
            found.cannot("database", explained(&error));
            return None;
        }
    };
    drop(connection);
    Some(Indexed { database, dead_letters })
}

/// Checks the address of sessions that go past a pooler, if there is one.
async fn past_the_pooler(found: &mut Checkup, database: &Database) {
    if !database.is_pooled() {
        return;
    }
    let opened = tokio::time::timeout(ANSWER_WITHIN, database.own_connection()).await;
    match opened.unwrap_or(Err(StoreError::TimedOut(ANSWER_WITHIN))) {
        Ok(connection) => encryption::database(found, "DATABASE_DIRECT_URL", &connection),
        Err(error) => found.cannot("database", format!("DATABASE_DIRECT_URL: {}", telemetry::chain(&error))),
    }
}

async fn inspect(found: &mut Checkup, connection: &mut Connection) -> Result<Option<HashMap<String, i64>>, StoreError> {
    clock(found, connection).await?;
    if !migrations::are_current(connection, &roster().migrations()).await? {
        let Lack { what, remedy } = Lack::migration();
        found.found("database", format!("{what}; the outbox was not checked."), remedy);
        return Ok(None);
    }
    access::roles(found, connection).await?;
    writing(found, connection).await;
    unpublished(found, &outbox::depths(connection, OUTBOX_ROWS).await?);
    Ok(Some(failures::waiting(connection).await?))
}

/// Checks the outbox by the service whose processes publish its events.
fn unpublished(found: &mut Checkup, depths: &Depths) {
    let age = |depth: Depth| TimeDelta::try_milliseconds(milliseconds(depth.oldest_seconds)).unwrap_or_default();
    let all = depths.all();
    if all.rows == 0 {
        found.saw("outbox", "empty");
    } else {
        found.saw("outbox", format!("{}, the oldest {} old", count(all.rows, "event"), span(age(all))));
    }
    let services: BTreeSet<&str> = depths.0.keys().map(|event| roster().owner(event)).collect();
    for service in services {
        let depth = depths.of(|event| roster().owner(event) == service);
        if age(depth) > OUTBOX_AGE {
            let (rows, age) = (count(depth.rows, "event"), span(age(depth)));
            let whose = if service == "order" {
                "a front end, or a worker of order,".to_owned()
            } else {
                format!("a worker of {service}")
            };
            found.found(
                "outbox",
                format!("{rows} of the service {service} cannot be published, the oldest written {age} ago."),
                format!(
                    "is {whose} running, and does its log say why it cannot publish (no connection, a broker alarm, a \
                     user without permission)? `orderflow republish --outbox` publishes events that a stopped service left behind"
                ),
            );
        }
    }
}

async fn clock(found: &mut Checkup, connection: &mut Connection) -> Result<(), StoreError> {
    let before = Utc::now();
    let server = checkup::server(connection).await?;
    // The server read its clock between our two readings, so their middle is off by at most half the round trip.
    let apart = server.clock - (before + (Utc::now() - before) / 2);
    found.saw("database", format!("PostgreSQL {}, its clock {} from ours", server.version, span(apart.abs())));
    compare_clocks(found, apart);
    if server.is_read_only {
        // Only a worker knows whether it has paused its queue, and it cannot record that in this database.
        let (why, since, remedy) = if server.is_standby {
            ("a standby answers at DATABASE_URL", "", "let DATABASE_URL name the primary, or promote the standby")
        } else {
            (
                "default_transaction_read_only is on",
                " on connections that were opened since",
                "find out why it was set (a failover, a nearly full disk), then `ALTER DATABASE ... RESET \
                 default_transaction_read_only`",
            )
        };
        found.found(
            "database",
            format!("The database is read-only ({why}): orders are refused and workers can do nothing{since}."),
            remedy,
        );
    }
    Ok(())
}

/// Tries the writes that an order needs. A read-only database has been reported already.
async fn writing(found: &mut Checkup, connection: &mut Connection) {
    let Err(refused) = trial::try_writing(connection).await else { return };
    match Condition::of(&refused.error) {
        Some(Condition::ReadOnly) => {}
        Some(Condition::Full) => found.found(
            "database",
            format!("The database is full: {refused}."),
            "make room on its disk, or give it a larger one; orders and queues recover without a restart",
        ),
        _ => found.found(
            "database",
            format!("Not every order can be handled: {refused}."),
            "the log of PostgreSQL has the details",
        ),
    }
}

fn compare_clocks(found: &mut Checkup, apart: TimeDelta) {
    if apart.abs() <= CLOCKS_APART {
        return;
    }
    let way = if apart > TimeDelta::zero() { "ahead of" } else { "behind" };
    found.found(
        "clock",
        format!("The database's clock is {} {way} this machine's.", span(apart.abs())),
        "`timedatectl` on both says which one is not synchronised; times in the log cannot be compared until then",
    );
}

/// Converts the database's seconds to whole milliseconds.
fn milliseconds(seconds: f64) -> i64 {
    std::time::Duration::try_from_secs_f64(seconds)
        .ok()
        .and_then(|age| i64::try_from(age.as_millis()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_far_apart_are_found() {
        for (seconds, expected) in [(5, None), (-5, None), (6, Some("6 s ahead of")), (-60, Some("1 min behind"))] {
            let mut checkup = Checkup::new();
            compare_clocks(&mut checkup, TimeDelta::seconds(seconds));
            let mut out = Vec::new();
            checkup.tell(&mut out).expect("a Vec can be written to");
            let text = String::from_utf8(out).expect("it is text");
            assert_eq!(text.contains("clock"), expected.is_some(), "{text}");
            assert!(expected.is_none_or(|expected| text.contains(expected)), "{text}");
        }
    }
}
