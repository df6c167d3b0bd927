//! Rebuilds the crate when a migration is added: the macro that embeds migrations does not notice new folders.
//!
//! Refuses an optimised build with fault injection, since a shop might run it. `cargo build --release --workspace`
//! enables fault injection by accident: cargo unites the features of all packages, including those of the fault runs.
//!
//! Records the commit in an optimised build. A development build has none: it would be recompiled after each commit,
//! and its sources are rarely those of one commit.

mod revision;

use std::{env, path::Path};

/// Set by scripts/faults.sh for its own build.
const WANTED: &str = "ORDERFLOW_FAULTS_BUILD";

/// These variables name the commit and its date if git is unavailable; the Dockerfile sets them.
const COMMIT: &str = "ORDERFLOW_REVISION";
const COMMIT_DATE: &str = "ORDERFLOW_REVISION_DATE";

/// The sources of the programs. A change to one of them recompiles the crate anyway, and the build may no longer match
/// a commit.
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

/// Returns the text that `--version` prints after the version number.
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
