//! The limit on open files and connections of the process: each watcher of an order takes one while it watches.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard limit. The default, mostly 1,024, is meant for programs that use `select`, which
/// we do not. Returns the limit in force, or `None` if it is unknown.
fn raise() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

/// Returns the requested number of watchers, but at most half of the limit: orders need connections too.
pub fn bounded(asked: usize) -> usize {
    let half = raise().map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX));
    if half < asked {
        tracing::warn!(
            asked,
            watchers = half,
            "LIVE_WATCHERS exceeds half of this process's open-file limit; allowing only that half"
        );
    }
    asked.min(half)
}
