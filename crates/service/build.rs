//! The migrations are embedded into the programs when they are compiled, and the macro that does so is told of no folder
//! that appears: without this, a new migration would be in no program until something else is changed.
//!
//! An optimised build with faults on request is refused: it is what a shop would run. `cargo build --release --workspace`
//! asks for one without meaning it, since cargo unites the features of all packages, the fault runs' among them.
//!
//! An optimised build says which commit it is of. A build for development does not: it would be compiled anew after each commit, and
//! is seldom of one commit alone.

mod revision;

use std::{env, path::Path};

/// Set by scripts/faults.sh for its own build.
const WANTED: &str = "ORDERFLOW_FAULTS_BUILD";

/// Name the commit and its date where git cannot be asked: the Dockerfile sets them.
const COMMIT: &str = "ORDERFLOW_REVISION";
const COMMIT_DATE: &str = "ORDERFLOW_REVISION_DATE";

/// What a program is made of. Where one of these changes, it may be of no commit any more, and is compiled anew in any case.
const SOURCES: [&str; 8] =
    ["Cargo.lock", "Cargo.toml", "assets", "crates", "migrations", "src", "templates", "workers"];

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
    println!("cargo::rerun-if-changed=revision.rs");
    println!("cargo::rerun-if-env-changed={WANTED}");
    let has_faults = env::var_os("CARGO_FEATURE_FAULT_INJECTION").is_some();
    // Also in profiles that inherit from it.
    let is_optimised = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    if has_faults && is_optimised && env::var_os(WANTED).is_none() {
        println!(
            "cargo::error=the feature fault-injection is not for production: build what ships with `cargo build --release`, \
             without --workspace; for fault runs use `make faults PROFILE=faults`"
        );
    }
    println!("cargo::rustc-env=ORDERFLOW_BUILD={}", build(is_optimised));
}

/// What `--version` says behind the number.
fn build(is_optimised: bool) -> String {
    println!("cargo::rerun-if-env-changed={COMMIT}");
    println!("cargo::rerun-if-env-changed={COMMIT_DATE}");
    let named = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(commit) = named(COMMIT) {
        let text = revision::described(&commit, &named(COMMIT_DATE).unwrap_or_default());
        return text.unwrap_or_else(|| {
            println!(
                "cargo::error={COMMIT} and {COMMIT_DATE} are a commit and a date, such as 4f3c2a1b9d0e and 2026-11-29"
            );
            String::new()
        });
    }
    if !is_optimised {
        return "development build".to_owned();
    }
    let Some(revision) = revision::of(Path::new("../..")) else { return "unknown commit".to_owned() };
    for path in revision.watched.iter().map(|path| path.display().to_string()) {
        println!("cargo::rerun-if-changed={path}");
    }
    for path in SOURCES {
        println!("cargo::rerun-if-changed=../../{path}");
    }
    revision.text
}
