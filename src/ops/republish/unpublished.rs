//! `orderflow republish --outbox`: publishes the events in the outbox, of every service. A service's own processes do
//! so automatically; this is for a service whose processes no longer run.

use std::{io::Write, time::Duration};

use chrono::Utc;
use orderflow_events::timestamp;
use orderflow_service::{
    broker::{BrokerError, Connector, Publisher, Relay, Relayed, RelayedBatch},
    config::{BrokerConfig, DatabaseConfig, Source},
    store::{
        Connection, Database,
        outbox::{self, Depth, Depths},
    },
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{RepublishOptions, TIMEOUT};
use crate::{
    ops::{
        Exit, Failed, Principal, What,
        dlq::{Answer, ask},
        principal,
        words::{count, short_span, table},
    },
    services::roster,
    store::actions::Outcome,
};

/// The most events that one run publishes, and the most rows to count of each event type; the next run publishes more.
const AT_MOST: i64 = 100_000;

/// How long deleting the last confirmed rows may take.
const DRAIN: Duration = Duration::from_secs(10);

/// Publishes the outbox, and reports what waited, what was published and what still waits.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, options: &RepublishOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    let all = BrokerConfig::read_admin(source).zip(DatabaseConfig::read(source));
    let (broker, config) = source.finish(all)?;
    let database = Database::new(&config, "orderflow republish", 2)?;
    let mut connection = database.connection().await?;
    let found = outbox::depths(&mut connection, AT_MOST).await?;
    if !options.json {
        print_found(&found, out)?;
    }
    let nothing_to_do = found.0.is_empty() || options.dry_run;
    if !nothing_to_do
        && ask(&format!("Publish {}?", count(found.all().rows, "event")), options.yes, out).await? == Answer::No
    {
        writeln!(out, "Nothing was published.")?;
        return Ok(Exit::No);
    }
    let mut published = 0;
    if !nothing_to_do {
        published =
            publish_noted(&mut connection, Connector::new(&broker, "orderflow republish"), &database, &found).await?;
    }
    let left = outbox::depths(&mut connection, AT_MOST).await?.all().rows;
    if options.json {
        let waiting: Vec<_> = found.0.iter().map(|(event, depth)| {
            json!({ "event": event, "service": roster().owner(event), "rows": depth.rows, "oldest_seconds": depth.oldest_seconds })
        }).collect();
        let report = json!({
            "schema_version": 1, "generated_at": timestamp::format(&Utc::now()), "dry_run": options.dry_run,
            "waiting": waiting, "published": published, "left": left,
        });
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else if !nothing_to_do {
        writeln!(out, "{} published.", count(published, "event"))?;
        if left > 0 {
            writeln!(
                out,
                "{} remaining: written within the last ten seconds, or leased by a relay within the last minute. Run this command again.",
                count(left, "event")
            )?;
        }
    }
    Ok(if left == 0 || options.dry_run { Exit::Ok } else { Exit::No })
}

fn print_found(found: &Depths, out: &mut impl Write) -> Result<(), Failed> {
    if found.0.is_empty() {
        writeln!(out, "Nothing waits in the outbox.")?;
        return Ok(());
    }
    let row = |(event, depth): (&String, &Depth)| {
        [event.clone(), roster().owner(event).to_owned(), depth.rows.to_string(), short_span(depth.oldest_seconds)]
    };
    table(out, ["event", "service", "waiting", "oldest"], &found.0.iter().map(row).collect::<Vec<_>>())?;
    Ok(())
}

/// Publishes the outbox. Records who does so beforehand, and the outcome afterwards.
async fn publish_noted(
    connection: &mut Connection,
    connector: Connector,
    database: &Database,
    found: &Depths,
) -> Result<i64, Failed> {
    let (actor, what) = (Principal::system_user(), (What::Republish, "outbox"));
    actor.note(connection, what, &json!({ "found": found.all().rows }), Outcome::Begun).await?;
    let published = publish(connector, database).await;
    let (outcome, details) = match &published {
        Ok(published) => (Outcome::Done, json!({ "published": published })),
        Err(error) => (Outcome::Failed, principal::because(error)),
    };
    let noted = actor.note(connection, what, &details, outcome).await;
    let published = published?;
    noted?;
    Ok(published)
}

async fn publish(connector: Connector, database: &Database) -> Result<i64, Failed> {
    let stop = CancellationToken::new();
    let publisher = Publisher::start(connector, stop.clone());
    let _stop = stop.drop_guard();
    tokio::time::timeout(TIMEOUT, publisher.connected()).await.map_err(|_| BrokerError::TimedOut(TIMEOUT))?;
    let relay = Relay::without_loop(Relayed::Everything, database.clone(), publisher);
    let mut published = 0;
    while published < AT_MOST {
        let RelayedBatch { rows, confirmed } = relay.relay_once(database).await?;
        published += confirmed;
        if rows == 0 {
            break;
        }
    }
    relay.drain(DRAIN).await;
    Ok(published)
}
