//! Every query in monitoring/ uses only series and labels that exist. These tests need no Prometheus. `make check`,
//! where promtool is installed, and [`crate::dashboards`] check that Prometheus can parse the queries.

use std::collections::{BTreeMap, BTreeSet};

use orderflow::capacity;
use orderflow_tests::project::read;
use yaml_serde::Value as Yaml;

use crate::dashboards::{self, Dashboard};

/// RabbitMQ's metrics in the families that monitoring/prometheus.yml requests; seen with 3.10.8 and 4.0.5.
const RABBITMQ: [&str; 4] = [
    "rabbitmq_detailed_queue_messages",
    "rabbitmq_detailed_queue_messages_ready",
    "rabbitmq_detailed_queue_messages_unacked",
    "rabbitmq_detailed_queue_consumers",
];

/// Labels that Prometheus, RabbitMQ and monitoring/advice.yml add.
const ADDED: [&str; 4] = ["job", "instance", "vhost", "service"];

/// Keywords of the language that are not functions: labels in parentheses may follow them.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Functions whose grouping may precede their argument.
const AGGREGATE: [&str; 4] = ["sum", "min", "max", "count"];
const OPERATORS: [&str; 6] = ["and", "or", "unless", "bool", "offset", "Inf"];

/// The series and labels that a query uses.
#[derive(Debug, Default)]
struct Asked {
    /// Each series with the labels of its selector.
    series: Vec<(String, BTreeSet<String>)>,
    /// Labels used to group or join.
    grouped: BTreeSet<String>,
}

/// Splits a query into words, brackets and commas, without strings and windows.
fn words(query: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut rest = query;
    while let Some(first) = rest.chars().next() {
        let belongs = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
        if first == '"' {
            let quoted = &rest[1..];
            let end = quoted.match_indices('"').find(|(at, _)| !quoted[..*at].ends_with('\\')).expect("a text ends").0;
            rest = &quoted[end + 1..];
        } else if first == '[' {
            rest = rest.split_once(']').expect("a window ends").1;
        } else if belongs(first) {
            let end = rest.find(|letter| !belongs(letter)).unwrap_or(rest.len());
            words.push(rest[..end].to_owned());
            rest = &rest[end..];
        } else {
            if "(){}=!~,".contains(first) {
                words.push(first.to_string());
            }
            rest = &rest[first.len_utf8()..];
        }
    }
    words
}

/// Parses a query. Returns `None` if a bracket is not closed or no series is named.
fn asked(query: &str) -> Option<Asked> {
    let words = words(query);
    let count = |bracket: &str| words.iter().filter(|word| *word == bracket).count();
    if count("(") != count(")") || count("{") != count("}") {
        return None;
    }
    let (mut asked, mut grouping, mut choosing) = (Asked::default(), false, false);
    for (index, word) in words.iter().enumerate() {
        let next = words.get(index + 1).map(String::as_str);
        match word.as_str() {
            "{" | "}" => choosing = word == "{",
            ")" => grouping = false,
            word if GROUPING.contains(&word) => grouping = true,
            word if !word.starts_with(|first: char| first.is_alphabetic()) || OPERATORS.contains(&word) => {}
            word if choosing => {
                if let (Some("=" | "!"), Some((_, labels))) = (next, asked.series.last_mut()) {
                    labels.insert(word.to_owned());
                }
            }
            word if grouping => drop(asked.grouped.insert(word.to_owned())),
            // A function, or `sum by (…) (…)`.
            _ if next == Some("(")
                || next.is_some_and(|next| GROUPING.contains(&next) && AGGREGATE.contains(&word.as_str())) => {}
            word => asked.series.push((word.to_owned(), BTreeSet::new())),
        }
    }
    (!asked.series.is_empty()).then_some(asked)
}

/// Reads a file of rules. Returns the recorded series, and every query with the name of its rule.
fn rules(file: &str) -> (BTreeSet<String>, Vec<(String, String)>) {
    let rules: Yaml = yaml_serde::from_str(&read(file)).expect("it is YAML");
    let groups = rules["groups"].as_sequence().expect("groups");
    let (mut recorded, mut queries) = (BTreeSet::new(), Vec::new());
    for rule in groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules")) {
        let name = rule["record"].as_str().or_else(|| rule["alert"].as_str()).expect("a name");
        recorded.extend(rule["record"].as_str().map(str::to_owned));
        queries.push((format!("{file}: {name}"), rule["expr"].as_str().expect("a query").to_owned()));
    }
    (recorded, queries)
}

