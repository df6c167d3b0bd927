//! deploy/kubernetes agrees with the programs, with docker-compose.yml and with its own README, as far as a test can
//! check without a cluster. scripts/check_kubernetes.sh validates it against the schemas of Kubernetes and KEDA.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Duration,
};

use orderflow_service::config::Source;
use orderflow_tests::project::root;
use orderflow_worker::roster;
use serde::Deserialize as _;
use yaml_serde::Value;

use super::{
    deployment::{LONGEST_STOP, complete, known_settings, programs, text, tunable, words},
    images::image_user,
    secrets::kubernetes_secrets,
};

/// Returns the documents of one folder. Kubernetes and KEDA identify them by kind and name.
fn documents(part: &str) -> Vec<Value> {
    let folder = root().join("deploy/kubernetes").join(part);
    let mut found = Vec::new();
    for file in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let file = file.expect("it can be read").path();
        if file.file_name().is_some_and(|name| name != "kustomization.yaml") {
            let written = fs::read_to_string(&file).expect("it can be read");
            for document in yaml_serde::Deserializer::from_str(&written) {
                let document = Value::deserialize(document);
                found.push(document.unwrap_or_else(|error| panic!("{}: {error}", file.display())));
            }
        }
    }
    assert!(!found.is_empty(), "{} has no manifests", folder.display());
    found
}

/// Returns the folder's documents of this kind, by name without `orderflow-`.
fn of_kind(part: &str, kind: &str) -> BTreeMap<String, Value> {
    let known = |document: &Value| {
        let name = text(&document["metadata"]["name"]);
        name.strip_prefix("orderflow-").unwrap_or_else(|| panic!("{name} lacks the prefix orderflow-")).to_owned()
    };
    documents(part).into_iter().filter(|one| one["kind"] == kind).map(|one| (known(&one), one)).collect()
}

/// Returns the pod template of each object that runs our image, by name without `orderflow-`.
pub(super) fn pods() -> BTreeMap<String, Value> {
    let template = |one: &Value| match one["kind"].as_str() {
        Some("CronJob") => one["spec"]["jobTemplate"]["spec"]["template"].clone(),
        _ => one["spec"]["template"].clone(),
    };
    let kinds = ["Deployment", "Job", "CronJob"].into_iter().flat_map(|kind| of_kind("base", kind));
    let found: BTreeMap<_, _> = kinds.map(|(name, one)| (name, template(&one))).collect();
    let mut expected: BTreeSet<_> = roster().names().into_iter().collect();
    expected.extend(["web", "console", "setup", "audit", "operator"]);
    assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), expected);
    found
}

/// Returns a pod's only container.
fn container(pod: &Value) -> &Value {
    let all = pod["spec"]["containers"].as_sequence().expect("it has containers");
    assert_eq!(all.len(), 1, "{all:?}");
    &all[0]
}

/// The source of a variable's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    Here(String),
    Secret { name: String, key: String, optional: bool },
}

/// Returns a pod's own variables, without those of the ConfigMap and Secret that it imports whole.
pub(super) fn environment(pod: &Value) -> BTreeMap<String, Given> {
    let read = |variable: &Value| {
        let secret = &variable["valueFrom"]["secretKeyRef"];
        let given = if secret.is_null() {
            Given::Here(text(&variable["value"]))
        } else {
            let optional = secret["optional"].as_bool().unwrap_or(false);
            Given::Secret { name: text(&secret["name"]), key: text(&secret["key"]), optional }
        };
        (text(&variable["name"]), given)
    };
    container(pod)["env"].as_sequence().into_iter().flatten().map(read).collect()
}

/// Returns the Secret that a pod imports whole, in addition to the ConfigMap.
pub(super) fn whole_secret(pod: &Value) -> Option<String> {
    let sources = container(pod)["envFrom"].as_sequence().expect("it takes the settings");
    assert_eq!(sources[0]["configMapRef"]["name"], "orderflow-settings");
    assert!(sources.len() <= 2, "{sources:?}");
    sources.get(1).map(|source| text(&source["secretRef"]["name"]))
}

