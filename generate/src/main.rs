//! `orderflow-generate write` updates the generated files; `check` names those that are out of date.

use std::{env, path::Path, process::ExitCode};

use orderflow_generate::{GenerateError, outdated, write};
use orderflow_worker::roster;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command for the terminal")]
fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done: Result<_, GenerateError> = match env::args().nth(1).as_deref() {
        Some("write") => write(&root, roster()).map(|written| {
            written.iter().for_each(|path| println!("written: {path}"));
            ExitCode::SUCCESS
        }),
        Some("check") => outdated(&root, roster()).map(|paths| {
            paths.iter().for_each(|path| eprintln!("{path} is out of date: run `make generate`"));
            if paths.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }),
        _ => {
            eprintln!("usage: orderflow-generate write|check");
            return ExitCode::from(2);
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}
