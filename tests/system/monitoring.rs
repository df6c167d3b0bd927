//! Runs a Prometheus and an Alertmanager for a test, with the configuration in monitoring/.
//!
//! Changes to the configuration are mechanical: addresses are replaced, and durations divided by one factor. Queries,
//! thresholds, routes and inhibitions stay as they are.

use std::{fs, net::SocketAddr, path::Path, time::Duration};

use orderflow_tests::{Child, Shop, SmtpSink, own::free_address, plaintext, project::read, until};
use reqwest::{Client, Method};
use serde_json::Value;
use tempfile::TempDir;
use url::Url;
use yaml_serde::Value as Yaml;

/// The keys whose durations are divided. Windows in brackets are divided too.
const TIMES: [&str; 6] =
    ["for: ", "scrape_interval: ", "scrape_timeout: ", "evaluation_interval: ", "group_wait: ", "group_interval: "];

/// A running Prometheus and Alertmanager. Dropping it stops both.
pub struct Monitoring {
    /// Receives the mails of Alertmanager.
    pub mails: SmtpSink,
    root: String,
    client: Client,
    _running: [Child; 2],
    _directory: TempDir,
}

/// The scrape targets: the name of each job and the addresses of its processes.
pub type Targets<'a> = &'a [(&'a str, &'a [SocketAddr])];

impl Monitoring {
    /// Starts both so that everything happens `faster` times as fast, and waits until all targets answer.
    pub async fn start(shop: &Shop, targets: Targets<'_>, faster: u32) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let mails = SmtpSink::start(0).await;
        let (prometheus, alertmanager) = (free_address(), free_address());

        let post_office = mails.url.trim_start_matches("smtp://");
        let told = shortened(&read("monitoring/alertmanager.yml"), faster).replace("mailpit:1025", post_office);
        assert!(told.contains(post_office), "monitoring/alertmanager.yml does not name the mail server");
        fs::write(path("alertmanager.yml"), told).expect("a file of our own");
        for rules in ["alerts.yml", "advice.yml"] {
            let text = shortened(&read(&format!("monitoring/{rules}")), faster);
            fs::write(path(rules), text).expect("a file of our own");
        }
        let broker = rabbitmq(shop).await;
        let config = prometheus_config(targets, broker, shop, alertmanager, faster);
        fs::write(path("prometheus.yml"), config).expect("a file of our own");

        let root = format!("http://{prometheus}");
        let running = [
            start(
                "prometheus-alertmanager",
                &path("alertmanager.yml"),
                "--storage.path",
                &path("alertmanager"),
                alertmanager,
            ),
            start("prometheus", &path("prometheus.yml"), "--storage.tsdb.path", &path("data"), prometheus),
        ];
        let client = plaintext().build().expect("a client");
        let monitoring = Self { mails, root, client, _running: running, _directory: directory };
        monitoring.until_all_answer().await;
        monitoring
    }

    async fn until_all_answer(&self) {
        until("Prometheus reaches all targets", async || {
            let Some(answer) = self.try_ask("targets", &[]).await else { return Err(Value::Null) };
            let targets = answer["activeTargets"].as_array().cloned().unwrap_or_default();
            let up = |target: &Value| target["health"] == "up";
            if !targets.is_empty() && targets.iter().all(up) { Ok(()) } else { Err(answer) }
        })
        .await;
    }

    /// Calls Prometheus's API. Returns `None` while Prometheus does not answer.
    pub async fn try_ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let url = Url::parse_with_params(&format!("{}/api/v1/{path}", self.root), query).expect("a URL");
        let request = self.client.get(url);
        let answer = request.timeout(Duration::from_secs(10)).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        if answer["status"] == "success" { Some(answer["data"].clone()) } else { None }
    }

    /// Returns a query's current result: the labels and the value of each series.
    pub async fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let answer = self.try_ask("query", &[("query", query)]).await;
        let answer = answer.unwrap_or_else(|| panic!("Prometheus does not answer {query}"));
        let series = answer["result"].as_array().cloned().unwrap_or_default();
        let value = |one: &Value| one["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number");
        series.iter().map(|one| (one["metric"].clone(), value(one))).collect()
    }

    /// Returns the labels of each alert that is firing.
    pub async fn firing(&self) -> Vec<Value> {
        let answer = self.try_ask("alerts", &[]).await.unwrap_or_default();
        let alerts = answer["alerts"].as_array().cloned().unwrap_or_default();
        alerts.iter().filter(|alert| alert["state"] == "firing").map(|alert| alert["labels"].clone()).collect()
    }
}

