//! The migrations are embedded into the programs when they are compiled, and the macro that does so is told of no folder
//! that appears: without this, a new migration would be in no program until something else is changed.
//!
//! An optimised build with faults on request is refused: it is what a shop would run. `cargo build --release --workspace`
//! asks for one without meaning it, since cargo unites the features of all packages, the fault runs' among them.

use std::env;

/// Set by scripts/faults.sh for its own build.
const WANTED: &str = "ORDERFLOW_FAULTS_BUILD";

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
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
}