/// Returns the labels of every series of our processes, from docs/METRICS.md.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let mut all = BTreeMap::new();
    for row in read("docs/METRICS.md").lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [_, name, kind, labels, ..] = cells.as_slice() else { continue };
        let labels: BTreeSet<_> = labels.split(',').map(|label| label.trim().trim_matches('`').to_owned()).collect();
        let name = name.trim_matches('`');
        if !["counter", "gauge", "histogram", "info"].contains(kind) {
            continue;
        }
        if *kind == "histogram" {
            for part in ["_sum", "_count"] {
                all.insert(format!("{name}{part}"), labels.clone());
            }
            let with_bound = labels.into_iter().chain(["le".to_owned()]).collect();
            all.insert(format!("{name}_bucket"), with_bound);
        } else {
            all.insert(name.to_owned(), labels);
        }
    }
    assert!(all.len() > 40, "the table of docs/METRICS.md was not found");
    all
}

/// Returns the error in a query, if any.
fn wrong(query: &str, known: &BTreeMap<String, BTreeSet<String>>, recorded: &BTreeSet<String>) -> Option<String> {
    let Some(asked) = asked(query) else { return Some("it cannot be parsed".to_owned()) };
    for (name, labels) in asked.series {
        let by_prometheus = ["up", "ALERTS"].contains(&name.as_str());
        if by_prometheus || recorded.contains(&name) || RABBITMQ.contains(&name.as_str()) {
            continue;
        }
        let Some(has) = known.get(&name) else { return Some(format!("there is no {name}")) };
        let strange = labels.iter().find(|label| !has.contains(*label) && !ADDED.contains(&label.as_str()));
        if let Some(label) = strange {
            return Some(format!("{name} has no label {label}"));
        }
    }
    let anywhere = |label: &String| ADDED.contains(&label.as_str()) || known.values().any(|has| has.contains(label));
    asked.grouped.iter().find(|label| !anywhere(label)).map(|label| format!("nothing has a label {label}"))
}

#[test]
fn every_query_uses_existing_series_and_labels() {
    let known = documented();
    let (alerts, advice) = (rules("monitoring/alerts.yml"), rules("monitoring/advice.yml"));
    let recorded: BTreeSet<_> = alerts.0.union(&advice.0).cloned().collect();
    let panels = dashboards::all().into_iter().flat_map(|(file, dashboard)| {
        let queries = dashboard.queries();
        assert!(queries.len() > 10, "{file} has too few queries: this check searches for the wrong words");
        queries.into_iter().map(move |(title, query)| (format!("{file}: {title}"), query))
    });
    let queries: Vec<_> = alerts.1.into_iter().chain(advice.1).chain(panels).collect();
    let found =
        queries.iter().filter_map(|(place, query)| Some(format!("{place}: {}", wrong(query, &known, &recorded)?)));
    let found: Vec<_> = found.collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn invalid_query_is_detected() {
    let (known, recorded) = (documented(), BTreeSet::from(["orderflow:made".to_owned()]));
    let found = |query: &str| wrong(query, &known, &recorded);
    for right in
        ["sum by (queue) (rate(orderflow_queue_settled_total{outcome=\"recorded\"}[5m]))", "orderflow:made > 1"]
    {
        assert_eq!(found(right), None);
    }
    for wrong in [
        "sum(orderflow_queue_settled_total",
        "orderflow_queue_setled_total",
        "rate(orderflow_queue_settled_total{status=\"recorded\"}[5m])",
        "orderflow:unmade",
        "rabbitmq_queue_messages",
        "sum by (quue) (orderflow_queue_settled_total)",
        "1 + 1",
    ] {
        assert!(found(wrong).is_some(), "{wrong}");
    }
}

#[test]
fn every_alert_and_every_recorded_advice_has_a_test() {
    let tests = read("monitoring/alerts_test.yml");
    let text = read("monitoring/alerts.yml");
    for alert in text.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let fires = tests.split(&format!("alertname: {alert}\n")).skip(1).any(|rest| rest.contains("exp_labels"));
        assert!(fires, "no test in monitoring/alerts_test.yml expects {alert} to fire");
    }
    let tests = read("monitoring/advice_test.yml");
    for advice in ["processes_needed", "drain_seconds"] {
        assert!(tests.contains(&format!("expr: orderflow:queue_{advice}")), "{advice}");
    }
}

