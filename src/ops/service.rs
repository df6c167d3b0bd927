//! `orderflow service`: services that run outside these programs.

use std::io::Write;

use clap::Args;
use diesel_async::AsyncConnection as _;
use orderflow_events::{EventKind, EventName};
use orderflow_service::{
    Roster,
    broker::names,
    check_name,
    config::{DatabaseConfig, Source},
    service::Role,
    store::{
        ANSWER_WITHIN, Connection, Database, StoreError,
        registered::{self, MOST_EVENTS, MOST_SERVICES, RegisteredService, Tracks},
    },
};
use serde_json::json;

use super::{
    Exit, Failed,
    principal::{Principal, What},
    words::{table, wrapped},
};
use crate::{
    services::{self, roster},
    store::actions::Outcome,
};

/// The next step on the broker, after each change here.
const NEXT: &str =
    "`orderflow topology apply` creates its queues, and binds `order.other` to the events that it publishes";

/// `orderflow service register`
#[derive(Debug, Args)]
pub struct RegisterOptions {
    /// Its name: 2 to 30 lower-case letters, digits and hyphens, the first a letter
    name: String,
    /// An event type that it consumes, such as order.created; may be repeated
    #[arg(long = "event", value_name = "KIND", required = true)]
    events: Vec<String>,
    /// An event type that it publishes, such as NAME.done; may be repeated
    #[arg(long, value_name = "KIND")]
    publishes: Vec<String>,
    /// Where it records the events that it has applied: `inbox` for messaging.inbox, `none` for anywhere else; missing
    /// deliveries can be found only with `inbox`
    #[arg(long, value_name = "WHERE", default_value = "none", value_parser = ["inbox", "none"])]
    tracks: String,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

impl RegisterOptions {
    /// Validates the options against the existing services.
    fn checked(&self) -> Result<RegisteredService, String> {
        check_name(&self.name).map_err(|error| error.to_string())?;
        let ours = orderflow_worker::roster();
        if ours.has(&self.name) {
            return Err(format!("{} is a service of these programs; choose another name", self.name));
        }
        let known = roster().services().filter(|service| service.name != self.name).count();
        if known.saturating_sub(ours.services().count()) >= MOST_SERVICES {
            return Err(format!("{MOST_SERVICES} services are registered already; remove one first"));
        }
        for publish in &self.publishes {
            let part = publish.strip_prefix(self.name.as_str()).and_then(|rest| rest.strip_prefix('.'));
            if !part.is_some_and(|part| is_event(publish) && !part.is_empty()) {
                return Err(format!(
                    "--publishes {publish:?}: the events of {0} are named {0}.WHAT, in lower-case letters, digits and hyphens",
                    self.name
                ));
            }
        }
        for event in &self.events {
            if !self.publishes.contains(event) && !published(roster()).any(|known| known == *event) {
                let known: Vec<_> = published(roster()).collect();
                return Err(format!("--event {event:?}: no service publishes it; known events: {}", known.join(", ")));
            }
        }
        if self.events.len().max(self.publishes.len()) > MOST_EVENTS {
            return Err(format!("a service can consume at most {MOST_EVENTS} event types and publish as many"));
        }
        let tracks = if self.tracks == Tracks::Inbox.as_str() { Tracks::Inbox } else { Tracks::Nothing };
        let (mut takes, mut publishes) = (self.events.clone(), self.publishes.clone());
        for names in [&mut takes, &mut publishes] {
            names.sort();
            names.dedup();
        }
        Ok(RegisteredService { name: self.name.clone(), tracks, takes, publishes })
    }
}

/// Returns every event type that can be published, as far as this process knows.
fn published(roster: &Roster) -> impl Iterator<Item = String> {
    let others = roster.services().flat_map(|service| &service.publishes).map(EventName::to_string);
    let others = others.filter(|name| name.parse::<EventKind>().is_err());
    EventKind::ALL.iter().map(|kind| kind.routing_key().to_owned()).chain(others)
}

/// Applies the same check as the table: allowed bytes, and a length that fits into a queue's name after the service's
/// name.
fn is_event(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    name.len() <= 100 && name.bytes().all(fits) && name.matches('.').count() == 1
}

/// Registers a service, replacing a registration of the same name, and records who did so.
///
/// # Errors
/// See [`Failed`].
pub async fn register(source: &Source, options: &RegisterOptions, out: &mut impl Write) -> Result<Exit, Failed> {
    let database = read(source).await?;
    let service = options.checked().map_err(Failed::Usage)?;
    let before = queues_of(&service.name);
    let details = json!({ "takes": service.takes, "publishes": service.publishes, "tracks": service.tracks.as_str() });
    let actor = Principal::system_user();
    let writing = async |connection: &mut Connection| {
        let both = async |connection: &mut Connection| {
            registered::write(connection, &service).await?;
            actor.note(connection, (What::RegisterService, &service.name), &details, Outcome::Done).await
        };
        connection.transaction::<_, StoreError, _>(both).await
    };
    database.run(ANSWER_WITHIN, writing).await?;
    if options.json {
        let queues: Vec<_> = service.takes.iter().map(|event| queue(&service.name, event)).collect();
        let RegisteredService { name, tracks, takes, publishes } = &service;
        let said = json!({
            "name": name, "takes": takes, "publishes": publishes, "tracks": tracks.as_str(), "queues": queues,
        });
        writeln!(out, "{said}")?;
        return Ok(Exit::Ok);
    }
    writeln!(out, "{} is registered.", service.name)?;
    for event in &service.takes {
        writeln!(out, "  consumes   {event}, from the queue {}", queue(&service.name, event))?;
    }
    for event in &service.publishes {
        writeln!(out, "  publishes  {event}")?;
    }
    wrapped(out, "-> ", NEXT)?;
    let left: Vec<_> = before
        .into_iter()
        .filter(|old| !service.takes.iter().any(|event| queue(&service.name, event) == *old))
        .collect();
    if !left.is_empty() {
        wrapped(
            out,
            "-> ",
            &format!(
                "The service no longer uses these queues, which still get messages until you delete them: {}",
                still_there(&left)
            ),
        )?;
    }
    Ok(Exit::Ok)
}

/// Returns the work queues of a service, as far as this process knows.
fn queues_of(service: &str) -> Vec<String> {
    roster().subscriptions().iter().filter(|one| one.service() == service).map(|one| one.queue()).collect()
}

/// Returns the queues that receive messages until an operator deletes them, each followed by its dead-letter queue.
fn still_there(queues: &[String]) -> String {
    let all: Vec<_> = queues.iter().flat_map(|queue| [queue.clone(), names::dead_letter_queue(queue)]).collect();
    all.join(", ")
}

fn queue(service: &str, event: &str) -> String {
    format!("{service}.{}", event.replace('.', "-"))
}

/// Lists every service, the built-in ones first.
///
/// # Errors
/// See [`Failed`].
pub async fn list(source: &Source, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    drop(read(source).await?);
    let (roster, ours) = (roster(), orderflow_worker::roster());
    let rows: Vec<_> = roster
        .services()
        .map(|service| {
            let takes: Vec<_> = roster
                .subscriptions()
                .iter()
                .filter(|one| one.service() == service.name)
                .map(|one| one.event())
                .collect();
            (service, ours.has(service.name), takes)
        })
        .collect();
    if json {
        let services: Vec<_> = rows
            .iter()
            .map(|(service, ours, takes)| {
                let names = |events: &[EventName]| events.iter().map(EventName::to_string).collect::<Vec<_>>();
                json!({
                    "name": service.name, "registered": !ours, "step": service.role == Role::Step,
                    "tracks": service.tracks.as_str(), "takes": names(takes), "publishes": names(&service.publishes),
                })
            })
            .collect();
        writeln!(out, "{}", json!({ "services": services }))?;
        return Ok(Exit::Ok);
    }
    let rows: Vec<_> = rows
        .iter()
        .map(|(service, ours, takes)| {
            let names = |events: &[EventName]| events.iter().map(EventName::to_string).collect::<Vec<_>>().join(" ");
            let runs = if *ours { "built in" } else { "registered" };
            let (tracks, name) = (service.tracks.as_str(), service.name);
            [name.to_owned(), runs.to_owned(), tracks.to_owned(), names(takes), names(&service.publishes)]
        })
        .collect();
    table(out, ["service", "", "tracks", "consumes", "publishes"], &rows)?;
    Ok(Exit::Ok)
}

/// Removes a registered service, and records who did so. Its objects on the broker stay.
///
/// # Errors
/// See [`Failed`].
pub async fn remove(source: &Source, name: &str, json: bool, out: &mut impl Write) -> Result<Exit, Failed> {
    let database = read(source).await?;
    let takes = queues_of(name);
    let actor = Principal::system_user();
    let removing = async |connection: &mut Connection| {
        let both = async |connection: &mut Connection| {
            let removed = registered::remove(connection, name).await?;
            if removed {
                actor.note(connection, (What::RemoveService, name), &json!({}), Outcome::Done).await?;
            }
            Ok(removed)
        };
        connection.transaction::<_, StoreError, _>(both).await
    };
    let removed = database.run(ANSWER_WITHIN, removing).await?;
    if json {
        writeln!(out, "{}", json!({ "name": name, "removed": removed, "queues": takes }))?;
    } else if removed {
        writeln!(out, "{name} is no longer registered.")?;
        wrapped(
            out,
            "-> ",
            &format!(
                "Its queues still get messages: delete {}, the policies orderflow-work-{name} and orderflow-kept-{name}, and its user \
                 in the management UI. The messages in the queues are lost then. Its schema and role in PostgreSQL stay until you drop them.",
                still_there(&takes)
            ),
        )?;
    } else {
        writeln!(out, "No service {name} is registered: `orderflow service list` shows what there is.")?;
    }
    Ok(if removed { Exit::Ok } else { Exit::No })
}

/// Returns the database, after the roster was read from it.
async fn read(source: &Source) -> Result<Database, Failed> {
    let config = source.finish(DatabaseConfig::read(source))?;
    let database = Database::new(&config, "orderflow service", 1)?;
    services::refresh(&database).await?;
    Ok(database)
}
