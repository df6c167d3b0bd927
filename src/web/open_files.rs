//! How many files and connections the process may have open: each watcher of an order is one, for as long as it watches.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// As many as the system lets us have at all. What a shell or a service manager gives by default, 1,024 mostly, is meant
/// for programs that use `select`, which we do not. Returns the limit that holds now; `None` where it cannot be known.
fn raise() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => Some(hard),
        Err(_) => Some(soft),
    }
}

/// As many watchers as were asked for, but at most half of what may be open: orders need connections too.
pub fn bounded(asked: usize) -> usize {
    let half = raise().map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX));
    if half < asked {
        tracing::warn!(
            asked,
            watchers = half,
            "LIVE_WATCHERS is more than half of the open files that this process may have"
        );
    }
    asked.min(half)
}
