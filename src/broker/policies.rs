//! Computes which policies apply to which queue.
//!
//! Of the policies that match a queue's name, only the one with the highest priority applies. An operator policy limits
//! it further. So a foreign `max-length` on `.*` makes our queues drop messages although all our objects exist.
//!
//! This is computed from the policies, since the policy that RabbitMQ reports per queue is a statistic up to five
//! seconds old. Source of the rules: <https://www.rabbitmq.com/docs/policies>.

use std::collections::{BTreeMap, BTreeSet};

use fancy_regex::Regex;
use serde::Serialize;
use serde_json::Value;

use super::topology::{Policy, Queue, Topology};

/// Keys that make the broker drop, expire, move or stop delivering messages. Each must be as we set it, or unset.
const RELIED_ON: [&str; 10] = [
    "max-length",
    "max-length-bytes",
    "overflow",
    "message-ttl",
    "expires",
    "dead-letter-exchange",
    "dead-letter-routing-key",
    "dead-letter-strategy",
    "delivery-limit",
    "consumer-timeout",
];

/// For these keys the smallest value of policy, operator policy and queue argument applies. For all other keys the
/// argument takes precedence, then the operator policy, then the policy.
const LIMITS: [&str; 6] =
    ["max-length", "max-length-bytes", "message-ttl", "expires", "delivery-limit", "consumer-timeout"];

/// RabbitMQ's default, 30 minutes. Longer time-outs do not alter anything that workers rely on.
const CONSUMER_TIMEOUT_MILLISECONDS: i64 = 1_800_000;

/// Queues that foreign policies alter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Altered {
    /// The policies that apply: a foreign policy instead of ours, or an operator policy on top of ours.
    pub policies: Vec<String>,
    /// What they alter.
    pub changes: Vec<String>,
    /// The queues altered.
    pub queues: Vec<String>,
}

/// The policies that apply to one queue.
struct Holding<'p> {
    policy: Option<&'p Policy>,
    operator: Option<&'p Policy>,
}

impl Topology {
    /// Returns our queues that foreign policies in `live` alter. They may drop or expire messages although every object
    /// exists. Queues with the same policies and changes are reported together.
    #[must_use]
    pub fn altered_by(&self, live: &Self) -> Vec<Altered> {
        let operators = live.operator_policies.as_deref().unwrap_or_default();
        let [ours, theirs, operators] = [&*self.policies, &*live.policies, operators].map(compiled);
        let mut found: BTreeMap<(Vec<String>, Vec<String>), Vec<String>> = BTreeMap::new();
        for queue in &self.queues {
            let wanted = Holding { policy: highest(&ours, queue), operator: None };
            let holding = Holding { policy: highest(&theirs, queue), operator: highest(&operators, queue) };
            let policies = holding.strangers(&wanted);
            // If one of our own policies is missing or differs, the comparison of the policies reports it.
            if policies.is_empty() {
                continue;
            }
            let changes = holding.changes(&wanted, queue);
            if !changes.is_empty() {
                found.entry((policies, changes)).or_default().push(queue.name.clone());
            }
        }
        found.into_iter().map(|((policies, changes), queues)| Altered { policies, changes, queues }).collect()
    }
}

/// Compiles each policy's pattern. A pattern that cannot be compiled counts as a match, so that it is reported.
fn compiled(policies: &[Policy]) -> Vec<(&Policy, Option<Regex>)> {
    policies.iter().map(|policy| (policy, Regex::new(&policy.pattern).ok())).collect()
}

/// Returns the policy that applies. Of several with the same priority, RabbitMQ does not document which one it chooses.
fn highest<'p>(policies: &[(&'p Policy, Option<Regex>)], queue: &Queue) -> Option<&'p Policy> {
    // Every queue of ours is a quorum queue.
    let applies = |policy: &Policy| matches!(policy.apply_to.as_str(), "all" | "queues" | "quorum_queues");
    let matches =
        |pattern: &Option<Regex>| pattern.as_ref().is_none_or(|pattern| pattern.is_match(&queue.name).unwrap_or(true));
    let candidates = policies.iter().filter(|(policy, pattern)| applies(policy) && matches(pattern));
    candidates.map(|(policy, _)| *policy).max_by_key(|policy| policy.priority)
}

