//! Links between documents lead somewhere, and docs/README.md lists every document.

use std::{fs, path::Path};

use orderflow_tests::project::{anchor, root};

/// Returns the paths of all documents.
fn documents() -> Vec<String> {
    let entries = fs::read_dir(root().join("docs")).expect("there are documents").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.ends_with(".md"));
    let mut all: Vec<_> = names.map(|name| format!("docs/{name}")).collect();
    all.extend(["README.md", "CHANGELOG.md", "deploy/kubernetes/README.md"].map(str::to_owned));
    all
}

/// Returns the lines of a document outside fences.
fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    });
    outside.map(str::to_owned).collect()
}

/// Returns the targets of a document's links into the repository, pictures included.
fn links(path: &Path) -> Vec<String> {
    let prose = lines(path).join(" ");
    let without_code: String = prose.split('`').step_by(2).collect();
    let targets = without_code.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).filter(|target| !target.starts_with("http")).collect()
}

/// Returns the anchors of a document's headings, as GitHub generates them.
fn anchors(path: &Path) -> Vec<String> {
    let lines = lines(path);
    let headings = lines.iter().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(anchor).collect()
}

#[test]
fn every_link_leads_to_an_existing_file_and_section() {
    let mut found = 0;
    for path in documents() {
        let document = root().join(&path);
        let folder = document.parent().expect("a file is in a folder");
        for link in links(&document) {
            let (file, section) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() { document.clone() } else { folder.join(file) };
            assert!(target.exists(), "{path} links to {link}, which does not exist");
            let leads_there = section.is_empty() || anchors(&target).iter().any(|anchor| anchor == section);
            assert!(leads_there, "{path} links to {link}, which has no such section");
            found += 1;
        }
    }
    assert!(found > 100, "{found} links: this check searches for the wrong text");
}

#[test]
fn every_document_is_listed_once() {
    let listed = links(&root().join("docs/README.md"));
    for path in documents() {
        let Some(name) = path.strip_prefix("docs/").filter(|name| *name != "README.md") else { continue };
        let times = listed.iter().filter(|link| *link == name).count();
        assert_eq!(times, 1, "docs/README.md lists each document once: {name}");
    }
}