#[test]
fn every_alert_is_documented_with_its_severity_and_delay() {
    let (file, list) = (read("monitoring/alerts.yml"), read("docs/ALERTS.md"));
    let file: Yaml = yaml_serde::from_str(&file).expect("it is YAML");
    let groups = file["groups"].as_sequence().expect("groups").iter();
    let rules = groups.flat_map(|group| group["rules"].as_sequence().expect("rules"));
    let mut alerts = 0;
    for rule in rules {
        let Some(name) = rule["alert"].as_str() else { continue };
        let severity = rule["labels"]["severity"].as_str().expect("a severity");
        let row = list.lines().find(|line| line.starts_with(&format!("| `{name}` | {severity} |")));
        let row = row.unwrap_or_else(|| panic!("docs/ALERTS.md has no row for {name}, {severity}"));
        let wait = rule["for"].as_str().map_or_else(
            || "immediately".to_owned(),
            |time| time.replace('h', " h").replace('m', " min").replace('s', " s"),
        );
        assert!(row.ends_with(&format!("| {wait} |")), "{name} waits for {wait}: {row}");
        alerts += 1;
    }
    assert!(alerts > 10, "the alerts were not found");
}

/// `orderflow queues` and the rules by which Prometheus scales must agree.
#[test]
fn advice_rules_match_the_programs() {
    let rules = read("monitoring/advice.yml");
    let (within, share) = (capacity::DRAIN_WITHIN, capacity::TARGET_UTILISATION);
    assert!(rules.contains(&format!("orderflow:queue_ready / {within})")), "{within}");
    assert!(rules.contains(&format!("orderflow:queue_process_capacity / {share} - 1e-9)")), "{share}");
}

/// Every alert has a receiver, and inhibitions name existing alerts.
#[test]
fn routes_and_inhibitions_name_existing_alerts() {
    let mut config: Yaml = yaml_serde::from_str(&read("monitoring/alertmanager.yml")).expect("it is YAML");
    config.apply_merge().expect("what it inherits are mappings");
    let receivers: BTreeSet<_> = config["receivers"]
        .as_sequence()
        .expect("a list")
        .iter()
        .map(|one| one["name"].as_str().expect("a name"))
        .collect();
    let routes = config["route"]["routes"].as_sequence().expect("routes");
    let used: BTreeSet<_> =
        routes.iter().chain([&config["route"]]).filter_map(|one| one["receiver"].as_str()).collect();
    assert_eq!(used, receivers);
    for receiver in config["receivers"].as_sequence().expect("a list") {
        let mail = &receiver["email_configs"][0];
        assert!(mail["to"].as_str().is_some() && mail["send_resolved"].as_bool() == Some(true), "{receiver:?}");
    }
    let alerts = read("monitoring/alerts.yml");
    let file = read("monitoring/alertmanager.yml");
    let matchers = file.lines().filter(|line| line.trim_start_matches(['-', ' ']).contains("_matchers: "));
    let mut known = 0;
    for names in matchers.filter_map(|line| line.split("alertname ").nth(1)?.split('"').nth(1)) {
        for name in names.split('|') {
            assert!(alerts.contains(&format!("- alert: {name}\n")), "there is no alert {name}");
            known += 1;
        }
    }
    assert!(known > 10, "monitoring/alertmanager.yml names too few alerts");
    let smarthost = config["global"]["smtp_smarthost"].as_str().and_then(|host| host.split(':').next());
    let compose: Yaml = yaml_serde::from_str(&read("docker-compose.yml")).expect("it is YAML");
    assert!(smarthost.is_some_and(|host| !compose["services"][host].is_null()), "{smarthost:?} is not a service");
}

#[test]
fn containers_mount_every_file_that_their_programs_read() {
    let compose: Yaml = yaml_serde::from_str(&read("docker-compose.yml")).expect("it is YAML");
    let mounted = |service: &str| -> String { format!("{:?}", compose["services"][service]["volumes"]) };
    let prometheus: Yaml = yaml_serde::from_str(&read("monitoring/prometheus.yml")).expect("it is YAML");
    for file in prometheus["rule_files"].as_sequence().expect("a list").iter().filter_map(Yaml::as_str) {
        let wanted = format!("./monitoring/{file}:/etc/prometheus/{file}:ro");
        assert!(mounted("prometheus").contains(&wanted), "{file}");
        assert!(!read(&format!("monitoring/{file}")).is_empty(), "{file}");
    }
    let told = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0].as_str();
    assert!(told.and_then(|at| at.split(':').next()).is_some_and(|name| !compose["services"][name].is_null()));
    let provided: Yaml =
        yaml_serde::from_str(&read("monitoring/grafana/provisioning/dashboards/orderflow.yml")).expect("it is YAML");
    let at = provided["providers"][0]["options"]["path"].as_str().expect("a path");
    assert!(mounted("grafana").contains(&format!("./monitoring/grafana/dashboards:{at}:ro")), "{at}");
    let source: Yaml =
        yaml_serde::from_str(&read("monitoring/grafana/provisioning/datasources/prometheus.yml")).expect("it is YAML");
    assert_eq!(source["datasources"][0]["uid"].as_str(), Some(Dashboard::SOURCE));
}
