//! docker-compose.yml agrees with the programs, as far as this can be checked without a container engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use orderflow_service::{
    config::{
        AdminConfig, BrokerConfig, ConfigError, DatabaseConfig, FrontEndConfig, OperatorsConfig, Source, WebConfig,
    },
    process::Settings,
};
use orderflow_tests::{project::read, run};
use orderflow_worker::roster;
use serde_json::Value as Json;
use yaml_serde::Value;

use super::passwords::{made_up, written_env};

/// The longest time that a worker needs to stop: work in progress, pace, relay, failures, runtime and traces. See its
/// `DRAIN_TIMEOUT`.
pub(super) const LONGEST_STOP: Duration = Duration::from_secs(32);

/// Returns the services of docker-compose.yml with their inherited values and unresolved variables.
pub(super) fn services() -> BTreeMap<String, Value> {
    let mut file: Value = yaml_serde::from_str(&read("docker-compose.yml")).expect("it is YAML");
    // One pass resolves one level, and inherited values may inherit in turn.
    for _ in 0..4 {
        file.apply_merge().expect("inherited values are mappings");
    }
    yaml_serde::from_value(file["services"].clone()).expect("it has services")
}

/// Returns the services that run our image.
pub(super) fn programs() -> BTreeMap<String, Value> {
    let ours = |service: &Value| service["image"].as_str() == Some("orderflow:local");
    let found: BTreeMap<_, _> = services().into_iter().filter(|(_, service)| ours(service)).collect();
    assert!(found.len() > roster().names().len(), "{:?}", found.keys());
    found
}

pub(super) fn environment(service: &Value) -> BTreeMap<String, String> {
    yaml_serde::from_value(service["environment"].clone()).expect("a mapping from names to text")
}

pub(super) fn words(list: &Value) -> Vec<String> {
    yaml_serde::from_value(list.clone()).expect("a list of words")
}

/// Replaces `${NAME:-default}` and `${NAME:?message}` as Docker Compose does.
pub(super) fn resolve(text: &str, known: &BTreeMap<String, String>) -> String {
    let Some((before, rest)) = text.split_once("${") else { return text.to_owned() };
    let (inside, after) = rest.split_once('}').expect("a variable ends");
    let (name, instead) = inside.split_once(':').expect("every variable has a default or an error message");
    let value = match (known.get(name), instead.strip_prefix('-')) {
        (Some(value), _) => value.clone(),
        (None, Some(default)) => default.to_owned(),
        (None, None) => panic!("scripts/make-env.sh does not write {name}"),
    };
    format!("{before}{value}{}", resolve(after, known))
}

/// Returns the environment of each of our programs, with scripts/make-env.sh's passwords for variables.
pub(super) async fn given() -> BTreeMap<String, BTreeMap<String, String>> {
    let known = made_up().await;
    let resolved = |service: &Value| {
        environment(service).into_iter().map(|(setting, text)| (setting, resolve(&text, &known))).collect()
    };
    programs().iter().map(|(name, service)| (name.clone(), resolved(service))).collect()
}

/// Returns every setting, and whether it is a secret.
pub(super) async fn known_settings() -> BTreeMap<String, bool> {
    let config = run("orderflow", &["config", "--json"], &[]).await;
    let rows: Vec<Json> = serde_json::from_str(&config.out).unwrap_or_else(|error| panic!("{error}: {config:?}"));
    rows.iter().map(|row| (row["name"].as_str().expect("a name").to_owned(), row["secret"] == true)).collect()
}

/// Checks that the program of this name would start with these settings.
pub(super) fn complete(name: &str, given: &Source) -> Result<(), ConfigError> {
    let database = DatabaseConfig::read(given);
    match name {
        "setup" | "orderflow" | "operator" => given.finish(AdminConfig::read(given).and(database).map(drop)),
        "audit" => given.finish(database.map(drop)),
        "web" => given.finish(BrokerConfig::read(given).zip(WebConfig::read(given)).and(database).map(drop)),
        "console" => {
            let operators = OperatorsConfig::read(given);
            assert!(operators.as_ref().is_some_and(|read| read.broker.is_some()), "the console has no broker settings");
            given.finish(FrontEndConfig::read(given).and(operators).and(database).map(drop))
        }
        service => {
            let queues = roster().select(&[format!("{service}.*")]).expect("it has queues");
            Settings::read(given, roster(), queues).map(drop)
        }
    }
}

#[tokio::test]
async fn every_program_starts_with_its_settings() {
    for (name, given) in given().await {
        assert_eq!(complete(&name, &given.into_iter().collect::<Source>()), Ok(()), "{name}");
    }
}

