//! Which commit a program is built from: a part of the build script, and of the test that tries it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Digits of a commit that are shown: as many as git abbreviates to in repositories of millions of objects.
const SHOWN: usize = 12;

/// What git knows of the sources.
#[derive(Debug, PartialEq, Eq)]
pub struct Revision {
    /// The commit, `-modified` where tracked files differ from it, and its date in UTC: `4f3c2a1b9d0e 2026-11-29`. It depends on
    /// the sources alone, so that the same sources make the same program.
    pub text: String,
    /// The files that change with the next commit.
    pub watched: Vec<PathBuf>,
}

/// Returns the commit that is checked out in this folder; `None` without git, and where the folder is not the top of a repository of
/// its own: sources unpacked inside another project are not of that project's commit.
pub fn of(root: &Path) -> Option<Revision> {
    if !git(root, &["rev-parse", "--show-prefix"])?.is_empty() {
        return None;
    }
    let format =
        ["show", "--no-patch", "--no-show-signature", "--format=%H %cd", "--date=format-local:%Y-%m-%d", "HEAD"];
    let shown = git(root, &format)?;
    let (commit, date) = shown.split_once(' ')?;
    let is_modified = !git(root, &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let commit = format!("{}{}", commit.get(..SHOWN)?, if is_modified { "-modified" } else { "" });
    // HEAD's own log grows with every commit and checkout. Where git keeps none, HEAD changes with the branch at least.
    let path = |name: &str| Some(root.join(git(root, &["rev-parse", "--git-path", name])?));
    let watched = ["logs/HEAD", "HEAD"].into_iter().filter_map(path).filter(|path| path.exists()).collect();
    Some(Revision { text: described(&commit, date)?, watched })
}

/// Returns the same text for a commit and a date that the build was given, because its sources have no git (an image). `None` where one
/// of them has an unexpected form.
pub fn described(commit: &str, date: &str) -> Option<String> {
    let is_plain = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.:+".contains(letter));
    let commit = match commit.len() > SHOWN && commit.chars().all(|digit| digit.is_ascii_hexdigit()) {
        true => commit.get(..SHOWN)?,
        false => commit,
    };
    let text = format!("{commit} {date}");
    (!commit.is_empty() && is_plain(commit) && is_plain(date)).then(|| text.trim_end().to_owned())
}

/// What git answers, without the end of the line; `None` where it fails. It takes no lock, so a build is in nobody's way.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("--no-optional-locks").arg("-C").arg(root).args(arguments);
    // A hook of git's has these set for the repository that it runs in.
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE").env("TZ", "UTC");
    let answer = command.output().ok().filter(|answer| answer.status.success())?;
    Some(String::from_utf8(answer.stdout).ok()?.trim_end().to_owned())
}
