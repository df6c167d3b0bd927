//! Everything that must exist on the broker, in the form that RabbitMQ exports and imports ("definitions").
//!
//! This is the only source: `orderflow topology apply` imports it, `check` compares a live broker with it, and `export`
//! writes `rabbitmq/definitions.json`.
//!
//! A queue's identity is in its arguments, which cannot change. Tunables are in policies.

use std::{collections::BTreeMap, time::Duration};

use orderflow_events::EventName;
use orderflow_service::{Roster, Subscription, broker::names};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::management::encoded;

/// The objects of one virtual host.
///
/// Writing includes every field; reading requires as few as possible. RabbitMQ 4.3 omits `false` from an export, and
/// another version may omit any other field with the value that [`Default`] gives here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Topology {
    /// The policies: tunables by name pattern.
    pub policies: Vec<Policy>,
    /// Limits that others set on top; `None` if we may not see them. We define no operator policies ourselves.
    #[serde(skip)]
    pub operator_policies: Option<Vec<Policy>>,
    /// The exchanges that messages are published to.
    pub exchanges: Vec<Exchange>,
    /// The queues that messages wait in.
    pub queues: Vec<Queue>,
    /// The routes from exchanges to queues.
    pub bindings: Vec<Binding>,
}

/// An exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// `topic`, `direct` or `fanout`.
    #[serde(rename = "type")]
    pub kind: String,
    durable: bool,
    auto_delete: bool,
    internal: bool,
    arguments: BTreeMap<String, Value>,
}

/// A queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// Its name.
    pub name: String,
    durable: bool,
    auto_delete: bool,
    pub(super) arguments: BTreeMap<String, Value>,
}

/// A binding of a queue to an exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Binding {
    source: String,
    destination: String,
    destination_type: String,
    routing_key: String,
    arguments: BTreeMap<String, Value>,
}

/// A policy: settings for the queues whose names match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Its name.
    pub name: String,
    pub(super) pattern: String,
    #[serde(rename = "apply-to")]
    pub(super) apply_to: String,
    pub(super) definition: BTreeMap<String, Value>,
    pub(super) priority: i32,
}

/// A worker's death counts as a delivery of everything that it had prefetched. RabbitMQ 4 drops or dead-letters after
/// 20 deliveries by default. Our own attempt count ends retries; this limit only catches a message that kills workers.
const WORK_DELIVERY_LIMIT: i64 = 50;

/// Practically no limit, since reading a dead letter in the management UI and requeueing it counts as a delivery.
const KEPT_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// Policies of earlier versions, each for the queues of all services. `topology apply` deletes them once each service
/// has equivalent ones of its own.
pub(super) const RETIRED_POLICIES: [&str; 2] = ["orderflow-work", "orderflow-kept"];

impl Topology {
    /// Returns what must exist for these services and retry delays.
    #[must_use]
    pub fn new(roster: &Roster, retry_delays: &[Duration]) -> Self {
        let mut topology = Self {
            policies: our_policies(roster),
            operator_policies: None,
            exchanges: vec![
                // No published message is dropped: one without a bound queue goes where doctor finds it.
                exchange(names::EVENTS, "topic", Some(names::UNROUTED)),
                exchange(names::UNROUTED, "fanout", None),
                // The alternate exchange takes a message for a deleted queue to orders.unrouted. Without it,
                // at-least-once dead-lettering keeps what it cannot route and the whole tier stalls.
                exchange(names::RETURN, "direct", Some(names::UNROUTED)),
                exchange(names::DEAD_LETTERS, "direct", Some(names::UNROUTED)),
            ],
            queues: vec![queue(names::UNROUTED, [])],
            bindings: vec![binding(names::UNROUTED, names::UNROUTED, "")],
        };
        for subscription in roster.subscriptions() {
            topology.add_subscription(*subscription, &roster.events_of(*subscription));
        }
        for delay in retry_delays {
            topology.add_retry_tier(*delay);
        }
        topology
    }

    fn add_subscription(&mut self, subscription: Subscription, events: &[EventName]) {
        let (work, dead) = (subscription.queue(), subscription.dead_letter_queue());
        self.queues.push(queue(
            &work,
            [
                ("x-dead-letter-exchange", json!(names::DEAD_LETTERS)),
                // Otherwise a dead letter would keep the event's routing key, which several queues share.
                ("x-dead-letter-routing-key", json!(work)),
            ],
        ));
        self.queues.push(queue(&dead, []));
        for event in events {
            self.bindings.push(binding(names::EVENTS, &work, event.as_str()));
        }
        self.bindings.push(binding(names::RETURN, &work, &work));
        self.bindings.push(binding(names::DEAD_LETTERS, &dead, &work));
    }

