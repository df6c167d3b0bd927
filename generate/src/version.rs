//! The workspace's version, in files that must name it.

use orderflow_service::{Roster, version::VERSION};

/// Returns the Dockerfile's argument for the image's label.
pub fn argument(_: &Roster, _: &str) -> String {
    format!("ARG VERSION={VERSION}\n")
}

/// Returns the image tag that the manifests run.
pub fn tag(_: &Roster, _: &str) -> String {
    format!("newTag: \"{VERSION}\"\n")
}
