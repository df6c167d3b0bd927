//! Is every queue consumed, and does anything lie where nothing should? Asked over AMQP, as the programs connect, since
//! the management API's figures are some seconds old.

use std::collections::BTreeMap;

use orderflow_service::{
    Subscription,
    broker::{BrokerCheck, Connector, Look, NotReady, names},
    config::BrokerConfig,
};
use orderflow_worker::roster;

use super::{management::Vhost, report::Checkup};
use crate::{
    broker::Topology,
    ops::{
        lack::Lack,
        words::{count, some},
    },
};

/// What waits in the queues now, by subscription, and how to look again. Queues that do not exist are left out.
pub struct Queues {
    /// For a second look.
    pub broker: BrokerCheck,
    /// Messages in work queues.
    pub work: BTreeMap<String, u32>,
    /// Messages in dead-letter queues.
    pub dead: BTreeMap<String, u32>,
}

/// Looks into every queue.
pub async fn check(found: &mut Checkup, config: &BrokerConfig, topology: &Topology, vhost: Vhost) -> Option<Queues> {
    if vhost == Vhost::Absent {
        return None;
    }
    let (broker, looks, missing) = match look(config, topology).await {
        Ok(looked) => looked,
        Err(NotReady::NoVhost(no)) => {
            found.found("topology", format!("{}.", no.what()), no.remedy());
            return None;
        }
        Err(error) => {
            found.cannot("queues", format!("{error}. Is AMQP_ADMIN_URL right, and its port open?"));
            return None;
        }
    };
    // What was compared has been named already.
    if let Some(Lack { what, remedy }) = Lack::queues(&missing).filter(|_| vhost == Vhost::Unknown) {
        found.found("topology", format!("{what}."), remedy);
    }
    consumers(found, &looks);
    unrouted(found, &looks);
    let dead = dead_letters(found, &looks);
    let ready = |one: &Subscription| looks.get(&one.queue()).map(|look| (one.queue(), look.ready));
    Some(Queues { broker, work: roster().subscriptions().iter().filter_map(ready).collect(), dead })
}

type Looks = BTreeMap<String, Look>;

/// What is in each queue, and which do not exist.
async fn look(config: &BrokerConfig, topology: &Topology) -> Result<(BrokerCheck, Looks, Vec<String>), NotReady> {
    let broker = BrokerCheck::new(&Connector::new(config, "orderflow doctor"))?;
    let (mut looks, mut missing) = (Looks::new(), Vec::new());
    for queue in &topology.queues {
        match broker.look(&queue.name).await {
            Ok(look) => drop(looks.insert(queue.name.clone(), look)),
            Err(NotReady::Missing(name)) => missing.push(name),
            // The other queues would be answered the same.
            Err(error) => return Err(error),
        }
    }
    Ok((broker, looks, missing))
}

fn consumers(found: &mut Checkup, looks: &Looks) {
    let work: Vec<(String, Look)> = roster()
        .subscriptions()
        .iter()
        .filter_map(|one| looks.get(&one.queue()).map(|look| (one.queue(), *look)))
        .collect();
    let idle: Vec<_> = work.iter().filter(|(_, look)| look.consumers == 0).collect();
    let waiting: u32 = work.iter().map(|(_, look)| look.ready).sum();
    let (all, consumed) = (work.len(), work.len() - idle.len());
    found.saw("queues", format!("{consumed} of {all} have a consumer; messages waiting: {waiting}"));
    let with_messages = |(queue, look): &&(String, Look)| match look.ready {
        0 => queue.clone(),
        ready => format!("{queue} ({})", count(ready, "message")),
    };
    if idle.len() == all && all > 0 {
        found.found(
            "queues",
            format!("No worker is connected: none of the {all} queues has a consumer; messages waiting: {waiting}."),
            "start `orderflow-worker`; where one runs, its log says why it cannot consume",
        );
    } else if !idle.is_empty() {
        let names: Vec<_> = idle.iter().map(with_messages).collect();
        found.found(
            "queues",
            format!("Nobody consumes {}.", some(&names)),
            "start a worker for it: `orderflow-worker --queue NAME`; where one runs, its log says why it paused (its \
             provider is away) or cannot consume",
        );
    }
}

fn unrouted(found: &mut Checkup, looks: &Looks) {
    let Some(look) = looks.get(names::UNROUTED) else { return };
    found.saw("unrouted", if look.ready == 0 { "none".to_owned() } else { count(look.ready, "message") });
    if look.ready > 0 {
        found.found(
            "unrouted",
            format!(
                "{} in {}: published, and no queue was bound for it.",
                count(look.ready, "message"),
                names::UNROUTED
            ),
            format!(
                "`orderflow topology apply` binds what is missing, then `orderflow republish --missing` sends the \
                 events again; look at {} in the management UI (Get messages) before you purge it",
                names::UNROUTED
            ),
        );
    }
}

fn dead_letters(found: &mut Checkup, looks: &Looks) -> BTreeMap<String, u32> {
    let waiting: BTreeMap<String, u32> = roster()
        .subscriptions()
        .iter()
        .filter_map(|one| looks.get(&one.dead_letter_queue()).map(|look| (one.queue(), look.ready)))
        .collect();
    let full: Vec<_> = waiting.iter().filter(|(_, letters)| **letters > 0).collect();
    let total: u32 = waiting.values().sum();
    found.saw("dead letters", if total == 0 { "none".to_owned() } else { total.to_string() });
    if total > 0 {
        let queues: Vec<_> = full.iter().map(|(queue, letters)| format!("{letters} in {queue}.dlq")).collect();
        let wait = if total == 1 { "waits" } else { "wait" };
        found.found(
            "dead letters",
            format!("{} {wait} for a person: {}.", count(total, "dead letter"), some(&queues)),
            "`orderflow dlq list` says why; after mending the cause, `orderflow dlq replay`",
        );
    }
    waiting
}
