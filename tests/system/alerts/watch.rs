//! Who looks at alerts and mails all the time, and writes down when what came.

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

/// How exactly times are measured.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What became of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Became {
    Firing,
    Over,
    /// A mail said that it fires.
    Told,
    /// A mail said that it is over.
    ToldOver,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    became: Became,
    /// The alert, and the queue, provider or job that it is about.
    alert: String,
}

/// Looks at Prometheus and at the mails until it is dropped.
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

    /// When this first was so after that time.
    fn first(&self, became: Became, alert: &str, since: Instant) -> Option<Instant> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let found = |entry: &&Entry| entry.at >= since && entry.became == became && entry.alert == alert;
        log.iter().find(found).map(|entry| entry.at)
    }

    /// Waits until it is so, and says how long after that time it was.
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

/// What a mail says: a line `firing: QueueGrows email.order-created (ticket), since …` for each alert.
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

/// What was measured.
pub struct Run {
    watch: Watch,
    rows: Vec<Row>,
    /// For each wait.
    bound: Duration,
}

impl Run {
    pub fn new(watch: Watch, faster: u32) -> Self {
        // The longest is a window of five minutes and as long again; a threshold of a minute is not made shorter.
        Self { watch, rows: Vec::new(), bound: Duration::from_secs(120) + Duration::from_secs(720) / faster }
    }

    /// Waits until these fire, and a mail has said so.
    pub async fn fires(&mut self, fault: &'static str, alerts: &[&str], broken: Instant) {
        for alert in alerts {
            let fires = self.watch.until(self.bound, Became::Firing, alert, broken).await;
            let told = Some(self.watch.until(self.bound, Became::Told, alert, broken).await);
            self.rows.push(Row { fault, alert: (*alert).to_owned(), fires, told, over: None });
        }
    }

    /// Waits until these fire, of which no mail is sent: they only follow from something that was told.
    pub async fn fires_untold(&mut self, fault: &'static str, alerts: &[&str], broken: Instant) {
        for alert in alerts {
            let fires = self.watch.until(self.bound, Became::Firing, alert, broken).await;
            self.rows.push(Row { fault, alert: (*alert).to_owned(), fires, told: None, over: None });
        }
        for alert in alerts {
            assert_eq!(self.watch.first(Became::Told, alert, broken), None, "{alert} is inhibited");
        }
    }

    /// Waits until these are over, and, of those that were told of, a mail has said so.
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

    /// The table, as docs/ALERTS.md has it.
    pub fn print(&self) {
        println!("\n| fault | alert | fires after | a mail after | over, once mended, after |\n|---|---|---|---|---|");
        for row in &self.rows {
            let seconds = |time: Duration| format!("{:.0} s", time.as_secs_f64());
            let told = row.told.map_or_else(|| "none, it only follows".to_owned(), seconds);
            let over = row.over.map_or_else(|| "?".to_owned(), seconds);
            println!("| {} | `{}` | {} | {told} | {over} |", row.fault, row.alert, seconds(row.fires));
        }
    }
}
