//! The results of several runs as tables.

use std::{collections::BTreeMap, fs, path::PathBuf, process::ExitCode};

use crate::campaign::Outcome;

/// The options of `table`.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Files that `run --results` wrote
    #[arg(required = true)]
    files: Vec<PathBuf>,
}

/// One kind of fault, over all runs.
#[derive(Debug, Default)]
struct Row {
    faults: u32,
    worst_seconds: f64,
}

/// Prints tables in Markdown: a line for each run, for each kind of fault, and for each kind of repetition.
pub fn run(options: &Options) -> ExitCode {
    let mut outcomes = Vec::new();
    for file in &options.files {
        let read = fs::read_to_string(file).map_err(|error| error.to_string());
        match read.and_then(|text| serde_json::from_str::<Vec<Outcome>>(&text).map_err(|error| error.to_string())) {
            Ok(some) => outcomes.extend(some),
            Err(error) => {
                eprintln!("orderflow-faults: {}: {error}", file.display());
                return ExitCode::from(3);
            }
        }
    }
    print(&outcomes);
    ExitCode::SUCCESS
}

fn print(outcomes: &[Outcome]) {
    println!(
        "| commit | RabbitMQ | nodes | PostgreSQL | seed | orders | unknown | faults | crashes | minutes | violations |"
    );
    println!("|---|---|---:|---|---:|---:|---:|---:|---:|---:|---:|");
    let mut kinds: BTreeMap<&str, Row> = BTreeMap::new();
    let mut absorbed: BTreeMap<&str, usize> = BTreeMap::new();
    for one in outcomes {
        let faults: u32 = one.faults.values().sum();
        println!(
            "| {} | {} | {} | {} | {} | {} | {} | {faults} | {} | {:.0} | {} |",
            one.made.commit.as_deref().unwrap_or_default(),
            one.made.rabbitmq,
            one.made.nodes,
            one.made.postgres,
            one.seed,
            one.orders,
            one.unknown,
            one.crashes,
            one.seconds / 60.0,
            one.violations.len(),
        );
        for (kind, faults) in &one.faults {
            let row = kinds.entry(kind).or_default();
            row.faults += faults;
            row.worst_seconds = row.worst_seconds.max(one.recovery_seconds.get(kind).copied().unwrap_or_default());
        }
        for (what, count) in &one.absorbed {
            *absorbed.entry(what).or_default() += count;
        }
    }
    let (orders, unknown): (usize, usize) =
        outcomes.iter().fold((0, 0), |(orders, unknown), one| (orders + one.orders, unknown + one.unknown));
    let faults: u32 = kinds.values().map(|row| row.faults).sum();
    println!("| all | | | | | {orders} | {unknown} | {faults} | | | |");
    println!("\n| fault | times | worst recovery, s |\n|---|---:|---:|");
    for (kind, row) in kinds {
        println!("| {kind} | {} | {:.0} |", row.faults, row.worst_seconds);
    }
    println!("\n| arrived twice, without effect the second time | times |\n|---|---:|");
    for (what, count) in absorbed {
        println!("| {what} | {count} |");
    }
}