    /// Adds a retry tier: one queue per delay, shared by all work queues. A queue is first in, first out, so with one
    /// delay per queue nothing waits behind a longer one. A message keeps its routing key, the name of its work queue.
    fn add_retry_tier(&mut self, delay: Duration) {
        let name = names::retry(delay);
        self.exchanges.push(exchange(&name, "fanout", None));
        self.queues.push(queue(
            &name,
            [
                ("x-dead-letter-exchange", json!(names::RETURN)),
                ("x-message-ttl", json!(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX))),
            ],
        ));
        self.bindings.push(binding(&name, &name, ""));
    }

    /// Returns the topology as a node's boot file (`load_definitions`), which names the virtual host in every object.
    ///
    /// It has no users and therefore no permissions: `topology apply` creates them from settings.
    ///
    /// # Errors
    /// Never in practice: every field has a JSON form.
    pub fn as_boot_file(&self, vhost: &str) -> serde_json::Result<Value> {
        let mut file = serde_json::to_value(self)?;
        if let Some(sections) = file.as_object_mut() {
            for objects in sections.values_mut().filter_map(Value::as_array_mut) {
                for object in objects.iter_mut().filter_map(Value::as_object_mut) {
                    object.insert("vhost".to_owned(), json!(vhost));
                }
            }
            sections.insert("vhosts".to_owned(), json!([{ "name": vhost }]));
        }
        Ok(file)
    }

    /// Removes what every virtual host has: AMQP's own exchanges, and each queue's binding to the default exchange.
    pub(super) fn leave_out_what_is_built_in(&mut self) {
        self.exchanges.retain(|exchange| !exchange.name.is_empty() && !exchange.name.starts_with("amq."));
        self.bindings.retain(|binding| !binding.source.is_empty());
    }

    /// Returns what `live` lacks or has with different settings, one line each. Additional objects are ignored.
    #[must_use]
    pub fn missing_from(&self, live: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("exchange", &self.exchanges, &live.exchanges, |one| one.name.clone(), &mut lines);
        compare("queue", &self.queues, &live.queues, |one| one.name.clone(), &mut lines);
        compare("policy", &self.policies, &live.policies, |one| one.name.clone(), &mut lines);
        compare("binding", &self.bindings, &live.bindings, Binding::name, &mut lines);
        lines
    }

    /// Returns the objects that `live` lacks, in the order of their creation. It also returns policies that differ, but
    /// not exchanges or queues, which cannot be changed.
    pub(super) fn lacking_in<'t>(&'t self, live: &Self) -> Vec<Object<'t>> {
        let policies = self.policies.iter().filter(|one| !live.policies.contains(one)).map(Object::Policy);
        let is_missing = |one: &&Exchange| !live.exchanges.iter().any(|other| other.name == one.name);
        let exchanges = self.exchanges.iter().filter(is_missing).map(Object::Exchange);
        let is_missing = |one: &&Queue| !live.queues.iter().any(|other| other.name == one.name);
        let queues = self.queues.iter().filter(is_missing).map(Object::Queue);
        let bindings = self.bindings.iter().filter(|one| !live.bindings.contains(one)).map(Object::Binding);
        policies.chain(exchanges).chain(queues).chain(bindings).collect()
    }
}

/// What a user needs to create or delete a policy, as shown to operators.
pub(super) const POLICY_NEEDS: (&str, &str) = ("Policies", "the tag policymaker");