fn settings() -> BTreeMap<String, String> {
    let map = of_kind("base", "ConfigMap").remove("settings").expect("there is a ConfigMap");
    yaml_serde::from_value(map["data"].clone()).expect("a mapping from names to text")
}

/// Returns the settings of each pod, with the Secrets that the README creates. Missing optional variables are empty.
pub(super) async fn given() -> BTreeMap<String, BTreeMap<String, String>> {
    let (settings, secrets) = (settings(), kubernetes_secrets().await);
    let resolved = |name: &str, pod: &Value| {
        let mut given = settings.clone();
        given.extend(whole_secret(pod).map(|secret| secrets[&secret].clone()).unwrap_or_default());
        for (variable, source) in environment(pod) {
            let value = match source {
                Given::Here(value) => value,
                Given::Secret { name: secret, key, optional } => {
                    let value = secrets.get(&secret).and_then(|keys| keys.get(&key)).cloned();
                    assert!(optional || value.is_some(), "{name}: {secret} of the README has no {key}");
                    value.unwrap_or_default()
                }
            };
            given.insert(variable, value);
        }
        given
    };
    pods().iter().map(|(name, pod)| (name.clone(), resolved(name, pod))).collect()
}

#[tokio::test]
async fn every_program_starts_with_the_settings_that_it_is_given() {
    for (name, given) in given().await {
        assert_eq!(complete(&name, &given.into_iter().collect::<Source>()), Ok(()), "{name}");
    }
}

#[tokio::test]
async fn every_named_setting_exists_and_no_file_contains_a_secret() {
    let known = known_settings().await;
    for name in settings().keys() {
        assert_eq!(known.get(name), Some(&false), "{name} is in the ConfigMap");
    }
    for (pod, described) in pods() {
        for (name, given) in environment(&described) {
            let secret = known.get(&name).unwrap_or_else(|| panic!("{pod} sets {name}, which is not a setting"));
            assert_eq!(*secret, matches!(given, Given::Secret { .. }), "{name} of {pod}");
        }
    }
    assert!(documents("base").iter().all(|document| document["kind"] != "Secret"), "a file contains a Secret");
}

#[test]
fn config_map_contains_the_settings_that_shops_tune() {
    let settings = settings();
    for name in tunable() {
        assert!(settings.contains_key(name), "base/settings.yaml lacks {name}");
    }
}

/// With a number in the manifest, applying it again would stop the processes that KEDA started.
#[test]
fn manifests_of_workers_set_no_number_of_processes() {
    let deployments = of_kind("base", "Deployment");
    for service in roster().names() {
        assert!(deployments[service]["spec"]["replicas"].is_null(), "{service} sets a number of processes");
    }
}

/// The recorded figure is a number of processes, so KEDA must divide it by a threshold of 1.
#[test]
fn each_service_is_scaled_by_the_processes_that_it_needs() {
    let scaled = of_kind("scaling", "ScaledObject");
    assert_eq!(scaled.keys().map(String::as_str).collect::<Vec<_>>(), roster().names());
    for (service, object) in scaled {
        let spec = &object["spec"];
        assert_eq!(spec["scaleTargetRef"]["name"], format!("orderflow-{service}").as_str());
        let triggers = spec["triggers"].as_sequence().expect("it has triggers");
        assert_eq!(triggers.len(), 1, "{service}: with several triggers, the greatest would decide");
        assert_eq!((&triggers[0]["type"], &triggers[0]["metricType"]), (&"prometheus".into(), &"AverageValue".into()));
        let mut told: BTreeMap<String, String> =
            yaml_serde::from_value(triggers[0]["metadata"].clone()).expect("a mapping from names to text");
        assert!(told.remove("serverAddress").is_some_and(|address| address.starts_with("http")), "{service}");
        let query = format!("max(orderflow:service_processes_needed{{service=\"{service}\"}})");
        let expected = [("query", query.as_str()), ("threshold", "1"), ("ignoreNullValues", "false")];
        assert_eq!(told, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), "{service}");
        let [least, fallback, most] =
            [&spec["minReplicaCount"], &spec["fallback"]["replicas"], &spec["maxReplicaCount"]]
                .map(|number| number.as_u64().expect("a number"));
        assert!(1 <= least && least <= fallback && fallback < most, "{service}: {least}, {fallback}, {most}");
    }
}

