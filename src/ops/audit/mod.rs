//! `orderflow audit`: checks the invariants of orders on the live database.
//!
//! Orders in progress are not violations:
//!
//! - A service writes its rows and its events in one transaction, and the audit reads a range of orders in one
//!   snapshot. So rows and log can be compared without a grace period: where `order.cancelled` is in the log, for
//!   example, the refund and the release must be there too.
//! - An unsettled order is stuck if nothing happened to it for `--stuck-after` and nothing is pending. Events in the
//!   outbox, scheduled retries and dead letters are pending.
//! - An event that a subscription has not applied is a violation if it is older than that and neither in the outbox,
//!   nor due in a retry tier, nor a dead letter. So are an older event in the outbox, and an older planned mail.
//! - An order behind a dead letter is parked: it is listed with the command that replays the message. It is not a
//!   violation, because nothing is lost and the operator knows what to do.

mod catalogue;
mod delivery;
mod finding;
mod history;
mod pace;
mod progress;
mod report;
mod stock;
mod verdict;

use std::{
    io::{IsTerminal as _, Write},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt as _;
use orderflow_order::{domain::OrderNumber, store::orders};
use orderflow_service::{
    config::{DatabaseConfig, Source},
    store::{Connection, Database, StoreError, audits, migrations, missing::ConsumedEvents},
};
use uuid::Uuid;

use super::{Exit, Failed, lack::Lack};
use crate::services::roster;
use crate::store::audit::{self, Picture, Range, Scope};
use pace::Pace;
use progress::Progress;
use report::Report;

/// The options of `orderflow audit`.
#[derive(Debug, Clone, clap::Args)]
pub struct AuditOptions {
    /// Only orders placed within this time, such as 7d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "order")]
    pub since: Option<Duration>,
    /// Only this order
    #[arg(long, value_name = "ID-OR-NUMBER")]
    pub order: Option<String>,
    /// How long an order may wait for its next step, an event to be published or applied, and a mail to be sent
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub stuck_after: Duration,
    /// Shows at most this many violations and this many parked orders; counts the others
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u32,
    /// Records the result for the metric orderflow_audit_violations and its alert: for a scheduled audit
    #[arg(long, conflicts_with = "order")]
    pub record: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}

/// Audits the orders, and reports which of them break which rules.
///
/// Returns [`Exit::No`] if there are violations. If something fails, what was found until then is reported as well.
///
/// # Errors
/// See [`Failed`].
pub async fn run(source: &Source, options: &AuditOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    let config = source.finish(DatabaseConfig::read(source))?;
    let patience = TimeDelta::from_std(options.stuck_after).ok().filter(|time| ago(*time).is_some());
    let patience = patience.ok_or_else(|| too_far("--stuck-after"))?;
    let database = Database::new(&config, "orderflow audit", 1)?;
    let mut connection = database.connection().await?;
    if !migrations::are_current(&mut connection, &roster().migrations()).await? {
        return Err(Failed::Incomplete(vec![Lack::migration().to_string()]));
    }
    let range = range(&mut connection, options).await?;
    let mut report = Report::new(usize::try_from(options.limit).unwrap_or(usize::MAX));
    let progress = if !options.json && std::io::stderr().is_terminal() {
        Progress::of(audit::estimated_orders(&mut connection).await?)
    } else {
        Progress::hidden()
    };
    let mut ended = walk(&mut connection, range, patience, &mut report, &progress).await;
    if ended.is_ok() && options.order.is_none() {
        ended = stock::check(&mut connection, &mut report).await;
    }
    progress.end();
    report.complete = ended.is_ok();
    // Do not record an incomplete audit: it says nothing about the rest.
    if ended.is_ok() && options.record {
        let orders = i64::try_from(report.orders).unwrap_or(i64::MAX);
        ended = audits::record(&mut connection, orders, i64::try_from(report.violations()).unwrap_or(i64::MAX)).await;
    }
    report.tell(options.json, out)?;
    ended.map_err(Failed::Audit)?;
    Ok(report.exit())
}

fn ago(time: TimeDelta) -> Option<DateTime<Utc>> {
    Utc::now().checked_sub_signed(time)
}

fn too_far(option: &str) -> Failed {
    Failed::Usage(format!("{option} is too large"))
}

async fn range(connection: &mut Connection, options: &AuditOptions) -> Result<Range, Failed> {
    if let Some(order) = &options.order {
        return Ok(Range::only(find(connection, order).await?));
    }
    let Some(since) = options.since else { return Ok(Range::all()) };
    let since = TimeDelta::from_std(since).ok().and_then(ago);
    Ok(Range::since(since.ok_or_else(|| too_far("--since"))?))
}

/// Returns the order's id, even if no such order exists: rows of a missing order are audited too.
async fn find(connection: &mut Connection, named: &str) -> Result<Uuid, Failed> {
    if let Ok(id) = named.parse() {
        return Ok(id);
    }
    let number: OrderNumber = named.parse().map_err(|error| Failed::Usage(format!("--order {named}: {error}")))?;
    let found = orders::id_of_number(connection, number.as_str()).await?;
    found.ok_or_else(|| Failed::NotFound(format!("there is no order {named}")))
}

/// Audits one part of the range after the other.
async fn walk(
    connection: &mut Connection,
    mut rest: Range,
    patience: TimeDelta,
    report: &mut Report,
    progress: &Progress,
) -> Result<(), StoreError> {
    let mut pace = Pace::default();
    while rest.after < rest.upto {
        let step = pace.next(async |limit| step(connection, rest, patience, limit).await).await?;
        report.orders += step.picture.orders.len();
        for finding in verdict::of(&step.picture, step.before) {
            report.add(finding);
        }
        progress.reached(report.orders, report.violations());
        rest.after = step.upto;
    }
    Ok(())
}

/// The data of one part.
struct Step {
    picture: Picture,
    before: DateTime<Utc>,
    upto: Uuid,
}

async fn step(connection: &mut Connection, rest: Range, patience: TimeDelta, limit: i64) -> Result<Step, StoreError> {
    audit::glance(connection, move |connection, moment| {
        async move {
            let range = audit::next(connection, rest, limit).await?;
            let before = moment.checked_sub_signed(patience).unwrap_or(DateTime::<Utc>::MIN_UTC);
            let scope = Scope { range, before, patience: patience.as_seconds_f64() };
            let picture =
                audit::read(connection, &scope, &ConsumedEvents::of(roster(), roster().subscriptions())).await?;
            Ok(Step { picture, before, upto: range.upto })
        }
        .boxed()
    })
    .await
}
