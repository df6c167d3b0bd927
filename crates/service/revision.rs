//! Finds the commit that a program is built from. The build script and its test both include this file.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The number of digits of a commit id to show. Git abbreviates to this many in repositories with millions of objects.
const SHOWN: usize = 12;

/// The commit of the sources.
#[derive(Debug, PartialEq, Eq)]
pub struct Revision {
    /// The commit, `-modified` if tracked files differ from it, and its date in UTC: `4f3c2a1b9d0e 2026-11-29`. It
    /// depends only on the sources, so that the same sources build the same program.
    pub text: String,
    /// Files that change with the next commit or checkout. The build is repeated when one of them changes.
    pub watched: Vec<PathBuf>,
}

/// Returns the commit that is checked out in this folder; `None` if git fails or the folder is not the root of a
/// repository. Sources unpacked inside another project's repository must not show that project's commit.
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
    // HEAD's reflog grows with every commit and checkout. Without a reflog, at least a change of branch changes HEAD.
    let path = |name: &str| Some(root.join(git(root, &["rev-parse", "--git-path", name])?));
    let watched = ["logs/HEAD", "HEAD"].into_iter().filter_map(path).filter(|path| path.exists()).collect();
    Some(Revision { text: described(&commit, date)?, watched })
}

/// Formats a given commit and date in the same way, for a build without git, such as that of a container image. Returns
/// `None` if either has an unexpected form.
pub fn described(commit: &str, date: &str) -> Option<String> {
    let is_plain = |text: &str| text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-.:+".contains(letter));
    let commit = match commit.len() > SHOWN && commit.chars().all(|digit| digit.is_ascii_hexdigit()) {
        true => commit.get(..SHOWN)?,
        false => commit,
    };
    let text = format!("{commit} {date}");
    (!commit.is_empty() && is_plain(commit) && is_plain(date)).then(|| text.trim_end().to_owned())
}

/// Runs git and returns its output without trailing white space; `None` if it fails. It takes no optional locks, so a
/// build does not make a concurrent git command fail.
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.arg("--no-optional-locks").arg("-C").arg(root).args(arguments);
    // Git sets these in hooks, for the repository of the hook.
    command.env_remove("GIT_DIR").env_remove("GIT_WORK_TREE").env_remove("GIT_INDEX_FILE").env("TZ", "UTC");
    let answer = command.output().ok().filter(|answer| answer.status.success())?;
    Some(String::from_utf8(answer.stdout).ok()?.trim_end().to_owned())
}
