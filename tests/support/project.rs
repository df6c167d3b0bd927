//! The project's own files, which tests compare with the programs.

use std::{fs, path::Path};

/// Returns the root of the project.
///
/// # Panics
/// Never: the tests are in the project.
#[must_use]
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests are in the project")
}

/// Returns the text of a file, by its path from the root.
///
/// # Panics
/// Panics if it cannot be read.
#[must_use]
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns a heading's anchor, as GitHub generates it.
#[must_use]
pub fn anchor(heading: &str) -> String {
    let heading = heading.to_lowercase();
    let kept = heading.chars().filter(|one| one.is_alphanumeric() || " -_".contains(*one));
    kept.map(|one| if one == ' ' { '-' } else { one }).collect()
}