#[tokio::test]
async fn every_named_setting_exists_and_no_file_contains_a_secret() {
    let known = known_settings().await;
    for (service, given) in programs() {
        for (name, value) in environment(&given) {
            let secret = known.get(&name).unwrap_or_else(|| panic!("{service} gets {name}, which is not a setting"));
            assert!(!secret || value.contains("${"), "docker-compose.yml contains the secret {name} of {service}");
        }
    }
    let dockerfile = read("Dockerfile");
    // Only the last stage becomes the image.
    let image = dockerfile.rsplit("\nFROM ").next().expect("a last stage");
    let named = image.lines().filter_map(|line| line.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    let named: Vec<_> = named.filter_map(|pair| pair.split_once('=')).collect();
    assert!(!named.is_empty(), "the image listens on 127.0.0.1 only");
    for (name, _) in named {
        assert_eq!(known.get(name), Some(&false), "the image sets {name}");
    }
}

#[test]
fn each_service_has_its_workers_and_all_queues_are_consumed_once() {
    let programs = programs();
    let mut consumed = Vec::new();
    for service in roster().names() {
        let worker = programs.get(service).unwrap_or_else(|| panic!("docker-compose.yml has no service {service}"));
        let [program, option, pattern]: [String; 3] = words(&worker["command"]).try_into().expect("one pattern");
        assert_eq!([program, option], ["orderflow-worker", "--queue"], "{service}");
        let queues = roster().select(&[pattern]).unwrap_or_else(|error| panic!("{service}: {error}"));
        assert!(queues.iter().all(|queue| queue.service() == service), "{service}: {queues:?}");
        consumed.extend(queues);
        // Two containers of a service cannot share a name or a port.
        assert!(worker["container_name"].is_null() && worker["ports"].is_null(), "{service} cannot be scaled");
    }
    consumed.sort_unstable();
    let mut all = roster().subscriptions().to_vec();
    all.sort_unstable();
    assert_eq!(consumed, all);
}

#[test]
fn prometheus_scrapes_every_long_running_program() {
    let file: Value = yaml_serde::from_str(&read("monitoring/prometheus.yml")).expect("it is YAML");
    let scraped = |job: &str| -> BTreeSet<String> {
        let jobs = file["scrape_configs"].as_sequence().expect("a list");
        let job = jobs.iter().find(|one| one["job_name"] == job).unwrap_or_else(|| panic!("no job {job}"));
        words(&job["dns_sd_configs"][0]["names"]).into_iter().collect()
    };
    let services: BTreeSet<String> = roster().names().into_iter().map(str::to_owned).collect();
    assert_eq!(scraped("worker"), services);
    for front_end in ["web", "console"] {
        assert_eq!(scraped(front_end), [front_end.to_owned()].into());
    }
}

#[tokio::test]
async fn environment_file_names_the_variables_that_scale_services() {
    let written = written_env().await;
    for service in roster().names() {
        let variable = format!("{}_WORKERS", service.to_uppercase().replace('-', "_"));
        assert!(written.contains(&format!("\n#{variable}=1\n")), "scripts/make-env.sh does not mention {variable}");
    }
}

/// Settings that are not tuned in containers: listening addresses, how to reach RabbitMQ, providers without an
/// alternative, settings of commands that containers do not run, and paths of files, which need a volume and so an
/// override. `secrets.rs` has the settings that are secrets; `DATABASE_DIRECT_URL` needs an override in Compose, as the
/// pooler does.
const FIXED: [&str; 11] = [
    "CARRIER",
    "DATABASE_ROLE_PREFIX",
    "LISTEN",
    "MAIL",
    "OPS_LISTEN",
    "RABBITMQ_MANAGEMENT_URL",
    "RABBITMQ_UI_URL",
    "TLS_CA",
    "TLS_CERTIFICATE",
    "TLS_KEY",
    "WORKER_LISTEN",
];

/// Returns the names of the settings that an installation tunes, whether or not they have a default.
pub(super) fn tunable() -> impl Iterator<Item = &'static str> {
    let tuned = roster().settings().filter(|setting| !setting.secret && !FIXED.contains(&setting.name));
    tuned.map(|setting| setting.name)
}

#[test]
fn tunable_settings_are_variables() {
    let given: Vec<_> = programs().values().map(environment).collect();
    for name in tunable() {
        let variable = format!("${{{name}:-");
        let taken = given.iter().filter_map(|one| one.get(name)).collect::<Vec<_>>();
        assert!(!taken.is_empty(), "docker-compose.yml has no variable for {name}");
        assert!(taken.iter().all(|value| value.starts_with(&variable)), "{name} is {taken:?}");
    }
}

pub(super) fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[test]
fn programs_get_enough_time_to_stop() {
    for (name, service) in programs() {
        let grace = humantime::parse_duration(&text(&service["stop_grace_period"])).expect("a duration");
        assert!(grace > LONGEST_STOP, "{name} is killed after {grace:?}");
    }
}