impl Holding<'_> {
    /// Returns the names of the policies that apply and are not the wanted one.
    fn strangers(&self, wanted: &Self) -> Vec<String> {
        let ours = wanted.policy.map(|policy| policy.name.as_str());
        let policy = self.policy.filter(|policy| Some(policy.name.as_str()) != ours);
        let policy = policy.map(|policy| format!("policy {} (priority {})", policy.name, policy.priority));
        let operator = self.operator.map(|policy| format!("operator policy {}", policy.name));
        policy.into_iter().chain(operator).collect()
    }

    fn changes(&self, wanted: &Self, queue: &Queue) -> Vec<String> {
        let set = |holding: &Self| -> BTreeSet<String> {
            let both = holding.policy.into_iter().chain(holding.operator);
            both.flat_map(|policy| policy.definition.keys().cloned()).collect()
        };
        let keys = RELIED_ON.iter().map(|key| (*key).to_owned()).chain(set(wanted)).collect::<BTreeSet<_>>();
        let change = |key: String| {
            let (is, should) = (self.value(&key, queue), wanted.value(&key, queue));
            match (is, should) {
                (is, should) if is == should => None,
                (Some(is), Some(should)) => Some(format!("{key} is {} instead of {}", shown(&is), shown(&should))),
                (Some(is), None) => Some(format!("{key} is {}", shown(&is))),
                (None, Some(should)) => Some(format!("{key} is not set but must be {}", shown(&should))),
                (None, None) => None,
            }
        };
        keys.into_iter().filter_map(change).collect()
    }

    /// Returns the effective value of this key for the queue.
    fn value(&self, key: &str, queue: &Queue) -> Option<Value> {
        let of = |policy: Option<&Policy>| policy.and_then(|policy| policy.definition.get(key)).cloned();
        let (argument, operator, policy) =
            (queue.arguments.get(&format!("x-{key}")).cloned(), of(self.operator), of(self.policy));
        if LIMITS.contains(&key) {
            let all = [argument, operator, policy].into_iter().flatten();
            let least = all.min_by_key(|value| value.as_i64().unwrap_or(i64::MAX));
            let is_usual = |value: &Value| {
                key == "consumer-timeout" && value.as_i64().is_some_and(|value| value >= CONSUMER_TIMEOUT_MILLISECONDS)
            };
            return least.filter(|value| !is_usual(value));
        }
        argument.or(operator).or(policy)
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use orderflow_worker::roster;

    use super::*;

    fn policy(name: &str, pattern: &str, priority: i32, definition: Value) -> Policy {
        let policy = json!({
            "name": name, "pattern": pattern, "apply-to": "queues", "priority": priority, "definition": definition,
        });
        serde_json::from_value(policy).expect("the JSON has the API's form")
    }

    /// Returns how these foreign policies alter our queues, next to our own policies.
    fn found(others: Vec<Policy>, operators: Vec<Policy>) -> Vec<Altered> {
        let wanted = Topology::new(roster(), &[Duration::from_secs(1)]);
        let mut live = wanted.clone();
        live.policies.extend(others);
        live.operator_policies = Some(operators);
        wanted.altered_by(&live)
    }

    #[test]
    fn our_own_policies_and_policies_that_match_no_queue_of_ours_alter_nothing() {
        assert_eq!(found(vec![], vec![]), []);
        // Patterns that exclude some names often use lookaheads, for example to leave out RabbitMQ's own.
        assert_eq!(
            found(vec![policy("theirs", "^(?!payment|inventory|shipping|email|order)", 9, json!({}))], vec![]),
            []
        );
        assert_eq!(found(vec![policy("lower", ".*", 0, json!({ "max-length": 50 }))], vec![]), []);
        let exchanges = serde_json::from_value(json!({
            "name": "exchanges", "pattern": ".*", "apply-to": "exchanges", "priority": 9,
            "definition": { "alternate-exchange": "elsewhere" },
        }));
        assert_eq!(found(vec![exchanges.expect("a policy")], vec![]), []);
    }

    /// A setting of ours that no longer applies is as harmful as the foreign one that applies instead.
    #[test]
    fn policy_of_higher_priority_is_reported_with_what_it_sets_and_unsets() {
        let found = found(vec![policy("fifty", ".*", 10, json!({ "max-length": 50 }))], vec![]);
        let of = |queue: &str| {
            let found = found.iter().find(|one| one.queues.iter().any(|name| name == queue)).expect("it is altered");
            (found.policies.clone(), found.changes.clone())
        };
        let (policies, changes) = of("payment.order-created");
        assert_eq!(policies, ["policy fifty (priority 10)"]);
        assert_eq!(
            changes,
            [
                "dead-letter-strategy is not set but must be at-least-once",
                "delivery-limit is not set but must be 50",
                "max-length is 50",
                "overflow is not set but must be reject-publish",
            ]
        );
        let kept = ["delivery-limit is not set but must be 1000000000", "max-length is 50"];
        assert_eq!(of("payment.order-created.dlq").1, kept);
        assert_eq!(of("orders.unrouted").1, kept);
        assert_eq!(of("orders.retry.1s").1.len(), 3, "the delay is the queue's own argument");
    }

    #[test]
    fn smallest_limit_applies_and_queue_argument_takes_precedence() {
        let delay = |milliseconds: i64| {
            let found = found(vec![], vec![policy("cap", "retry", 1, json!({ "message-ttl": milliseconds }))]);
            found.into_iter().map(|one| (one.policies, one.changes, one.queues)).collect::<Vec<_>>()
        };
        assert_eq!(delay(5_000), []);
        let owned = |text: &str| vec![text.to_owned()];
        let shorter =
            (owned("operator policy cap"), owned("message-ttl is 500 instead of 1000"), owned("orders.retry.1s"));
        assert_eq!(delay(500), [shorter]);
        let elsewhere = json!({ "dead-letter-exchange": "elsewhere", "consumer-timeout": 3_600_000 });
        let beside = |name: &str| policy(name, "^payment\\.order-created", 1, elsewhere.clone());
        let queues: Vec<_> = found(vec![], vec![beside("odd")]).into_iter().flat_map(|one| one.queues).collect();
        assert_eq!(queues, ["payment.order-created.dlq"], "the work queue's own dead-letter exchange takes precedence");
    }

    #[test]
    fn policy_with_an_unreadable_pattern_is_reported() {
        let found = found(vec![policy("odd", "(", 10, json!({ "expires": 1 }))], vec![]);
        assert!(found.iter().any(|one| one.changes.iter().any(|change| change == "expires is 1")), "{found:?}");
    }
}
