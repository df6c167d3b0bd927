//! Runs the fault runner itself on a small scale: it finds no violations, and finds each one that a test causes.

use std::time::Duration;

use orderflow_service::fault::Safeguard;
use orderflow_tests::run_for;
use serde_json::Value;

/// Faults for a run of ten seconds: everything recovers from these within moments.
const FAULTS: &str = "provider-error-after,duplicate,kill";

/// Returns the results of a run that must end with this exit status.
async fn ended(within: Duration, arguments: &[&str], code: i32) -> Value {
    let results = tempfile::NamedTempFile::new().expect("a file");
    let path = results.path().to_str().expect("a UTF-8 path");
    let ended = run_for(within, "orderflow-faults", &[arguments, &["--results", path]].concat(), &[]).await;
    println!("{} {}", ended.out, ended.err);
    assert_eq!(ended.code, Some(code), "the exit status reports whether the run found something");
    serde_json::from_slice(&std::fs::read(path).expect("results")).expect("JSON")
}

/// Returns one outcome for each of these safeguards left out.
async fn outcomes(within: Duration, options: &[&str], without: &[&str]) -> Vec<Value> {
    let mut arguments = [&["run", "--rate", "8"][..], options].concat();
    arguments.extend(without.iter().flat_map(|safeguard| ["--without", safeguard]));
    serde_json::from_value(ended(within, &arguments, 1).await).expect("a list")
}

fn violations(outcome: &Value) -> &[Value] {
    outcome["violations"].as_array().expect("a list")
}

#[tokio::test]
async fn run_finds_violations_only_without_a_safeguard() {
    let options = ["--seed", "4", "--seconds", "10", "--faults", FAULTS];
    let outcomes = outcomes(Duration::from_secs(400), &options, &["nothing", "inbox"]).await;
    assert_eq!(violations(&outcomes[0]), [Value::Null; 0], "with every safeguard");
    // The run tries eight orders a second. How many are accepted depends on how soon killed processes restart.
    assert!(outcomes[0]["orders"].as_u64() > Some(50), "{:?}", outcomes[0]);
    assert!(outcomes[0]["faults"].as_object().is_some_and(|faults| !faults.is_empty()));
    let found = violations(&outcomes[1]).iter().filter_map(Value::as_str).any(|one| one.contains("applied twice"));
    assert!(found, "{:?}", outcomes[1]);
}

/// The last process of a service, and the last front end, die between commit and confirm. Each stays down for longer
/// than the grace period after which a relay leases an outbox row.
#[tokio::test]
#[ignore = "two runs of a minute each: only in the full suite"]
async fn absent_components_block_no_others_and_lose_nothing() {
    let faults = "only-worker-away,only-front-end-away";
    let options = ["--seed", "2", "--seconds", "40", "--faults", faults, "--away", "15s"];
    let outcomes = outcomes(Duration::from_secs(600), &options, &["nothing", "outbox"]).await;
    assert_eq!(violations(&outcomes[0]), [Value::Null; 0], "with every safeguard");
    for kind in faults.split(',') {
        assert!(outcomes[0]["faults"][kind].as_u64() >= Some(1), "{:?}", outcomes[0]);
    }
    let found = violations(&outcomes[1]).iter().filter_map(Value::as_str).any(|one| one.starts_with("not quiet after"));
    assert!(found, "{:?}", outcomes[1]);
}

#[tokio::test]
async fn absence_longer_than_the_run_is_refused() {
    let arguments = ["run", "--seconds", "60", "--faults", "only-worker-away"];
    let refused = run_for(Duration::from_secs(10), "orderflow-faults", &arguments, &[]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("only-worker-away with --away 1200s need 1200 s"), "{refused:?}");
}

#[tokio::test]
#[ignore = "nine runs of a minute each: only in the full suite"]
async fn every_missing_safeguard_is_detected() {
    let all: Vec<_> = Safeguard::ALL.iter().map(|one| one.as_str()).collect();
    let outcomes = outcomes(Duration::from_secs(1_100), &["--seed", "3", "--seconds", "20"], &all).await;
    let missed = outcomes.iter().filter(|one| violations(one).is_empty()).map(|one| &one["without"]);
    assert_eq!(missed.collect::<Vec<_>>(), [&Value::Null; 0], "runs without these safeguards found no violation");
    assert_eq!(outcomes.len(), all.len());
}

#[tokio::test]
#[ignore = "thousands of orders wait and are then processed: only in the full suite"]
async fn waiting_orders_are_bounded_and_then_processed() {
    let outcome = ended(Duration::from_secs(600), &["bounds", "--orders", "3000"], 0).await;
    assert!(outcome["accepted"].as_u64() >= Some(2_700), "{outcome:?}");
}
