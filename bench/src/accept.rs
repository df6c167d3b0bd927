//! Measures how many orders per second our front end accepts over HTTP, and how many PostgreSQL alone can store.

use std::{path::Path, process::Stdio};

use orderflow_tests::{Shop, VISA, body};
use tokio::process::Command;

use crate::observe::QUIET;

/// The number of concurrent clients in both measurements.
const CLIENTS: &str = "64";

/// The rows of one order, which `accept.sql` copies. The front end may already have published that order's event and
/// deleted its outbox row, so the outbox row is made from the event log.
const PATTERN: [&str; 6] = [
    "CREATE SCHEMA bench",
    "CREATE TABLE bench.orders AS SELECT * FROM orders.orders",
    "CREATE TABLE bench.items AS SELECT * FROM orders.items",
    "CREATE TABLE bench.idempotency_keys AS SELECT * FROM orders.idempotency_keys",
    "CREATE TABLE bench.event_log AS SELECT * FROM messaging.event_log",
    "CREATE TABLE bench.outbox AS SELECT event, source, correlation_id, jsonb_pretty(data) AS body FROM messaging.event_log",
];

/// Returns the orders per second that one front end accepts from 64 clients over HTTP, including their publication to
/// RabbitMQ. No worker runs. Prints why and returns `None` if wrk is missing or a request is not answered with 202.
pub async fn over_http(seconds: u32) -> Option<f64> {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&QUIET).await;
    let (script, duration) = (path("accept.lua"), format!("{seconds}s"));
    let order = body("MUG-BLUE", 1, VISA).to_string();
    let arguments = ["-t", "2", "-c", CLIENTS, "-d", &duration, "-s", &script, &web.root, "--", &order];
    let report = run("wrk", &arguments).await;
    drop(shop);
    let report = report?;
    if report.contains("Non-2xx") || report.contains("Socket errors") {
        println!("  accept is left out: {report}");
        return None;
    }
    after(&report, "Requests/sec:")
}

/// Returns the transactions per second that pgbench commits with 64 clients. Each transaction writes the rows of one
/// accepted order with one prepared statement. Prints why and returns `None` if pgbench is missing or fails.
pub async fn by_postgres_alone(seconds: u32) -> Option<f64> {
    let mut shop = Shop::open().await;
    let web = shop.start_web_with(&QUIET).await;
    web.order("MUG-BLUE", 1, VISA).await;
    for statement in PATTERN {
        shop.execute(statement).await;
    }
    let (script, url, duration) = (path("accept.sql"), shop.database_url().to_string(), seconds.to_string());
    let arguments = ["-n", "-M", "prepared", "-c", CLIENTS, "-j", "2", "-T", &duration, "-f", &script, &url];
    let report = run("pgbench", &arguments).await;
    drop(shop);
    after(&report?, "tps =")
}

fn path(script: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(script).display().to_string()
}

async fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let done = Command::new(program).args(arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output().await;
    match done {
        Ok(output) if output.status.success() => Some(String::from_utf8_lossy(&output.stdout).into_owned()),
        Ok(output) => {
            println!("  {program} is left out: it ended with {}", output.status);
            None
        }
        Err(error) => {
            println!("  {program} is left out: {error}");
            None
        }
    }
}

/// Returns the number that follows this word.
fn after(report: &str, word: &str) -> Option<f64> {
    report.split_once(word)?.1.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_read_from_both_reports() {
        assert_eq!(after("Transfer/sec: 1MB\nRequests/sec:   5300.25\n", "Requests/sec:"), Some(5300.25));
        let report = "number of clients: 64\ntps = 12700.5 (without initial connection time)\n";
        assert_eq!(after(report, "tps ="), Some(12700.5));
    }
}
