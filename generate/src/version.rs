//! The version of the workspace, where files of others have to name it.

use orderflow_service::{Roster, version::VERSION};

/// What the image's label says.
pub fn argument(_: &Roster, _: &str) -> String {
    format!("ARG VERSION={VERSION}\n")
}

/// The image that the manifests run.
pub fn tag(_: &Roster, _: &str) -> String {
    format!("newTag: \"{VERSION}\"\n")
}
