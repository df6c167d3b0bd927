//! What `orderflow republish` takes.

use std::time::Duration;

use clap::ArgGroup;

use crate::ops::dlq::QueuePattern;

/// What to send again.
#[derive(Debug, Clone, clap::Args)]
#[command(group = ArgGroup::new("what").args(["missing", "outbox"]).required(true))]
pub struct RepublishOptions {
    /// Events that a subscription has not applied and that are in none of its retry or dead-letter queues, as after its
    /// queue was deleted
    #[arg(long)]
    pub missing: bool,
    /// Events that are committed and that nobody has published, of whichever service: for one whose processes stay away. Of those
    /// that run, the front ends publish what is the order service's, and workers what is their own service's
    #[arg(long, conflicts_with_all = ["purged", "since", "queue", "force"])]
    pub outbox: bool,
    /// Also dead letters that were purged by hand: all that are still listed though their dead-letter queue is empty,
    /// however long ago they died. What was discarded by `orderflow dlq discard` is never sent
    #[arg(long)]
    pub purged: bool,
    /// How far to look back
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = humantime::parse_duration)]
    pub since: Duration,
    /// Only for this queue, by name or pattern: payment.order-created, or 'payment.*'
    #[arg(long, value_name = "NAME-OR-GLOB")]
    pub queue: Option<QueuePattern>,
    /// Only say what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Also to queues in which messages wait: what is missing may just wait there
    #[arg(long)]
    pub force: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Answer in JSON
    #[arg(long)]
    pub json: bool,
}
