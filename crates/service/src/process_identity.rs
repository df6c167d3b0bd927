//! How a process is named to people.

/// Returns which process on which host this is: `@host 4711`.
#[must_use]
pub fn place() -> String {
    let host = hostname::get().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned());
    format!("@{host} {}", std::process::id())
}
