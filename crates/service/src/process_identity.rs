//! How a process is named to people.

use std::sync::OnceLock;

static PROGRAM: OnceLock<String> = OnceLock::new();

/// Sets the name of this process's program, once: a later call changes nothing.
pub fn set_program(name: &str) {
    // A test may start several processes in one.
    let _ = PROGRAM.set(name.to_owned());
}

/// Returns the name of this process's program, `orderflow-worker` where it has set no other.
#[must_use]
pub fn program() -> &'static str {
    PROGRAM.get().map_or("orderflow-worker", String::as_str)
}

/// Returns which process on which host this is: `@host 4711`.
#[must_use]
pub fn place() -> String {
    let host = hostname::get().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned());
    format!("@{host} {}", std::process::id())
}
