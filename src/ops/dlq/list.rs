use std::{collections::HashMap, io::Write};

use orderflow_service::{
    Subscription,
    config::Source,
    store::{ANSWER_WITHIN, Connection, StoreError, failures},
};
use serde::Serialize;

use super::{
    Desk, Head, More, Snapshot, at, count,
    group::{Group, groups},
    not_from_database,
};
use crate::ops::{Exit, Failed};
use crate::services::roster;

#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    head: Head,
    messages: usize,
    groups: Vec<Group>,
    /// What to know besides.
    notes: Vec<String>,
    /// What could not be read.
    unavailable: Vec<String>,
}

/// `orderflow dlq list`: every dead letter, grouped by queue and reason. That there is none is no failure.
///
/// # Errors
/// See [`Failed`].
pub async fn list(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let mut desk = Desk::open(source).await?;
    let mut snapshot = desk.read(roster().subscriptions()).await?;
    let notes = notes(&desk, roster().subscriptions(), &mut snapshot).await;
    desk.letters.close().await?;
    let exit = if snapshot.unavailable.is_empty() { Exit::Ok } else { Exit::Unreachable };
    let (groups, messages) = (groups(&snapshot.letters), snapshot.letters.len());
    let report = Report { head: Head::now(), messages, groups, notes, unavailable: snapshot.unavailable };
    if json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        print(&report, out)?;
    }
    Ok(exit)
}

/// What to know besides: what was not looked at, and what should be there and is not. That the database cannot be asked is
/// added to what is unavailable.
pub(crate) async fn notes(desk: &Desk, of: &[Subscription], snapshot: &mut Snapshot) -> Vec<String> {
    let more = |More { queue, looked_at, more }: &More| {
        let most = super::LOOKED_AT;
        format!(
            "{queue} has {more} more: only the first {looked_at} were looked at, since one look takes {most} of all queues"
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

/// What the index has and the queues do not.
fn elsewhere(of: &[Subscription], snapshot: &Snapshot, known: &HashMap<String, i64>) -> Vec<String> {
    let mut notes = Vec::new();
    for subscription in of {
        let queue = subscription.dead_letter_queue();
        let here = snapshot.letters.iter().filter(|letter| letter.subscription == *subscription).count();
        let known = known.get(&subscription.queue()).copied().unwrap_or(0);
        let here = i64::try_from(here).unwrap_or(i64::MAX);
        if known > here && !snapshot.more.iter().any(|one| one.queue == queue) {
            notes.push(format!(
                "{queue}: {known} died and were not sent again by a command, but {here} are here. The others were \
                 moved or purged by hand, or someone is looking at them now."
            ));
        }
    }
    notes
}

fn print(report: &Report, out: &mut impl Write) -> Result<(), Failed> {
    let mut queue = "";
    for group in &report.groups {
        if group.queue != queue {
            let messages = report.groups.iter().filter(|one| one.queue == group.queue).map(|one| one.messages).sum();
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
            "\nTo look at one:                orderflow dlq show MESSAGE\n\
             To send again what is mended:  orderflow dlq replay --queue QUEUE [--reason TEXT] [--dry-run]"
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
        (None, None) => "nobody knows when".to_owned(),
    };
    match group.orders {
        0 => format!("{when}, of no order"),
        orders => format!("{when}, of {}", count(orders, "order")),
    }
}
