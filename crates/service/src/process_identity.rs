//! The names of a process in logs, connections and traces.

use std::sync::OnceLock;

static PROGRAM: OnceLock<String> = OnceLock::new();

/// Sets the name of this process's program. Later calls have no effect.
pub fn set_program(name: &str) {
    // A test may run several workers in one process.
    let _ = PROGRAM.set(name.to_owned());
}

/// Returns the name of this process's program: `orderflow-worker` unless another was set.
#[must_use]
pub fn program() -> &'static str {
    PROGRAM.get().map_or("orderflow-worker", String::as_str)
}

/// Returns the host and the process id, as in `@host 4711`.
#[must_use]
pub fn place() -> String {
    let host = hostname::get().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned());
    format!("@{host} {}", std::process::id())
}
