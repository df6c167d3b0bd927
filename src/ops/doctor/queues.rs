//! Checks that every queue has a consumer, and that nothing lies where nothing should. Uses AMQP, as the programs do,
//! because the management API's figures are a few seconds old.

use std::{collections::BTreeMap, time::Duration};

use orderflow_service::{
    Subscription,
    broker::{BrokerCheck, Connector, NotReady, QueueState, names},
    config::BrokerConfig,
};

use super::{management::Vhost, report::Checkup};
use crate::{
    broker::Topology,
    ops::{
        lack::Lack,
        words::{count, some},
    },
    services::roster,
};

/// How long to wait before checking again: messages in transit may appear anywhere or nowhere in the first check. A
/// difference that persists this long is not a delay.
pub const SECOND_LOOK: Duration = Duration::from_secs(3);

/// The messages in the queues now, by subscription, and the means to check again. Omits queues that do not exist.
pub struct Queues {
    /// For a second check.
    pub broker: BrokerCheck,
    /// Messages in work queues.
    pub work: BTreeMap<String, u32>,
    /// Messages in dead-letter queues.
    pub dead: BTreeMap<String, u32>,
}

/// Checks every queue.
pub async fn check(found: &mut Checkup, config: &BrokerConfig, topology: &Topology, vhost: Vhost) -> Option<Queues> {
    if vhost == Vhost::Absent {
        return None;
    }
    let (broker, states, missing) = match inspect(config, topology).await {
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
    // A comparison has reported missing queues already.
    if let Some(Lack { what, remedy }) = Lack::queues(&missing).filter(|_| vhost == Vhost::Unknown) {
        found.found("topology", format!("{what}."), remedy);
    }
    consumers(found, &states);
    unrouted(found, &states);
    let dead = dead_letters(found, &states);
    let ready = |one: &Subscription| states.get(&one.queue()).map(|state| (one.queue(), state.ready));
    Some(Queues { broker, work: roster().subscriptions().iter().filter_map(ready).collect(), dead })
}

type QueueStates = BTreeMap<String, QueueState>;

/// Returns the state of each queue, and the queues that do not exist.
async fn inspect(
    config: &BrokerConfig,
    topology: &Topology,
) -> Result<(BrokerCheck, QueueStates, Vec<String>), NotReady> {
    let broker = BrokerCheck::new(&Connector::new(config, "orderflow doctor"))?;
    let (mut states, mut missing) = (QueueStates::new(), Vec::new());
    for queue in &topology.queues {
        match broker.inspect_queue(&queue.name).await {
            Ok(state) => drop(states.insert(queue.name.clone(), state)),
            Err(NotReady::Missing(name)) => missing.push(name),
            // The other queues would fail in the same way.
            Err(error) => return Err(error),
        }
    }
    Ok((broker, states, missing))
}

fn consumers(found: &mut Checkup, states: &QueueStates) {
    let work: Vec<(String, QueueState)> = roster()
        .subscriptions()
        .iter()
        .filter_map(|one| states.get(&one.queue()).map(|state| (one.queue(), *state)))
        .collect();
    let idle: Vec<_> = work.iter().filter(|(_, state)| state.consumers == 0).collect();
    let waiting: u32 = work.iter().map(|(_, state)| state.ready).sum();
    let (all, consumed) = (work.len(), work.len() - idle.len());
    found.saw("queues", format!("{consumed} of {all} have a consumer; messages waiting: {waiting}"));
    let with_messages = |(queue, state): &&(String, QueueState)| match state.ready {
        0 => queue.clone(),
        ready => format!("{queue} ({})", count(ready, "message")),
    };
    if idle.len() == all && all > 0 {
        found.found(
            "queues",
            format!("No worker is connected: none of the {all} queues has a consumer; messages waiting: {waiting}."),
            "start `orderflow-worker`; if one is running, its log says why it cannot consume",
        );
    } else if !idle.is_empty() {
        let names: Vec<_> = idle.iter().map(with_messages).collect();
        found.found(
            "queues",
            format!("Nobody consumes {}.", some(&names)),
            "start a worker for it: `orderflow-worker --queue NAME`, or the program of a service that runs elsewhere; if one \
             is running, its log says why it paused (its provider is unavailable) or cannot consume",
        );
    }
}

fn unrouted(found: &mut Checkup, states: &QueueStates) {
    let Some(state) = states.get(names::UNROUTED) else { return };
    found.saw("unrouted", if state.ready == 0 { "none".to_owned() } else { count(state.ready, "message") });
    if state.ready > 0 {
        found.found(
            "unrouted",
            format!(
                "{} in {}: published, and no queue was bound for it.",
                count(state.ready, "message"),
                names::UNROUTED
            ),
            format!(
                "`orderflow topology apply` creates missing bindings, then `orderflow republish --missing` republishes the \
                 events. Events of a service that runs elsewhere have to be registered first (`orderflow service register … \
                 --publishes KIND`). Check {} in the management UI (Get messages) before you purge it",
                names::UNROUTED
            ),
        );
    }
}

fn dead_letters(found: &mut Checkup, states: &QueueStates) -> BTreeMap<String, u32> {
    let waiting: BTreeMap<String, u32> = roster()
        .subscriptions()
        .iter()
        .filter_map(|one| states.get(&one.dead_letter_queue()).map(|state| (one.queue(), state.ready)))
        .collect();
    let full: Vec<_> = waiting.iter().filter(|(_, dead_letters)| **dead_letters > 0).collect();
    let total: u32 = waiting.values().sum();
    found.saw("dead letters", if total == 0 { "none".to_owned() } else { total.to_string() });
    if total > 0 {
        let queues: Vec<_> =
            full.iter().map(|(queue, dead_letters)| format!("{dead_letters} in {queue}.dlq")).collect();
        let wait = if total == 1 { "needs" } else { "need" };
        found.found(
            "dead letters",
            format!("{} {wait} attention: {}.", count(total, "dead letter"), some(&queues)),
            "`orderflow dlq list` says why; fix the cause, then run `orderflow dlq replay`",
        );
    }
    waiting
}
