//! Interns names from the database for the life of the process, so that a `Subscription` stays a small value that can
//! be copied.

use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

use crate::store::registered::{MOST_EVENTS, MOST_SERVICES};

/// The most names that a process keeps: those of services and their events, twice as many as can be registered
/// together.
const MOST_NAMES: usize = 2 * MOST_SERVICES * (1 + 2 * MOST_EVENTS);

static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// Returns this name for the life of the process, storing each name once. Returns `None` if the process already keeps
/// the most names that it may.
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
