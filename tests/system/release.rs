//! The version, which must be the same everywhere, and the commit that a program is built from.

use std::{fs, path::Path, process::Command};

use orderflow_service::version::{DESCRIPTION, VERSION};
use orderflow_tests::{project::read, run};
use tempfile::TempDir;

/// A module of the build script, which is in no crate.
#[path = "../../crates/service/revision.rs"]
mod revision;

/// Returns the newest version in CHANGELOG.md, with its day.
fn newest() -> (String, String) {
    let changes = read("CHANGELOG.md");
    let heading = changes.lines().find_map(|line| line.strip_prefix("## [")?.split_once("] - "));
    let (version, day) = heading.expect("CHANGELOG.md has a version");
    (version.to_owned(), day.to_owned())
}

/// Returns the numbers of a version such as `0.2.0`, or `None` if the text is invalid.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let numbers: Option<Vec<u32>> = version.split('.').map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}

#[test]
fn change_log_lists_this_version_first_and_all_in_order() {
    let changes = read("CHANGELOG.md");
    assert!(changes.contains("\n## [Unreleased]\n"));
    let versions: Vec<&str> = changes
        .lines()
        .filter_map(|line| line.strip_prefix("## [")?.split(']').next())
        .filter(|version| *version != "Unreleased")
        .collect();
    let read: Option<Vec<_>> = versions.iter().map(|version| numbers(version)).collect();
    let read = read.unwrap_or_else(|| panic!("{versions:?}"));
    assert!(read.is_sorted_by(|newer, older| newer > older), "{versions:?}");
    let (version, day) = newest();
    assert_eq!(version, VERSION);
    assert!(chrono::NaiveDate::parse_from_str(&day, "%Y-%m-%d").is_ok(), "{day}");
    // The groups of Keep a Changelog.
    let groups = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    for group in changes.lines().filter_map(|line| line.strip_prefix("### ")) {
        assert!(groups.contains(&group), "{group}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_print_their_version_and_what_they_were_built_from() {
    // The tests' programs are development builds.
    assert_eq!(DESCRIPTION, format!("{VERSION} (development build)"));
    for program in ["orderflow", "orderflow-worker"] {
        for flag in ["--version", "-V"] {
            let shown = run(program, &[flag], &[]).await;
            assert_eq!((shown.code, shown.out), (Some(0), format!("{program} {DESCRIPTION}\n")), "{program} {flag}");
        }
    }
}

/// Runs git in a time zone where the local day differs from the day in UTC.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.arg("-C").arg(folder).args(["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]).args(arguments);
    // A git hook sets these for the repository that it runs in.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command.env("GIT_COMMITTER_DATE", "2026-11-30T01:30:00+09:00").env("TZ", "Asia/Tokyo");
    let ended = command.output().expect("git can be run");
    assert!(ended.status.success(), "{arguments:?}: {ended:?}");
    String::from_utf8(ended.stdout).expect("text").trim().to_owned()
}

/// Creates a repository with one commit.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    git(folder.path(), &["init", "--quiet"]);
    fs::write(folder.path().join("Cargo.toml"), "[package]\n").expect("it can be written");
    git(folder.path(), &["add", "Cargo.toml"]);
    git(folder.path(), &["commit", "--quiet", "--message", "First"]);
    folder
}

#[test]
fn build_names_the_checked_out_commit_and_its_day_in_utc() {
    let folder = repository();
    let commit = git(folder.path(), &["rev-parse", "--short=12", "HEAD"]);
    let found = revision::of(folder.path()).expect("it is a repository");
    assert_eq!(found.text, format!("{commit} 2026-11-29"), "the day in UTC, not in Tokyo");
    // An untracked file is in no commit and in no program.
    fs::write(folder.path().join("notes"), "").expect("it can be written");
    assert_eq!(revision::of(folder.path()), Some(found));
    fs::write(folder.path().join("Cargo.toml"), "[workspace]\n").expect("it can be written");
    let changed = revision::of(folder.path()).expect("it is a repository");
    assert_eq!(changed.text, format!("{commit}-modified 2026-11-29"));
}

/// Otherwise a program would name the previous commit.
#[test]
fn the_next_commit_changes_a_file_that_the_build_watches() {
    let folder = repository();
    let state = || -> Vec<String> {
        let watched = revision::of(folder.path()).expect("it is a repository").watched;
        watched.iter().map(|path| fs::read_to_string(path).expect("it is there")).collect()
    };
    let before = state();
    assert!(!before.is_empty());
    git(folder.path(), &["commit", "--quiet", "--allow-empty", "--message", "Second"]);
    assert_ne!(state(), before);
}

#[test]
fn sources_inside_another_repository_do_not_take_its_commit() {
    let folder = repository();
    let inside = folder.path().join("unpacked");
    fs::create_dir(&inside).expect("it can be made");
    assert_eq!(revision::of(&inside), None);
    let nowhere = tempfile::tempdir().expect("a directory");
    assert_eq!(revision::of(nowhere.path()), None, "outside any repository");
}

#[test]
fn named_commit_is_accepted_only_if_valid() {
    let described = |commit: &str, date: &str| revision::described(commit, date);
    let full = "4f3c2a1b9d0e0123456789abcdef0123456789ab";
    assert_eq!(described(full, "2026-11-29"), Some("4f3c2a1b9d0e 2026-11-29".to_owned()), "a full hash and its date");
    assert_eq!(described("v0.2.0-3", ""), Some("v0.2.0-3".to_owned()));
    for (commit, date) in [("", "2026-11-29"), ("4f3c2a1b\ncargo::rustc-env=A=B", ""), ("4f3c2a1b", "29 November")] {
        assert_eq!(described(commit, date), None, "{commit:?} {date:?}");
    }
}

/// The image's build cannot query git.
#[test]
fn image_build_receives_its_commit() {
    let (dockerfile, compose) = (read("Dockerfile"), read("docker-compose.yml"));
    let build = dockerfile.split("\nFROM ").nth(1).expect("a first stage");
    for argument in ["REVISION", "REVISION_DATE"] {
        assert!(build.contains(&format!("\nARG {argument}\n")), "{argument}");
        assert!(build.contains(&format!("ORDERFLOW_{argument}=${{{argument}}}")), "{argument}");
        assert!(compose.contains(&format!("        {argument}: ${{{argument}:-}}\n")), "{argument}");
        assert!(read("crates/service/build.rs").contains(&format!("\"ORDERFLOW_{argument}\"")), "{argument}");
    }
    assert!(
        !read(".dockerignore").lines().any(|line| line == "!.git"),
        "the image's build has the repository: it can query git itself"
    );
}
