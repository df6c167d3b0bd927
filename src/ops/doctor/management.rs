//! Checks over the management API that the broker is healthy and set up as it should be.

use std::time::Duration;

use orderflow_service::{broker::NoVhost, config::AdminConfig, telemetry};

use super::{access, capacity, report::Checkup};
use crate::{
    broker::{Management, ManagementError, Node, Topology, Who},
    ops::{lack::Lack, topology, users, words::some},
};

/// Long enough for a busy node to list its definitions.
const TIMEOUT: Duration = Duration::from_secs(10);

/// RabbitMQ's own default user, with a known password.
const GUEST: &str = "guest";

/// The state of the virtual host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vhost {
    /// It was compared with what it should have.
    Compared,
    /// It does not exist, which has been reported.
    Absent,
    /// Its state could not be read.
    Unknown,
}

/// Checks nodes, users and topology, as far as the administrator's tags permit.
pub async fn check(found: &mut Checkup, config: &AdminConfig, topology: &Topology) -> Vhost {
    let management = match Management::within(config.clone(), TIMEOUT) {
        Ok(management) => management,
        Err(error) => {
            found.cannot("broker", telemetry::chain(&error));
            return Vhost::Unknown;
        }
    };
    let who = match management.whoami().await {
        Ok(who) => who,
        Err(error) => {
            // The other requests would fail in the same way.
            found.cannot("broker", error.explained());
            return Vhost::Unknown;
        }
    };
    if let Err(error) = nodes(found, &management, &who).await {
        found.cannot("broker", error.explained());
        return Vhost::Unknown;
    }
    match vhost(found, &management, &who, topology).await {
        Ok(vhost) => vhost,
        Err(error) => {
            found.cannot("topology", error.explained());
            Vhost::Unknown
        }
    }
}

async fn vhost(
    found: &mut Checkup,
    management: &Management,
    who: &Who,
    wanted: &Topology,
) -> Result<Vhost, ManagementError> {
    if !management.has_vhost().await? {
        let no = NoVhost::unlisted(&management.config().vhost, &who.name, who.is_administrator());
        let what = format!("{}. Its queues and users were not checked.", no.what());
        found.found("topology", what, no.remedy());
        return Ok(Vhost::Absent);
    }
    rights(found, management, who).await?;
    compare(found, wanted, &management.live().await?);
    unavailable(found, &management.unavailable_queues().await?);
    Ok(Vhost::Compared)
}

fn unavailable(found: &mut Checkup, queues: &[String]) {
    if queues.is_empty() {
        return;
    }
    found.found(
        "queues",
        format!("RabbitMQ cannot serve {}: half or more members are offline.", some(queues)),
        "start the nodes that are not running, or restart the one that has the queue; if that does not help: \
         docs/RUNBOOK.md, \"RabbitMQ cannot read a queue\"",
    );
}

async fn nodes(found: &mut Checkup, management: &Management, who: &Who) -> Result<(), ManagementError> {
    let version = management.overview().await?.rabbitmq_version;
    if !who.sees_nodes() {
        found.saw("broker", format!("RabbitMQ {version}"));
        let why = format!(
            "AMQP_ADMIN_URL's user ({}) does not see RabbitMQ's nodes, their memory and disks: it needs the tag monitoring \
             or administrator",
            who.name
        );
        found.cannot("nodes", why);
        return Ok(());
    }
    let nodes = management.nodes().await?;
    let names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
    found.saw("broker", format!("RabbitMQ {version}: {}", names.join(", ")));
    for node in &nodes {
        for (what, remedy) in ailments(node) {
            found.found("broker", what, remedy);
        }
    }
    Ok(())
}

fn ailments(node: &Node) -> Vec<(String, &'static str)> {
    let name = &node.name;
    if !node.running {
        return vec![(format!("The node {name} is not running."), "start RabbitMQ on its host, and read its log")];
    }
    let mut ailments = Vec::new();
    if node.mem_alarm {
        ailments.push((
            format!("The node {name} has run out of memory: all publishers are blocked."),
            "`rabbitmq-diagnostics memory_breakdown` shows what uses it; the alarm clears automatically when memory is free",
        ));
    }
    if node.disk_free_alarm {
        ailments.push((
            format!("The disk of the node {name} is nearly full: all publishers are blocked."),
            "free disk space; the alarm clears automatically when there is room",
        ));
    }
    if !node.partitions.is_empty() {
        ailments.push((
            format!("The node {name} was cut off from {}.", node.partitions.join(", ")),
            "repair the network, then restart the smaller side: https://www.rabbitmq.com/docs/partitions",
        ));
    }
    ailments
}

