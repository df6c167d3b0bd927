//! What the order is waiting for, in one sentence each, and what to do about it.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use orderflow_events::EventKind;
use orderflow_order::domain::OrderStatus;
use serde::Serialize;

use super::{facts::Facts, pending::Pending};
use crate::{
    ops::words::{clock, span, times},
    services::roster,
    store::story::Attempt,
    way,
};

/// The age up to which a delivery is simply on its way: on a busy system, queues hold a few seconds of work.
const ON_ITS_WAY: TimeDelta = TimeDelta::seconds(30);

/// An outbox row should be published within this time: usually within milliseconds, or ten seconds later by the relay
/// of another process of its service.
const PUBLISHED_BY: TimeDelta = TimeDelta::seconds(15);

/// The state of something that an order waits for, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing will happen any more, although something should.
    Stuck,
    /// A dead letter waits.
    Parked,
    /// An operator discarded the dead letter.
    Discarded,
    /// The broker has not accepted the event.
    Unpublished,
    /// It is overdue.
    Late,
    /// It failed and will be retried.
    Retrying,
    /// It is in progress.
    UnderWay,
    /// The customer has to do something.
    Customer,
}

/// One thing that the order waits for.
#[derive(Debug, Clone, Serialize)]
pub struct Wait {
    /// Its state.
    pub state: State,
    /// The queue that has to act next; `null` if no queue does.
    pub subscription: Option<String>,
    /// The reason for the wait, in one sentence.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

/// Returns what the order waits for, the most important first: what moves the order before side services, and the worst
/// before what passes without intervention.
#[must_use]
pub fn waiting_for(facts: &Facts, pending: &[Pending<'_>]) -> Option<Vec<Wait>> {
    let order = facts.order.as_ref()?.as_ref();
    let name = facts.name().unwrap_or("ORDER");
    let mut sorted: Vec<&Pending<'_>> = pending.iter().collect();
    let describe = |one: &Pending<'_>| describe(one, facts.moment, name, facts.is_worked(one.subscription));
    let rank = |one: &Pending<'_>| (roster().is_side(one.subscription.service()), describe(one).state);
    sorted.sort_by_key(|one| rank(one));
    let mut waits: Vec<Wait> = Vec::new();
    for wait in sorted.into_iter().map(describe) {
        // An event in the outbox is listed once, however many subscriptions consume it.
        if !waits.iter().any(|known| known.what == wait.what) {
            waits.push(wait);
        }
    }
    if !waits.is_empty() {
        let next = waits.iter().filter_map(|wait| wait.subscription.clone()).collect::<Vec<_>>();
        let is_side = |wait: &Wait| wait.subscription.as_deref().is_some_and(|queue| roster().is_side_queue(queue));
        let beside = waits.iter().position(is_side).unwrap_or(waits.len());
        waits.splice(beside..beside, stopped_ahead(facts, &next));
    }
    match order.map(|order| order.status.parse::<OrderStatus>()) {
        Some(Ok(OrderStatus::ActionRequired)) if waits.is_empty() => waits.push(Wait {
            state: State::Customer,
            subscription: None,
            what: "the customer has to confirm the payment with their bank".to_owned(),
            remedy: "nothing to do here; their status page leads them to it".to_owned(),
        }),
        Some(Ok(status)) if waits.is_empty() && !status.is_settled() => waits.push(Wait {
            state: State::Stuck,
            subscription: None,
            what: format!("nothing is under way, but the order is still {status}: nothing will move it"),
            remedy: "this is a bug, not a mistake in your installation: report it with the output of --json".to_owned(),
        }),
        _ => {}
    }
    Some(waits)
}

/// Returns a wait for the queues ahead that have no consumer. The customer's page reports a stopped step immediately,
/// so this must agree. `next` are the queues that the order already waits for.
fn stopped_ahead(facts: &Facts, next: &[String]) -> Option<Wait> {
    let order = facts.order.as_ref()?.as_ref()?;
    let status: OrderStatus = order.status.parse().ok()?;
    let happened = |kind: EventKind| facts.events.iter().flatten().any(|event| event.event == kind.routing_key());
    let ahead = match status {
        OrderStatus::Cancelling => way::undoing(happened),
        _ => way::path(status, order.cancel_requested).to_vec(),
    };
    let stopped = ahead.into_iter().filter(|one| facts.is_worked(*one) == Some(false));
    let stopped: Vec<String> = stopped.map(|one| one.queue()).filter(|queue| !next.contains(queue)).collect();
    let first = stopped.first()?.clone();
    Some(Wait {
        state: State::Late,
        what: format!("{}: still ahead of the order, and without a consumer", stopped.join(", ")),
        remedy: no_worker(&stopped),
        subscription: Some(first),
    })
}

fn describe(pending: &Pending<'_>, now: DateTime<Utc>, order: &str, is_worked: Option<bool>) -> Wait {
    let queue = pending.subscription.queue();
    let event = &pending.event.event;
    if let Some(waiting) = pending.outbox {
        let age = now - waiting.created_at;
        return Wait {
            state: if age > PUBLISHED_BY { State::Unpublished } else { State::UnderWay },
            subscription: None,
            what: format!("its event {event} has been in the outbox for {}, not confirmed by RabbitMQ", span(age)),
            remedy: if age > PUBLISHED_BY {
                format!(
                    "is RabbitMQ up, and is a process of the service {} running that reaches it? see `orderflow doctor`",
                    roster().owner(event)
                )
            } else {
                "nothing to do yet: it is published within moments".to_owned()
            },
        };
    }
    let wait = |state, what, remedy: &str| Wait {
        state,
        subscription: Some(queue.clone()),
        what: format!("{queue}: {what}"),
        remedy: remedy.to_owned(),
    };
    // For a delivery that has been due for this long.
    let due = |since: TimeDelta, what: String| match is_worked {
        Some(false) => {
            wait(State::Late, format!("{what}; nobody consumes this queue"), &no_worker(std::slice::from_ref(&queue)))
        }
        _ if since > ON_ITS_WAY => wait(State::Late, what, LATE),
        Some(true) => wait(State::UnderWay, what, "nothing to do yet: this usually takes a second or two"),
        None => wait(State::UnderWay, what, UNKNOWN),
    };
    let message = pending.event.event_id;
    let replay = format!(
        "fix the cause, then `orderflow dlq replay --queue {queue} --order {order}`; \
         its content: `orderflow dlq show {message}`"
    );
    if let Some(letter) = pending.parked {
        let (tries, died) = (times(letter.attempt), clock(&letter.died_at, &now));
        let what = format!("dead-lettered at {died}, having failed {tries}: {}", letter.reason);
        return wait(State::Parked, what, &replay);
    }
    match (pending.taken_out, pending.last) {
        (Some(letter), _) if pending.is_discarded() => {
            let left = letter.left_at.map(|left| format!(" at {}", clock(&left, &now))).unwrap_or_default();
            let what = format!("its dead letter was discarded by a command{left}: {}", letter.reason);
            let remedy = "nothing will handle it any more: its body is in the file of `orderflow dlq discard` or at /admin/discards; \
                          settle the order by hand";
            wait(State::Discarded, what, remedy)
        }
        (Some(letter), _) => {
            let since = now - letter.left_at.unwrap_or(letter.died_at);
            let how = match letter.left_by.as_deref() {
                Some("republished") => "purged by hand, and its event was republished",
                _ => "replayed",
            };
            let what = format!("its dead letter was {how} {} ago and is not handled yet", span(since));
            due(since, what)
        }
        (None, Some(last)) => retrying(last, now, &replay, wait, due),
        (None, None) => {
            let age = pending.age(now);
            due(age, format!("has not handled {event}, which occurred {} ago", span(age)))
        }
    }
}

fn retrying(
    last: &Attempt,
    now: DateTime<Utc>,
    replay: &str,
    wait: impl Fn(State, String, &str) -> Wait,
    due_since: impl Fn(TimeDelta, String) -> Wait,
) -> Wait {
    let (failed, reason) = (format!("failed {}", times(last.attempt)), &last.reason);
    match last.retry_at {
        Some(due) if due > now => {
            let what = format!("{failed}; next attempt at {} (in {}): {reason}", clock(&due, &now), span(due - now));
            wait(
                State::Retrying,
                what,
                "nothing to do: it is retried automatically, and parked once all retries have failed",
            )
        }
        Some(due) => {
            let late = now - due;
            due_since(late, format!("{failed}; the next attempt was due {} ago: {reason}", span(late)))
        }
        None => {
            let died = clock(&last.failed_at, &now);
            let what =
                format!("dead-lettered at {died}, having {failed}, and not in the list of dead letters: {reason}");
            wait(State::Parked, what, replay)
        }
    }
}

fn no_worker(queues: &[String]) -> String {
    let ours = |queue: &&String| orderflow_worker::roster().of_queue(queue).is_some();
    let (ours, others): (Vec<_>, Vec<_>) = queues.iter().partition(ours);
    let start = match (ours.is_empty(), others.is_empty()) {
        (false, true) => worker_of(&ours),
        (true, _) => program_of(&others),
        (false, false) => format!("{}, and {}", worker_of(&ours), program_of(&others)),
    };
    format!("start {start}; if one is running, its log says why it does not consume")
}

fn worker_of(queues: &[&String]) -> String {
    let queues: String = queues.iter().map(|queue| format!(" --queue {queue}")).collect();
    format!("a worker: `orderflow-worker{queues}`")
}

/// Returns the programs to start: `orderflow-worker` does not run services outside these programs.
fn program_of(queues: &[&String]) -> String {
    let services: BTreeSet<_> = queues.iter().filter_map(|queue| queue.split('.').next()).collect();
    format!("the program of {}, which runs elsewhere", services.into_iter().collect::<Vec<_>>().join(" and of "))
}

const LATE: &str = "is a worker running for that queue, and is its provider up? `orderflow doctor` shows both; \
                    workers republish a lost event after some minutes, `orderflow republish --missing` does so immediately";

const UNKNOWN: &str = "this usually takes a second or two; whether a worker is running is unknown, because RabbitMQ was not \
                       queried (AMQP_ADMIN_URL) or did not answer: see `orderflow doctor`";

#[cfg(test)]
mod tests {
    use super::{
        super::{
            pending::pending,
            sample::{self, Sample},
        },
        *,
    };

    fn waits(sample: Sample) -> Vec<(State, String)> {
        let facts = sample.facts();
        let pending = pending(&facts).expect("everything could be read");
        let waits = waiting_for(&facts, &pending).expect("everything could be read");
        waits.into_iter().map(|wait| (wait.state, wait.what)).collect()
    }

    /// All services but payment are done, so the order waits for payment alone.
    fn payment() -> Sample {
        Sample::placed().applied_by_all_but(&["payment"])
    }

    #[test]
    fn a_settled_order_waits_for_nothing() {
        assert_eq!(waits(sample::shipped()), []);
    }

    #[test]
    fn states_of_waiting_are_distinguished() {
        let queue = "payment.order-created";
        let retry = payment().failed(queue, 3, 10, Some(-50));
        let handled_soon = payment().failed(queue, 3, 70, Some(10));
        let overdue = payment().failed(queue, 3, 170, Some(160));
        let parked = payment().failed(queue, 1, 70, None).died(queue, 70);
        let unindexed = payment().failed(queue, 1, 70, None);
        let moved_by_hand = payment().died(queue, 70).failed(queue, 1, 10, Some(-50));
        let replayed = payment().failed(queue, 1, 70, None).died(queue, 70).left("replayed", 5);
        let republished = payment().failed(queue, 1, 70, None).died(queue, 70).left("republished", 5);
        let discarded = payment().failed(queue, 1, 70, None).died(queue, 70).left("discarded", 5);
        for (sample, state, says) in [
            (
                payment(),
                State::Late,
                "payment.order-created: has not handled order.created, which occurred 1 min 20 s ago",
            ),
            (
                retry,
                State::Retrying,
                "failed 3 times; next attempt at 02:12:54 UTC (in 50 s): the provider did not answer",
            ),
            (handled_soon, State::UnderWay, "the next attempt was due 10 s ago"),
            (overdue, State::Late, "the next attempt was due 2 min 40 s ago"),
            (parked, State::Parked, "dead-lettered at 02:10:54 UTC, having failed once: the provider did not answer"),
            (unindexed, State::Parked, "not in the list of dead letters"),
            (moved_by_hand, State::Retrying, "failed once; next attempt"),
            (replayed, State::UnderWay, "its dead letter was replayed 5 s ago and is not handled yet"),
            (
                republished,
                State::UnderWay,
                "its dead letter was purged by hand, and its event was republished 5 s ago and is not handled yet",
            ),
            (discarded, State::Discarded, "its dead letter was discarded by a command at 02:11:59 UTC"),
            (
                payment().in_outbox(80),
                State::Unpublished,
                "its event order.created has been in the outbox for 1 min 20 s",
            ),
            (payment().in_outbox(2), State::UnderWay, "in the outbox for 2 s"),
        ] {
            let waits = waits(sample);
            assert!(matches!(waits.as_slice(), [(is, what)] if *is == state && what.contains(says)), "{waits:?}");
        }
    }

    /// Trial G2: 20 s into an outage without a consumer, the command reported that there was nothing to do yet, while
    /// the customer's page reported that a step stood still.
    #[test]
    fn queue_without_consumer_is_reported_immediately() {
        let placed = || Sample::placed().said("payment.completed", "payment", 1, serde_json::json!({}));
        let paid = || placed().is("paid", 2).applied_by_all_but(&["inventory"]);
        let all_waits = |sample: Sample| {
            let facts = sample.facts();
            let pending = pending(&facts).expect("everything could be read");
            waiting_for(&facts, &pending).expect("everything could be read")
        };
        let [idle] = &all_waits(paid().stopped(&["inventory.payment-completed"]))[..] else { panic!("one wait") };
        assert_eq!(idle.state, State::Late);
        assert!(idle.what.ends_with("occurred 1 s ago; nobody consumes this queue"), "{idle:?}");
        assert!(idle.remedy.contains("`orderflow-worker --queue inventory.payment-completed`"), "{idle:?}");

        let ahead = all_waits(paid().stopped(&["shipping.inventory-reserved"]));
        let states: Vec<_> = ahead.iter().map(|wait| (wait.state, wait.subscription.as_deref())).collect();
        let queues = ["inventory.payment-completed", "shipping.inventory-reserved"].map(Some);
        assert_eq!(states, [(State::UnderWay, queues[0]), (State::Late, queues[1])]);
        let behind = all_waits(paid().stopped(&["payment.order-created"]));
        assert_eq!(behind.iter().map(|wait| wait.state).collect::<Vec<_>>(), [State::UnderWay]);

        let unknown = all_waits(paid().without_broker());
        assert!(unknown.iter().all(|wait| !wait.remedy.contains("nothing to do")), "{unknown:?}");
    }

    #[test]
    fn waits_of_the_order_come_before_mails_and_the_worst_first() {
        let both = Sample::placed().died("email.order-created", 5).failed("payment.order-created", 1, 5, Some(-5));
        let states = |sample| waits(sample).into_iter().map(|(state, _)| state).collect::<Vec<_>>();
        assert_eq!(states(both), [State::Retrying, State::Parked]);
        let paid = payment()
            .applied(&["payment.order-created"])
            .said("payment.completed", "payment", 5, serde_json::json!({}))
            .died("order.payment-completed", 4);
        assert_eq!(states(paid), [State::Parked, State::UnderWay]);
        assert_eq!(states(Sample::placed().in_outbox(80)), [State::Unpublished], "one event, one thing to wait for");
    }

    #[test]
    fn order_that_nothing_will_move_is_stuck() {
        let states = |sample| waits(sample).into_iter().map(|(state, _)| state).collect::<Vec<_>>();
        let done = || payment().applied(&["payment.order-created"]);
        assert_eq!(states(done()), [State::Stuck]);
        assert_eq!(states(done().is("action_required", 1)), [State::Customer]);
        assert_eq!(states(done().is("a status of a later version", 1)), []);
    }
}
