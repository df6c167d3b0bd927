//! Names that come from the database and live as long as the process, so that a `Subscription` stays a small value that is
//! copied.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use crate::store::registered::{MOST_EVENTS, MOST_SERVICES};

/// Different names that a process keeps: a service's own and its events', twice what can be registered at once.
const MOST_NAMES: usize = 2 * MOST_SERVICES * (1 + 2 * MOST_EVENTS);

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Returns this name for the life of the process, each name once; `None` where the process has as many as it can keep.
pub fn interned(name: &str) -> Option<&'static str> {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return Some(known);
    }
    if names.len() >= MOST_NAMES {
        return None;
    }
    let kept: &'static str = Box::leak(name.to_owned().into_boxed_str());
    names.insert(kept);
    Some(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_kept_once() {
        let first = interned("loyalty").expect("there is room");
        assert!(std::ptr::eq(first, interned(&String::from("loyalty")).expect("there is room")));
    }
}
