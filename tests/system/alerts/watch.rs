//! A watcher that polls alerts and mails, and records when each one changes.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use orderflow_tests::until_within;
use serde_json::Value;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval},
};

use crate::monitoring::Monitoring;

/// The polling interval, which limits the precision of the measured times.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A change of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    Firing,
    Over,
    /// A mail reported that it fires.
    Told,
    /// A mail reported that it is resolved.
    ToldOver,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    became: Became,
    /// The alert, and the queue, provider or job that it concerns.
    alert: String,
}

/// Polls Prometheus and the mails until it is dropped.
pub struct Watch {
    log: Arc<Mutex<Vec<Entry>>>,
    task: JoinHandle<()>,
}

impl Watch {
    pub fn start(monitoring: Arc<Monitoring>) -> Self {
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut ticks = interval(LOOK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut firing, mut mails) = (BTreeSet::new(), 0);
            loop {
                ticks.tick().await;
                let now: BTreeSet<_> = monitoring.firing().await.iter().map(name).collect();
                let began = now.difference(&firing).map(|alert| (Became::Firing, alert.clone()));
                let ended = firing.difference(&now).map(|alert| (Became::Over, alert.clone()));
                let mut seen: Vec<_> = began.chain(ended).collect();
                let all = monitoring.mails.mails();
                seen.extend(all.iter().skip(mails).flat_map(|mail| told(mail)));
                (firing, mails) = (now, all.len());
                let at = Instant::now();
                let entries = seen.into_iter().map(|(became, alert)| {
                    println!("{became:?} {alert}");
                    Entry { at, became, alert }
                });
                written.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
            }
        });
        Self { log, task }
    }

    /// Returns the time of the first such change after `since`.
    fn first(&self, became: Became, alert: &str, since: Instant) -> Option<Instant> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let found = |entry: &&Entry| entry.at >= since && entry.became == became && entry.alert == alert;
        log.iter().find(found).map(|entry| entry.at)
    }

    /// Waits until this change, and returns the time from `since` to it.
    async fn until(&self, bound: Duration, became: Became, alert: &str, since: Instant) -> Duration {
        let mut found = None;
        until_within(bound, &format!("{alert} is {became:?}"), async || {
            found = self.first(became, alert, since);
            found.map(drop).ok_or("not yet")
        })
        .await;
        found.expect("the wait ends when it is found") - since
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn name(labels: &Value) -> String {
    let text = |label: &str| labels[label].as_str();
    let about = ["queue", "provider", "job"].iter().find_map(|label| text(label));
    [text("alertname"), about].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Parses a mail: a line `firing: QueueGrows email.order-created (ticket), since …` for each alert.
fn told(mail: &[u8]) -> Vec<(Became, String)> {
    let mail = mailparse::parse_mail(mail).expect("it is a mail");
    let parts = mail.parts().filter(|part| part.ctype.mimetype == "text/plain");
    let text: String = parts.map(|part| part.get_body().expect("it has a text")).collect();
    let line = |line: &str| {
        let (status, rest) = line.split_once(": ")?;
        let became = match status {
            "firing" => Became::Told,
            "resolved" => Became::ToldOver,
            _ => return None,
        };
        Some((became, rest.split_once(" (")?.0.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// One line of the table.
struct Row {
    fault: &'static str,
    alert: String,
    fires: Duration,
    told: Option<Duration>,
    over: Option<Duration>,
}

/// The measurements of a run.
pub struct Run {
    watch: Watch,
    rows: Vec<Row>,
    /// The time-out of each wait.
    bound: Duration,
}

impl Run {
    pub fn new(watch: Watch, faster: u32) -> Self {
        // The longest wait is a window of five minutes and as long again; thresholds of a minute are not shortened.
        Self { watch, rows: Vec::new(), bound: Duration::from_secs(120) + Duration::from_secs(720) / faster }
    }

    /// Waits until these alerts fire and a mail has reported them.
    pub async fn fires(&mut self, fault: &'static str, alerts: &[&str], broken: Instant) {
        for alert in alerts {
            let fires = self.watch.until(self.bound, Became::Firing, alert, broken).await;
            let told = Some(self.watch.until(self.bound, Became::Told, alert, broken).await);
            self.rows.push(Row { fault, alert: (*alert).to_owned(), fires, told, over: None });
        }
    }

    /// Waits until these alerts fire without a mail: another alert, which a mail has reported, inhibits them.
    pub async fn fires_untold(&mut self, fault: &'static str, alerts: &[&str], broken: Instant) {
        for alert in alerts {
            let fires = self.watch.until(self.bound, Became::Firing, alert, broken).await;
            self.rows.push(Row { fault, alert: (*alert).to_owned(), fires, told: None, over: None });
        }
        for alert in alerts {
            assert_eq!(self.watch.first(Became::Told, alert, broken), None, "{alert} is inhibited");
        }
    }

    /// Waits until these alerts are resolved, and a mail has reported it for those that a mail reported before.
    pub async fn ends(&mut self, fault: &'static str, alerts: &[&str], mended: Instant) {
        for alert in alerts {
            let over = self.watch.until(self.bound, Became::Over, alert, mended).await;
            let row = self.rows.iter_mut().find(|row| row.fault == fault && row.alert == *alert).expect("it fired");
            row.over = Some(over);
            if row.told.is_some() {
                self.watch.until(self.bound, Became::ToldOver, alert, mended).await;
            }
        }
    }

    /// Prints the table of docs/ALERTS.md.
    pub fn print(&self) {
        println!("\n| fault | alert | fires after | a mail after | resolved after the fix |\n|---|---|---|---|---|");
        for row in &self.rows {
            let seconds = |time: Duration| format!("{:.0} s", time.as_secs_f64());
            let told = row.told.map_or_else(|| "none (inhibited)".to_owned(), seconds);
            let over = row.over.map_or_else(|| "?".to_owned(), seconds);
            println!("| {} | `{}` | {} | {told} | {over} |", row.fault, row.alert, seconds(row.fires));
        }
    }
}