async fn rights(found: &mut Checkup, management: &Management, who: &Who) -> Result<(), ManagementError> {
    if !who.is_administrator() {
        let why = format!(
            "AMQP_ADMIN_URL's user ({}) does not see RabbitMQ's users and their rights: it needs the tag administrator",
            who.name
        );
        found.cannot("users", why);
        return if who.sees_nodes() { access::users(found, management).await } else { Ok(()) };
    }
    access::users(found, management).await?;
    capacity::broker(found, management).await?;
    access::narrowing(found, management).await?;
    let exist = management.user_names().await?;
    found.saw("users", exist.join(", "));
    for Lack { what, remedy } in users::lacks(management, &exist).await? {
        found.found("users", format!("{what}."), remedy);
    }
    default_user(found, &exist);
    Ok(())
}

/// Finds the default user, whose password is publicly known.
fn default_user(found: &mut Checkup, exist: &[String]) {
    if exist.iter().any(|one| one == GUEST) {
        found.found(
            "users",
            "RabbitMQ still has its default user guest, whose password is publicly known.",
            "`rabbitmqctl delete_user guest`; nothing of Orderflow uses it",
        );
    }
}

fn compare(found: &mut Checkup, wanted: &Topology, live: &Topology) {
    let (differences, altered) = (wanted.missing_from(live), wanted.altered_by(live));
    let (exchanges, queues) = (wanted.exchanges.len(), wanted.queues.len());
    if live.operator_policies.is_none() {
        found.cannot("policies", topology::NOT_SEEN);
    }
    match differences.len() + altered.len() {
        0 => found.saw("topology", format!("all {exchanges} exchanges and {queues} queues as they should be")),
        places => found.saw("topology", format!("differs from what it should be in {places} places")),
    }
    if !differences.is_empty() {
        let remedy = "`orderflow topology apply` creates what is missing, and says what to do about differences";
        found.found("topology", format!("RabbitMQ is not set up as it should be: {}.", some(&differences)), remedy);
    }
    for one in &altered {
        let what = format!("RabbitMQ is not set up as it should be: {}.", topology::described(one));
        found.found("topology", what, topology::POLICY_REMEDY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(change: impl FnOnce(&mut Node)) -> Vec<String> {
        let mut node = Node {
            name: "rabbit@host".to_owned(),
            running: true,
            mem_alarm: false,
            disk_free_alarm: false,
            partitions: Vec::new(),
        };
        change(&mut node);
        ailments(&node).into_iter().map(|(what, _)| what).collect()
    }

    #[test]
    fn unhealthy_node_is_named_with_its_problems() {
        assert_eq!(node(|_| {}), Vec::<String>::new());
        assert_eq!(node(|node| node.running = false), ["The node rabbit@host is not running."]);
        let both = node(|node| (node.mem_alarm, node.disk_free_alarm) = (true, true));
        assert_eq!(
            both,
            [
                "The node rabbit@host has run out of memory: all publishers are blocked.",
                "The disk of the node rabbit@host is nearly full: all publishers are blocked."
            ]
        );
        let cut = node(|node| node.partitions = vec!["rabbit@other".to_owned()]);
        assert_eq!(cut, ["The node rabbit@host was cut off from rabbit@other."]);
        // A stopped node omits the other fields.
        let stopped: Node = serde_json::from_str(r#"{"name":"rabbit@host","running":false}"#).expect("a node");
        assert!(!stopped.running);
    }

    #[test]
    fn default_user_is_found() {
        let found = |users: &[&str]| {
            let mut checkup = Checkup::new();
            default_user(&mut checkup, &users.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            let mut out = Vec::new();
            checkup.tell(&mut out).expect("a Vec can be written to");
            String::from_utf8(out).expect("it is text")
        };
        assert!(found(&["orderflow-web"]).starts_with("Nothing is wrong."));
        let guest = found(&["orderflow-web", GUEST]);
        assert!(guest.contains("default user guest") && guest.contains("rabbitmqctl delete_user guest"), "{guest}");
    }
}
