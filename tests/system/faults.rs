//! The fault runs themselves, a small one: it finds nothing wrong, and it does find what is made wrong.

use orderflow_tests::run_for;
use serde_json::Value;

/// What breaks in a run of ten seconds, on which everything recovers within moments.
const FAULTS: &str = "provider-error-after,duplicate,kill";

#[tokio::test]
async fn a_run_with_faults_finds_nothing_wrong_and_one_without_a_safeguard_does() {
    let results = tempfile::NamedTempFile::new().expect("a file");
    let path = results.path().to_str().expect("a path of text");
    let arguments = ["run", "--seed", "4", "--seconds", "10", "--rate", "8", "--faults", FAULTS, "--results", path];
    let without = ["--without", "nothing", "--without", "inbox", "--without", "idempotency-key"];
    let bound = std::time::Duration::from_secs(220);
    let ended = run_for(bound, "orderflow-faults", &[&arguments[..], &without[..]].concat(), &[]).await;
    println!("{}", ended.out);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    let outcomes: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("results")).expect("JSON");
    let violations = |run: usize| outcomes[run]["violations"].as_array().expect("violations").clone();
    assert_eq!(violations(0), Vec::<Value>::new(), "with every safeguard");
    assert!(outcomes[0]["orders"].as_u64() > Some(100), "{:?}", outcomes[0]);
    assert!(outcomes[0]["faults"].as_object().is_some_and(|faults| !faults.is_empty()));
    for (run, what) in [(1, "applied twice"), (2, "charged more than once")] {
        let found = violations(run).iter().any(|one| one.as_str().is_some_and(|one| one.contains(what)));
        assert!(found, "{:?}", outcomes[run]);
    }
}

/// Safeguards, each with a word of what is found without it. Twenty seconds of faults show it, or it is not looked for.
const SAFEGUARDS: [&str; 8] = [
    "confirm",
    "mark-after-confirm",
    "outbox",
    "ack-after-commit",
    "inbox",
    "idempotency-key",
    "stock-lock",
    "tombstone",
];

#[tokio::test]
#[ignore = "eight runs of a minute: for the long run"]
async fn every_missing_safeguard_is_found() {
    let results = tempfile::NamedTempFile::new().expect("a file");
    let path = results.path().to_str().expect("a path of text");
    let mut arguments = vec!["run", "--seed", "3", "--seconds", "20", "--rate", "8", "--results", path];
    arguments.extend(SAFEGUARDS.iter().flat_map(|safeguard| ["--without", safeguard]));
    let bound = std::time::Duration::from_secs(1_100);
    let ended = run_for(bound, "orderflow-faults", &arguments, &[]).await;
    println!("{}", ended.out);
    let outcomes: Vec<Value> = serde_json::from_slice(&std::fs::read(path).expect("results")).expect("JSON");
    let found = |outcome: &Value| outcome["violations"].as_array().is_some_and(|found| !found.is_empty());
    let missed: Vec<_> = outcomes.iter().filter(|outcome| !found(outcome)).map(|outcome| &outcome["without"]).collect();
    assert!(missed.is_empty() && outcomes.len() == SAFEGUARDS.len(), "nothing is found without {missed:?}");
}
