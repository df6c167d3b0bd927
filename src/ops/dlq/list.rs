use std::{collections::HashMap, io::Write};

use orderflow_service::{
    Subscription,
    config::Source,
    store::{ANSWER_WITHIN, Connection, StoreError, failures},
};
use serde::Serialize;

use super::{
    Desk, Head, More, Snapshot, at,
    group::{Group, groups},
    not_from_database,
};
use crate::ops::{Exit, Failed, words::count};
use crate::services::roster;

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    head: Head,
    messages: usize,
    groups: Vec<Group>,
    /// Remarks on what was read.
    notes: Vec<String>,
    /// What could not be read.
    unavailable: Vec<String>,
}

/// `orderflow dlq list`: every dead letter, grouped by queue and reason. An empty list is not a failure.
///
/// # Errors
/// See [`Failed`].
pub async fn list(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let mut desk = Desk::open(source).await?;
    let mut snapshot = desk.read(roster().subscriptions()).await?;
    let notes = notes(&desk, roster().subscriptions(), &mut snapshot).await;
    desk.dead_letters.close().await?;
    let exit = if snapshot.unavailable.is_empty() { Exit::Ok } else { Exit::Unreachable };
    let (groups, messages) = (groups(&snapshot.dead_letters), snapshot.dead_letters.len());
    let report = Report { head: Head::now(), messages, groups, notes, unavailable: snapshot.unavailable };
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        print(&report, out)?;
    }
    Ok(exit)
}

/// Returns notes on messages that were not read, and on messages that the index knows and the queues do not hold. If
/// the database cannot be read, adds that to `unavailable`.
pub(crate) async fn notes(desk: &Desk, of: &[Subscription], snapshot: &mut Snapshot) -> Vec<String> {
    let more = |More { queue, looked_at, more }: &More| {
        let most = super::LOOKED_AT;
        format!(
            "{queue} has {more} more: only the first {looked_at} were read, since one run reads {most} of all queues"
        )
    };
    let mut notes: Vec<String> = snapshot.more.iter().map(more).collect();
    match known_to_the_index(desk).await {
        Ok(known) => notes.extend(elsewhere(of, snapshot, &known)),
        Err(error) => snapshot.unavailable.push(not_from_database(&error)),
    }
    notes
}

async fn known_to_the_index(desk: &Desk) -> Result<HashMap<String, i64>, StoreError> {
    desk.database.run(ANSWER_WITHIN, async |connection: &mut Connection| failures::waiting(connection).await).await
}

/// Returns a note for each queue that holds fewer messages than the index.
fn elsewhere(of: &[Subscription], snapshot: &Snapshot, known: &HashMap<String, i64>) -> Vec<String> {
    let mut notes = Vec::new();
    for subscription in of {
        let queue = subscription.dead_letter_queue();
        let here = snapshot.dead_letters.iter().filter(|letter| letter.subscription == *subscription).count();
        let known = known.get(&subscription.queue()).copied().unwrap_or(0);
        let here = i64::try_from(here).unwrap_or(i64::MAX);
        if known > here && !snapshot.more.iter().any(|one| one.queue == queue) {
            notes.push(format!(
                "{queue}: {known} were dead-lettered and not taken out by a command, but {here} are here. The others were \
                 moved or purged by hand, or another command holds them now."
            ));
        }
    }
    notes
}

fn print(report: &Report, out: &mut impl Write) -> Result<(), Failed> {
    let mut queue = "";
    for group in &report.groups {
        if group.queue != queue {
            let of_queue = report.groups.iter().filter(|one| one.queue == group.queue);
            let messages: usize = of_queue.map(|one| one.messages).sum();
            writeln!(out, "{}: {}", group.queue, count(messages, "dead letter"))?;
            queue = &group.queue;
        }
        writeln!(out, "{:>6} × {}", group.messages, group.reason)?;
        writeln!(out, "         {}; for example {}", when_and_whose(group), group.example)?;
    }
    if report.messages == 0 {
        writeln!(out, "No dead letters.")?;
    } else {
        writeln!(
            out,
            "\nTo show one:            orderflow dlq show MESSAGE\n\
             To replay once fixed:   orderflow dlq replay --queue QUEUE [--reason TEXT] [--dry-run]"
        )?;
    }
    for note in report.notes.iter().chain(&report.unavailable) {
        writeln!(out, "note: {note}")?;
    }
    Ok(())
}

fn when_and_whose(group: &Group) -> String {
    let when = match (&group.oldest, &group.newest) {
        (Some(oldest), Some(newest)) if oldest != newest => format!("{} to {}", at(oldest), at(newest)),
        (Some(one), _) | (_, Some(one)) => at(one),
        (None, None) => "at an unknown time".to_owned(),
    };
    match group.orders {
        0 => format!("{when}, of no order"),
        orders => format!("{when}, of {}", count(orders, "order")),
    }
}
