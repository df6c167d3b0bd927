//! Parts of the documentation.

use orderflow_events::{EventKind, EventName};
use orderflow_service::Roster;

/// Returns the names of the services, for the commands that follow in the document.
pub fn names(roster: &Roster, _: &str) -> String {
    let names: Vec<_> = roster.services().map(|service| service.name).collect();
    format!("```sh\nservices='{}'\n```\n", names.join(" "))
}

/// Returns the command that stops all writers before a database is restored.
pub fn stop(roster: &Roster, _: &str) -> String {
    let names: Vec<_> = roster.services().map(|service| service.name).collect();
    format!("```sh\ndocker compose stop web console {}\n```\n", names.join(" "))
}

/// Returns the table of all events with their publishers and consumers.
pub fn events(roster: &Roster, _: &str) -> String {
    let rows = EventKind::ALL.iter().map(|kind| {
        let sample = format!("events/{}.json", kind.cloud_type());
        format!("| [`{kind}`]({sample}) | {} | {} |\n", publisher(roster, *kind), takers(roster, *kind))
    });
    format!("| event | published by | consumed by |\n|---|---|---|\n{}", rows.collect::<String>())
}

fn publisher(roster: &Roster, kind: EventKind) -> &'static str {
    let service = roster.services().find(|service| service.publishes.contains(&EventName::of(kind)));
    match (service, kind) {
        (Some(service), _) => service.name,
        (None, EventKind::OrderCancelRequested) => "front end, when a customer requests it",
        (None, _) => "front end, when an order is accepted",
    }
}

fn takers(roster: &Roster, kind: EventKind) -> String {
    let takes = roster.services().flat_map(|service| &service.takes);
    let of_kind = takes.filter(|takes| takes.subscription.event() == kind);
    let named: Vec<_> = of_kind.map(|takes| format!("{}: {}", takes.subscription.service(), takes.what)).collect();
    named.join(" · ")
}