/// An object that one request creates.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Object<'t> {
    Policy(&'t Policy),
    Exchange(&'t Exchange),
    Queue(&'t Queue),
    Binding(&'t Binding),
}

impl Object<'_> {
    /// Returns the HTTP method that creates it: a binding has no name to PUT to.
    pub(super) fn method(self) -> Method {
        if matches!(self, Self::Binding(_)) { Method::POST } else { Method::PUT }
    }

    /// Returns its API path in this virtual host.
    pub(super) fn path(self, vhost: &str) -> String {
        match self {
            Self::Policy(Policy { name, .. }) => format!("policies/{vhost}/{}", encoded(name)),
            Self::Exchange(Exchange { name, .. }) => format!("exchanges/{vhost}/{}", encoded(name)),
            Self::Queue(Queue { name, .. }) => format!("queues/{vhost}/{}", encoded(name)),
            Self::Binding(Binding { source, destination, .. }) => {
                format!("bindings/{vhost}/e/{}/q/{}", encoded(source), encoded(destination))
            }
        }
    }

    /// Returns what a user needs to create it, as shown to operators: the kind of object, then the right.
    pub(super) fn needs(self) -> (&'static str, &'static str) {
        match self {
            Self::Policy(_) => POLICY_NEEDS,
            Self::Exchange(_) => ("Exchanges", "the right to configure orders.* in this virtual host"),
            Self::Queue(_) => ("Queues", "the right to configure queues in this virtual host"),
            Self::Binding(_) => ("Bindings", "the right to read exchanges and to write to queues in this virtual host"),
        }
    }
}

impl Binding {
    fn name(&self) -> String {
        format!("{} -> {} ({})", self.source, self.destination, self.routing_key)
    }
}

fn compare<T: PartialEq>(what: &str, wanted: &[T], live: &[T], name: impl Fn(&T) -> String, lines: &mut Vec<String>) {
    for object in wanted {
        match live.iter().find(|other| name(other) == name(object)) {
            None => lines.push(format!("{what} {} is missing", name(object))),
            Some(other) if other != object => {
                lines.push(format!("{what} {} differs from what it should be", name(object)))
            }
            Some(_) => {}
        }
    }
}

fn exchange(name: &str, kind: &str, alternate: Option<&str>) -> Exchange {
    let arguments =
        alternate.map(|alternate| ("alternate-exchange".to_owned(), json!(alternate))).into_iter().collect();
    Exchange {
        name: name.to_owned(),
        kind: kind.to_owned(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments,
    }
}

/// Every queue is a quorum queue: replicated, and on disk before it is confirmed.
fn queue<const N: usize>(name: &str, arguments: [(&str, Value); N]) -> Queue {
    let arguments = [("x-queue-type", json!("quorum"))]
        .into_iter()
        .chain(arguments)
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Queue { name: name.to_owned(), durable: true, auto_delete: false, arguments }
}

fn binding(source: &str, destination: &str, routing_key: &str) -> Binding {
    Binding {
        source: source.to_owned(),
        destination: destination.to_owned(),
        destination_type: "queue".to_owned(),
        routing_key: routing_key.to_owned(),
        arguments: BTreeMap::new(),
    }
}

/// Returns our policies. Each service has its own, so that a program with another list of services leaves those of
/// other services alone.
fn our_policies(roster: &Roster) -> Vec<Policy> {
    // At-least-once dead-lettering (a message leaves its queue only once the next queue has it) needs reject-publish:
    // https://www.rabbitmq.com/docs/quorum-queues#activating-at-least-once-dead-lettering
    let at_least_once = [("dead-letter-strategy", json!("at-least-once")), ("overflow", json!("reject-publish"))];
    let kept = [("delivery-limit", json!(KEPT_DELIVERY_LIMIT))];
    let mut policies = vec![
        policy("orderflow-retry", "^orders\\.retry\\.", at_least_once.clone()),
        policy("orderflow-unrouted", "^orders\\.unrouted$", kept.clone()),
    ];
    for service in roster.names() {
        let work = at_least_once.iter().cloned().chain([("delivery-limit", json!(WORK_DELIVERY_LIMIT))]);
        policies.push(policy(&format!("orderflow-work-{service}"), &format!("^{service}\\.[a-z0-9-]+$"), work));
        let pattern = format!("^{service}\\.[a-z0-9-]+\\.dlq$");
        policies.push(policy(&format!("orderflow-kept-{service}"), &pattern, kept.clone()));
    }
    policies
}

fn policy<'a>(name: &str, pattern: &str, definition: impl IntoIterator<Item = (&'a str, Value)>) -> Policy {
    Policy {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        apply_to: "queues".to_owned(),
        definition: definition.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        priority: 1,
    }
}

#[cfg(test)]
mod tests {
    use orderflow_worker::roster;

    use super::*;

    #[test]
    fn missing_and_changed_objects_are_named() {
        let wanted = Topology::new(roster(), &[Duration::from_secs(1)]);
        let mut live = wanted.clone();
        assert_eq!(wanted.missing_from(&live), Vec::<String>::new());
        live.queues.retain(|queue| queue.name != "orders.retry.1s");
        live.exchanges.first_mut().expect("there are exchanges").kind = "direct".to_owned();
        assert_eq!(
            wanted.missing_from(&live),
            ["exchange orders.events differs from what it should be", "queue orders.retry.1s is missing"]
        );
    }

    /// RabbitMQ 4.3.6 omits `internal: false` from an export; 3.10 and 4.0 write it. Other fields may be omitted too.
    #[test]
    fn export_that_omits_false_and_empty_fields_equals_the_full_one() {
        let wanted = Topology::new(roster(), &[Duration::from_secs(1)]);
        let mut export = serde_json::to_value(&wanted).expect("it has a JSON form");
        for object in
            export.as_object_mut().into_iter().flat_map(|all| all.values_mut()).filter_map(Value::as_array_mut)
        {
            for fields in object.iter_mut().filter_map(Value::as_object_mut) {
                fields.retain(|_, value| *value != json!(false) && *value != json!({}) && *value != json!(""));
                fields.insert("of a later version".to_owned(), json!({ "any": 1 }));
            }
        }
        let live: Topology = serde_json::from_value(export).expect("everything else has a default");
        assert_eq!(wanted.missing_from(&live), Vec::<String>::new());
        let blank: Topology = serde_json::from_str("{}").expect("a virtual host without objects");
        assert!(wanted.missing_from(&blank).iter().all(|line| line.ends_with("is missing")));
    }

    #[test]
    fn boot_file_has_no_users_and_no_passwords() {
        let file = Topology::new(roster(), &[]).as_boot_file("shop").expect("it has a JSON form");
        let sections: Vec<_> = file.as_object().expect("it is an object").keys().cloned().collect();
        assert_eq!(sections, ["bindings", "exchanges", "policies", "queues", "vhosts"]);
    }
}
