//! `orderflow retention`: moves the history of finished orders from the event log and the inbox to the archive.

mod report;

use std::{io::Write, time::Duration};

use chrono::{TimeDelta, Utc};
use orderflow_service::{
    config::{DatabaseConfig, Source},
    store::{Connection, Database, StoreError, migrations, missing::ConsumedEvents},
};
use serde_json::json;
use tokio::time::Instant;

use super::{Exit, Failed, Principal, What, lack::Lack};
use crate::{
    services::{self, roster},
    store::{
        actions::Outcome,
        retention::{self, Moved, Walk},
    },
};
use report::Report;

/// The minimum age. Until then, a customer's link opens the order (its token lives for 90 days), failed attempts and
/// discarded dead letters are kept, and refunds, replays and late messages are common: all of these read the log first.
/// The database also enforces this minimum.
const LEAST: Duration = Duration::from_secs(90 * 86_400);

/// Orders in one transaction: some 2,500 events and 4,000 rows of the inbox, which take about 0.1 s.
const AT_ONCE: i64 = 500;

/// How long a step may take.
const STEP_WITHIN: Duration = Duration::from_secs(30);

/// The longest pause between two steps. The command works half of the time, and leaves the other half to orders.
const LONGEST_BREATH: Duration = Duration::from_secs(1);

/// What to move.
#[derive(Debug, Clone, clap::Args)]
pub struct RetentionOptions {
    /// Only orders that were placed and last changed longer ago than this; at least 90d
    #[arg(long, value_name = "TIME", default_value = "400d", value_parser = humantime::parse_duration)]
    pub older_than: Duration,
    /// Moves it; without this option, only shows what would be moved
    #[arg(long)]
    pub yes: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Reports which rows of the log and the inbox can be archived; with `--yes`, moves them.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, options: &RetentionOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    let config = source.finish(DatabaseConfig::read(source))?;
    if options.older_than < LEAST {
        return Err(Failed::Usage(format!(
            "--older-than {}: must be at least 90d. Until then customers' links open their orders, failed attempts and discarded dead \
             letters are kept, and refunds, replays and late messages are common",
            humantime::format_duration(options.older_than)
        )));
    }
    let age = TimeDelta::from_std(options.older_than).ok();
    let horizon = age.and_then(|age| Utc::now().checked_sub_signed(age));
    let horizon = horizon.ok_or_else(|| Failed::Usage("--older-than is too large".to_owned()))?;
    let database = Database::new(&config, "orderflow retention", 1)?;
    if !migrations::are_current(&mut *database.connection().await?, &roster().migrations()).await? {
        return Err(Failed::Incomplete(vec![Lack::migration().to_string()]));
    }
    // If a registered service were unknown, its unapplied events would look finished.
    services::refresh(&database).await?;
    let walk = Walk::new(horizon, ConsumedEvents::of(roster(), roster().subscriptions()));
    let mut report = Report::new(horizon, !options.yes);
    if options.yes {
        archive_noted(&database, walk, &mut report).await?;
    } else {
        step_along(&database, walk, &mut report).await?;
    }
    report.tell(options.json, out)?;
    Ok(Exit::Ok)
}

/// Moves the rows. Records who does so beforehand, and the outcome afterwards.
async fn archive_noted(database: &Database, walk: Walk, report: &mut Report) -> Result<(), Failed> {
    let (actor, what) = (Principal::system_user(), (What::Archive, "*"));
    let asked = json!({ "before": orderflow_events::timestamp::format(&walk.horizon) });
    actor.note(&mut *database.connection().await?, what, &asked, Outcome::Begun).await?;
    let ended = step_along(database, walk, report).await;
    let Moved { orders, events, .. } = report.moved;
    let (outcome, details) = match &ended {
        Ok(()) => (Outcome::Done, json!({ "orders": orders, "events": events })),
        Err(error) => (Outcome::Failed, json!({ "orders": orders, "events": events, "why": error.to_string() })),
    };
    let noted = match database.connection().await {
        Ok(mut connection) => actor.note(&mut connection, what, &details, outcome).await,
        Err(error) => Err(error),
    };
    // Return the first error: it says more than the failure to record the outcome.
    ended?;
    Ok(noted?)
}

/// Processes one part of the orders after the other, each in its own transaction. Whatever ends the command, completed
/// steps stay, and the next run continues.
async fn step_along(database: &Database, mut walk: Walk, report: &mut Report) -> Result<(), StoreError> {
    loop {
        let began = Instant::now();
        let dry_run = report.dry_run;
        let step = async |connection: &mut Connection| {
            let orders = walk.next(connection, AT_ONCE).await?;
            let shares = retention::shares(connection, &walk, &orders).await?;
            let moved = if dry_run || orders.is_empty() {
                Moved::default()
            } else {
                retention::archive(connection, &walk, &orders).await?
            };
            Ok::<_, StoreError>((orders.len(), shares, moved))
        };
        let (orders, shares, moved) = database.run(STEP_WITHIN, step).await?;
        if orders == 0 {
            return Ok(());
        }
        report.add(shares, moved);
        tokio::time::sleep(began.elapsed().min(LONGEST_BREATH)).await;
    }
}
