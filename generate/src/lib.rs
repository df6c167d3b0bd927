//! Generates the files that follow from the list of services (documents, and files for programs that do not know the
//! list), and the documents of all settings and commands.

mod asyncapi;
mod commands;
mod compose;
mod documents;
mod error;
mod kubernetes;
mod markdown;
mod region;
mod scripts;
mod settings;
mod version;

use std::{fs, path::Path};

use orderflow::ops::topology;
use orderflow_service::{Roster, config::Source};

pub use crate::error::GenerateError;
use crate::region::with_region;

/// The required content of a file.
struct Generated {
    /// Its path from the root of the repository.
    path: String,
    text: String,
}

/// Writes the files that are out of date below `root`, and returns their paths.
///
/// # Errors
/// See [`GenerateError`].
pub fn write(root: &Path, roster: &Roster) -> Result<Vec<String>, GenerateError> {
    let stale = stale(root, roster)?;
    for Generated { path, text } in &stale {
        fs::write(root.join(path), text).map_err(|source| GenerateError::File { path: path.clone(), source })?;
    }
    Ok(paths(stale))
}

/// Returns the paths of the files below `root` that are out of date.
///
/// # Errors
/// See [`GenerateError`].
pub fn outdated(root: &Path, roster: &Roster) -> Result<Vec<String>, GenerateError> {
    stale(root, roster).map(paths)
}

fn paths(files: Vec<Generated>) -> Vec<String> {
    files.into_iter().map(|file| file.path).collect()
}

fn stale(root: &Path, roster: &Roster) -> Result<Vec<Generated>, GenerateError> {
    roster.check()?;
    let differs = |file: &Generated| fs::read_to_string(root.join(&file.path)).ok().as_ref() != Some(&file.text);
    Ok(all(root, roster)?.into_iter().filter(differs).collect())
}

/// Returns the text between the marks of a file, from the services and the present file.
type Region = fn(&Roster, &str) -> String;

/// Files with generated regions, and the names of these regions.
const REGIONS: [(&str, &str, Region); 11] = [
    ("Dockerfile", "version", version::argument),
    ("docker-compose.yml", "passwords", compose::passwords),
    ("docker-compose.yml", "services", compose::services),
    ("scripts/lib.sh", "services", scripts::services),
    ("monitoring/prometheus.yml", "services", compose::targets),
    ("docs/INSTALLING.md", "services", documents::names),
    ("docs/RUNBOOK.md", "services", documents::stop),
    ("docs/EVENTS.md", "services", documents::events),
    ("deploy/kubernetes/README.md", "services", documents::names),
    ("deploy/kubernetes/base/settings.yaml", "services", kubernetes::settings),
    ("deploy/kubernetes/base/kustomization.yaml", "version", version::tag),
];

fn all(root: &Path, roster: &Roster) -> Result<Vec<Generated>, GenerateError> {
    let mut files = vec![Generated { path: "rabbitmq/definitions.json".to_owned(), text: definitions()? }];
    for (path, name, region) in REGIONS {
        // Start from the file as the previous region left it.
        let begun = files.iter().position(|file| file.path == path);
        let text = match begun {
            Some(place) => files.remove(place).text,
            None => fs::read_to_string(root.join(path))
                .map_err(|source| GenerateError::File { path: path.to_owned(), source })?,
        };
        let text = with_region(path, name, &text, &region(roster, &text))?;
        files.push(Generated { path: path.to_owned(), text });
    }
    files.extend(asyncapi::files(root)?);
    for (name, text) in [("SETTINGS", settings::document()), ("COMMANDS", commands::document())] {
        files.push(Generated { path: format!("docs/{name}.md"), text });
    }
    for (part, text) in [("base", kubernetes::workers(roster)), ("scaling", kubernetes::scaling(roster))] {
        files.push(Generated { path: format!("deploy/kubernetes/{part}/workers.yaml"), text });
    }
    Ok(files)
}

fn definitions() -> Result<String, GenerateError> {
    let mut file = Vec::new();
    let failed = |error: &dyn ToString| GenerateError::Definitions(error.to_string());
    topology::export(&Source::default(), &mut file).map_err(|error| failed(&error))?;
    String::from_utf8(file).map_err(|error| failed(&error))
}
