//! The dashboards are complete, and each of their panels shows data for a busy shop.

use std::{collections::BTreeSet, fs, time::Duration};

use orderflow_tests::{DECLINED, Shop, VISA, project::root, until_within};
use orderflow_worker::roster;
use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    alerts::address_in_log,
    dead_letters::{PAYMENT, STRANGER},
    monitoring::Monitoring,
};

/// The parts of a dashboard that we define.
#[derive(Debug, Deserialize)]
pub struct Dashboard {
    uid: String,
    title: String,
    description: String,
    panels: Vec<Panel>,
    templating: Templating,
    annotations: Templating,
}

#[derive(Debug, Deserialize)]
struct Templating {
    list: Vec<Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Panel {
    id: u32,
    title: String,
    description: String,
    datasource: Source,
    grid_pos: Place,
    targets: Vec<Target>,
    field_config: Value,
}

#[derive(Debug, Deserialize)]
struct Source {
    uid: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct Place {
    x: u32,
    y: u32,
    w: u32,
    h: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Target {
    expr: String,
    legend_format: String,
}

impl Dashboard {
    /// The data source of every panel.
    pub const SOURCE: &str = "prometheus";

    /// Returns each query with the title of its panel, with Grafana's variables filled in.
    pub fn queries(&self) -> Vec<(String, String)> {
        let of_panels = self
            .panels
            .iter()
            .flat_map(|panel| panel.targets.iter().map(|target| (panel.title.clone(), filled_in(&target.expr))));
        let marked = self.annotations.list.iter().filter_map(|one| one["expr"].as_str());
        let chosen = self.templating.list.iter().filter_map(|one| {
            let values = one["query"]["query"].as_str()?.strip_prefix("label_values(")?;
            values.split_once(',').map(|(series, _)| series)
        });
        let others = marked.chain(chosen).map(|query| ("its variables".to_owned(), query.to_owned()));
        of_panels.chain(others).collect()
    }
}

fn filled_in(query: &str) -> String {
    query.replace("$__rate_interval", "1m").replace("$queue", "payment.order-created")
}

/// Returns every dashboard with the name of its file.
pub fn all() -> Vec<(String, Dashboard)> {
    let folder = root().join("monitoring/grafana/dashboards");
    let files = fs::read_dir(folder).expect("the folder is there").flatten().map(|entry| entry.path());
    let all: Vec<_> = files
        .map(|path| {
            let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
            let text = fs::read_to_string(&path).expect("it can be read");
            let dashboard = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, dashboard)
        })
        .collect();
    assert_eq!(all.len(), 3);
    all
}

#[test]
fn dashboards_are_complete() {
    for (file, dashboard) in all() {
        assert_eq!(dashboard.uid, format!("orderflow-{file}"));
        assert!(!dashboard.title.is_empty() && !dashboard.description.is_empty(), "{file}");
        let ids: BTreeSet<_> = dashboard.panels.iter().map(|panel| panel.id).collect();
        assert_eq!(ids.len(), dashboard.panels.len(), "{file}: two panels have the same id");
        for (index, panel) in dashboard.panels.iter().enumerate() {
            let what = format!("{file}: {}", panel.title);
            assert!(!panel.title.is_empty() && panel.description.ends_with('.'), "{what} has no title or description");
            assert_eq!(panel.datasource.uid, Dashboard::SOURCE, "{what}");
            assert!(panel.field_config["defaults"]["unit"].is_string(), "{what} has no unit");
            assert!(panel.targets.iter().all(|target| !target.legend_format.is_empty()), "{what}: a line has no name");
            let (a, others) = (panel.grid_pos, &dashboard.panels[..index]);
            assert!(a.x + a.w <= 24 && a.w > 0 && a.h > 0, "{what} is wider than the page");
            let over = |b: Place| a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
            assert!(!others.iter().any(|other| over(other.grid_pos)), "{what} overlaps another");
        }
    }
}

/// Returns the labels that make up a line's name.
fn labels(legend: &str) -> Vec<String> {
    legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}")).map(|(label, _)| label.to_owned()).collect()
}

/// Returns why a line of a panel is empty or has an incomplete name.
async fn missing(monitoring: &Monitoring, target: &Target) -> Option<String> {
    let series = monitoring.query(&filled_in(&target.expr)).await;
    if series.is_empty() {
        return Some(format!("no data: {}", target.expr));
    }
    let hole =
        labels(&target.legend_format).into_iter().find(|label| series.iter().any(|(has, _)| has[label].is_null()));
    hole.map(|label| format!("{label} is not one of its labels: {}", target.expr))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "two minutes, with a Prometheus: only in the full suite"]
async fn every_panel_shows_data_for_a_busy_shop() {
    let mut shop = Shop::open().await;
    let web = shop.start_web().await;
    shop.start_worker(&[]).await;
    let addresses = (
        address_in_log(&mut shop.webs()[0], "answering operators").await,
        address_in_log(&mut shop.workers()[0], "worker started").await,
    );
    let monitoring = Monitoring::start(&shop, &[("web", &[addresses.0]), ("worker", &[addresses.1])], 10).await;
    let probe = shop.probe().await;
    let all = all();
    let targets = all.iter().flat_map(|(file, dashboard)| {
        dashboard
            .panels
            .iter()
            .flat_map(move |panel| panel.targets.iter().map(move |target| (file, &panel.title, target)))
    });
    let mut left: Vec<_> = targets.collect();
    assert!(left.len() > 50, "{}", left.len());
    let mut strangers = 0;
    // A rate needs several occurrences.
    until_within(Duration::from_secs(100), "every panel shows something", async || {
        web.orders(3, "MUG-BLUE", VISA).await;
        web.order("MUG-BLUE", 1, DECLINED).await;
        web.order("MUG-BLUE", 1, "pm_card_flaky").await;
        web.order("BATTERY-BULK", 1, VISA).await;
        web.send(Method::POST, "/orders", &[], None).await;
        probe.publish("", &PAYMENT.queue(), STRANGER).await;
        strangers += 1;
        let (mut still, mut why) = (Vec::new(), Vec::new());
        for (file, title, target) in left.drain(..) {
            if let Some(reason) = missing(&monitoring, target).await {
                why.push(format!("{file}, {title}: {reason}"));
                still.push((file, title, target));
            }
        }
        left = still;
        if why.is_empty() { Ok(()) } else { Err(why) }
    })
    .await;
    let advice = monitoring.query("orderflow:service_processes_needed >= 1").await;
    let advised: BTreeSet<_> = advice.iter().filter_map(|(labels, _)| labels["service"].as_str()).collect();
    assert_eq!(advised, roster().names().into_iter().collect(), "each service has its number of needed processes");
    let capacity = monitoring.query("orderflow:queue_process_capacity{queue=\"payment.order-created\"} > 0").await;
    assert_eq!(capacity.len(), 1, "a process that consumes the queue reports its capacity");
    probe.until_dead(PAYMENT, strangers).await;
    shop.until_settled().await;
    shop.close_with_dead_letters(&[(PAYMENT, strangers)]).await;
}
