//! The options of `orderflow republish`.

use std::time::Duration;

use clap::ArgGroup;

use crate::ops::dlq::QueuePattern;

/// What to republish.
#[derive(Debug, Clone, clap::Args)]
#[command(group = ArgGroup::new("what").args(["missing", "outbox"]).required(true))]
pub struct RepublishOptions {
    /// Republishes events that a subscription has not applied and that are in none of its retry or dead-letter queues,
    /// for example after its queue was deleted
    #[arg(long)]
    pub missing: bool,
    /// Publishes committed events that wait in the outbox, of every service: for a service whose processes no longer
    /// run. Otherwise front ends publish the order service's events, and workers those of their own service
    #[arg(long, conflicts_with_all = ["purged", "since", "queue", "force"])]
    pub outbox: bool,
    /// Also republishes dead letters that were purged by hand: all that are still listed although their dead-letter
    /// queue is empty, however long ago they died. Messages discarded with `orderflow dlq discard` are never sent
    #[arg(long)]
    pub purged: bool,
    /// How far to look back
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = humantime::parse_duration)]
    pub since: Duration,
    /// Only this queue, by name or pattern: payment.order-created, or 'payment.*'
    #[arg(long, value_name = "NAME-OR-GLOB")]
    pub queue: Option<QueuePattern>,
    /// Only shows what would be sent
    #[arg(long)]
    pub dry_run: bool,
    /// Also sends to queues that have messages, among which the missing ones may be
    #[arg(long)]
    pub force: bool,
    /// Skips the confirmation
    #[arg(long)]
    pub yes: bool,
    /// Prints JSON
    #[arg(long)]
    pub json: bool,
}