fn start(program: &str, config: &Path, storage: &str, data: &Path, address: SocketAddr) -> Child {
    let arguments = [
        format!("--config.file={}", config.display()),
        format!("{storage}={}", data.display()),
        format!("--web.listen-address={address}"),
        "--log.level=warn".to_owned(),
    ];
    let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if program.ends_with("alertmanager") {
        // There is only one Alertmanager, so it needs no cluster.
        arguments.push("--cluster.listen-address=");
    }
    Child::start_installed(program, &arguments)
}

/// Returns the address of RabbitMQ's own metrics.
async fn rabbitmq(shop: &Shop) -> SocketAddr {
    let overview = shop.manage(Method::GET, "overview").await;
    let listeners = overview["listeners"].as_array().cloned().unwrap_or_default();
    let found = listeners.iter().find(|one| one["protocol"] == "http/prometheus").and_then(|one| one["port"].as_u64());
    let port = found.and_then(|port| u16::try_from(port).ok()).expect("the plugin rabbitmq_prometheus is on");
    let host = shop.servers.management_url.host_str().expect("a host");
    format!("{host}:{port}").parse().expect("an address")
}

/// Returns monitoring/prometheus.yml with these addresses.
fn prometheus_config(
    targets: Targets<'_>,
    broker: SocketAddr,
    shop: &Shop,
    alertmanager: SocketAddr,
    faster: u32,
) -> String {
    let text = shortened(&read("monitoring/prometheus.yml"), faster);
    let mut config: Yaml = yaml_serde::from_str(&text).expect("it is YAML");
    // At a tenth of its length, the scrape time-out is too short for a busy machine with two cores.
    config["global"]["scrape_timeout"] = config["global"]["scrape_interval"].clone();
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0] = alertmanager.to_string().into();
    for job in config["scrape_configs"].as_sequence_mut().expect("jobs") {
        let name = job["job_name"].as_str().expect("a name").to_owned();
        let own = targets.iter().find(|(own, _)| *own == name).map(|(_, addresses)| addresses.to_vec());
        let addresses: Vec<_> = own.unwrap_or_else(|| vec![broker]).iter().map(ToString::to_string).collect();
        job.as_mapping_mut().expect("settings").remove("dns_sd_configs");
        job["static_configs"] = yaml_serde::from_str(&format!("[{{targets: {addresses:?}}}]")).expect("it is YAML");
        if !job["params"].is_null() {
            job["params"]["vhost"][0] = shop.name().into();
        }
    }
    yaml_serde::to_string(&config).expect("it can be written")
}

/// Divides every duration in the text.
fn shortened(text: &str, faster: u32) -> String {
    let divided = |time: &str| {
        let time = humantime::parse_duration(time).ok()?;
        Some(format!("{}ms", (time / faster).as_millis()))
    };
    let line = |line: &str| {
        if let Some(before) = TIMES.iter().find(|before| line.trim_start().starts_with(**before)) {
            let (head, time) = line.split_once(before).expect("it begins with it");
            return format!("{head}{before}{}", divided(time).unwrap_or_else(|| panic!("not a duration: {line}")));
        }
        let mut parts = line.split('[');
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push('[');
            match part.split_once(']').and_then(|(time, rest)| Some((divided(time)?, rest))) {
                Some((time, rest)) => text.push_str(&format!("{time}]{rest}")),
                None => text.push_str(part),
            }
        }
        text
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn only_durations_are_divided() {
    let text = "for: 1m\n  expr: a[5m] > 60 and b[1h]\nlist: [one, two]\n  group_wait: 15s\nrepeat_interval: 1h";
    let expected = "for: 6000ms\n  expr: a[30000ms] > 60 and b[360000ms]\nlist: [one, two]\n  group_wait: 1500ms\nrepeat_interval: 1h";
    assert_eq!(shortened(text, 10), expected);
    for file in ["alerts", "advice", "prometheus", "alertmanager"] {
        let text = read(&format!("monitoring/{file}.yml"));
        assert_ne!(shortened(&text, 10), text, "{file} has no duration");
        let again = shortened(&text, 1).replace("ms", "");
        assert_eq!(again.lines().count(), text.lines().count(), "{file}");
    }
}