#[test]
fn scaling_rule_is_recorded() {
    let rules = fs::read_dir(root().join("monitoring")).expect("there is monitoring");
    let written = rules.map(|file| fs::read_to_string(file.expect("a file").path()).unwrap_or_default());
    assert!(written.into_iter().any(|file| file.contains("- record: orderflow:service_processes_needed\n")));
}

#[test]
fn containers_may_do_no_more_than_they_need() {
    for (name, pod) in pods() {
        let (spec, container) = (&pod["spec"], container(&pod));
        // base/kustomization.yaml sets the version.
        assert_eq!(container["image"], "orderflow", "{name}");
        let user = &spec["securityContext"];
        let numbers = ["runAsUser", "runAsGroup"].map(|one| user[one].as_u64().expect("a number").to_string());
        assert_eq!(numbers.join(":"), image_user(), "{name} does not run as the image's user");
        assert_eq!(user["runAsNonRoot"].as_bool(), Some(true), "{name}");
        assert_eq!(user["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        let may = &container["securityContext"];
        assert_eq!(may["readOnlyRootFilesystem"].as_bool(), Some(true), "{name}");
        assert_eq!(may["allowPrivilegeEscalation"].as_bool(), Some(false), "{name}");
        assert_eq!(words(&may["capabilities"]["drop"]), ["ALL"], "{name}");
        assert!(may["privileged"].is_null() && may["capabilities"]["add"].is_null(), "{name}");
        assert_eq!(spec["automountServiceAccountToken"].as_bool(), Some(false), "{name} can call the cluster's API");
        assert!(["hostNetwork", "hostPID", "hostIPC"].iter().all(|one| spec[*one].is_null()), "{name}");
        assert!(!container["resources"]["limits"]["memory"].is_null(), "{name} has no memory limit");
        let wanted = &container["resources"]["requests"];
        assert!(!wanted["memory"].is_null() && !wanted["cpu"].is_null(), "{name} may be scheduled on a full node");
    }
}

#[test]
fn programs_have_time_to_stop() {
    let compose = programs();
    // When Kubernetes stops the operator's pod, none of our programs runs in it; and an audit only reads.
    for (name, pod) in pods().into_iter().filter(|(name, _)| !["operator", "audit"].contains(&name.as_str())) {
        let grace = Duration::from_secs(pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("a number"));
        let there = text(&compose[&name]["stop_grace_period"]);
        assert_eq!(Ok(grace), humantime::parse_duration(&there), "{name}: docker-compose.yml has another grace period");
        let before = &container(&pod)["lifecycle"]["preStop"]["exec"]["command"];
        let before = if before.is_null() { 0 } else { words(before)[1].parse().expect("seconds") };
        assert!(grace > LONGEST_STOP + Duration::from_secs(before), "{name} is killed after {grace:?}");
    }
}

#[test]
fn commands_match_compose() {
    let compose = programs();
    for (name, pod) in pods() {
        if let Some(service) = compose.get(&name) {
            assert_eq!(words(&container(&pod)["command"]), words(&service["command"]), "{name}");
        }
    }
}

/// Kubernetes and Prometheus must send their requests to the ports on which the program answers them.
#[test]
fn probes_and_metrics_go_where_the_programs_listen() {
    let services = roster().names().into_iter().map(|service| (service, "WORKER_LISTEN", "metrics"));
    let front_ends = [("web", "OPS_LISTEN", "http"), ("console", "OPS_LISTEN", "metrics")];
    for (name, metrics, probed) in services.chain(front_ends) {
        let pod = &pods()[name];
        let (container, environment) = (container(pod), environment(pod));
        let port = |setting: &str| match &environment[setting] {
            Given::Here(address) => {
                let number = address.strip_prefix("0.0.0.0:").expect("it listens on the pod's addresses");
                number.parse::<u64>().expect("a port")
            }
            secret @ Given::Secret { .. } => panic!("{name}: {setting} is {secret:?}"),
        };
        let ports = container["ports"].as_sequence().expect("it has ports").iter();
        let named: BTreeMap<_, _> = ports.map(|one| (text(&one["name"]), one["containerPort"].as_u64())).collect();
        assert_eq!(named["metrics"], Some(port(metrics)), "{name}");
        assert_eq!(pod["metadata"]["annotations"]["prometheus.io/port"], port(metrics).to_string().as_str(), "{name}");
        if name == "web" {
            assert_eq!(named["http"], Some(port("LISTEN")), "{name}");
        }
        for (probe, path) in [("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")] {
            let asked = &container[probe]["httpGet"];
            assert_eq!((&asked["path"], &asked["port"]), (&path.into(), &probed.into()), "{probe} of {name}");
        }
    }
}

#[test]
fn customers_reach_the_shop_and_nothing_else() {
    let services = of_kind("base", "Service");
    assert_eq!(
        services.keys().collect::<Vec<_>>(),
        ["console", "web"],
        "another Service makes something else reachable"
    );
    for (service, port) in [("web", "http"), ("console", "metrics")] {
        let spec = &services[service]["spec"];
        let ports = spec["ports"].as_sequence().expect("it has ports").iter();
        assert_eq!(ports.map(|port| text(&port["targetPort"])).collect::<Vec<_>>(), [port], "{service}");
        assert_eq!(spec["type"].as_str().unwrap_or("ClusterIP"), "ClusterIP", "{service} is reachable from outside");
    }
    let policies = of_kind("base", "NetworkPolicy");
    let labels = |name: &str| -> BTreeMap<String, String> {
        let one = &policies[name]["spec"]["podSelector"]["matchLabels"];
        yaml_serde::from_value(one.clone()).expect("labels")
    };
    // Without this policy, pods that no other policy covers would be open.
    assert_eq!(labels("nobody").len(), 1, "it does not cover all of our pods");
    assert_eq!(policies["nobody"]["spec"]["ingress"].as_sequence().map(Vec::len), Some(0));
    assert_eq!(labels("customers").get("app.kubernetes.io/component").map(String::as_str), Some("web"));
    for (name, policy) in &policies {
        for rule in policy["spec"]["ingress"].as_sequence().expect("it has rules") {
            let ports = rule["ports"].as_sequence().expect("a rule names its ports").iter();
            let inside = ports.map(|port| text(&port["port"])).any(|port| port != "http");
            assert!(!inside || !rule["from"][0]["podSelector"].is_null(), "{name} opens internal ports to all");
        }
    }
}

/// Kubernetes silently accepts a selector that matches nothing.
#[test]
fn selectors_match_their_pods() {
    let pods = pods();
    let labels = |value: &Value| -> BTreeMap<String, String> {
        yaml_serde::from_value(value.clone()).unwrap_or_else(|error| panic!("{value:?}: {error}"))
    };
    let mut selectors = Vec::new();
    for (name, one) in of_kind("base", "Deployment") {
        selectors.push((name.clone(), labels(&one["spec"]["selector"]["matchLabels"])));
        let spread = one["spec"]["template"]["spec"]["topologySpreadConstraints"].as_sequence().cloned();
        let spread = spread.unwrap_or_default();
        selectors.extend(spread.iter().map(|each| (name.clone(), labels(&each["labelSelector"]["matchLabels"]))));
    }
    let (services, budgets) = (of_kind("base", "Service"), of_kind("base", "PodDisruptionBudget"));
    selectors.extend(services.iter().map(|(name, one)| (name.clone(), labels(&one["spec"]["selector"]))));
    selectors.push(("web".to_owned(), labels(&budgets["web"]["spec"]["selector"]["matchLabels"])));
    for (name, selector) in selectors {
        assert_eq!(selector, labels(&pods[&name]["metadata"]["labels"]), "{name}");
        let others = pods.iter().filter(|(other, _)| **other != name);
        assert!(
            others.into_iter().all(|(_, pod)| selector != labels(&pod["metadata"]["labels"])),
            "the selector of {name} matches other pods"
        );
    }
}
