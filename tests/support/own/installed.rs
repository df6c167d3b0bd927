//! Where a server's programs are installed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::unistd::User;
use tokio::process::Command;

/// Where a server is installed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Installed {
    /// On this machine.
    #[default]
    Here,
    /// In a complete Debian tree in this directory, made by scripts/debian.sh. Only root can run its programs.
    Below(PathBuf),
}

impl Installed {
    /// Returns the Debian of a release (`trixie`, `sid`) that scripts/debian.sh made.
    ///
    /// # Panics
    /// Panics if it has not been made.
    #[must_use]
    pub fn below_dev(release: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../.dev/debian-{release}"));
        let made = root.canonicalize().ok().filter(|root| root.join(".complete").exists());
        Self::Below(
            made.unwrap_or_else(|| panic!("{} is missing: run this with `make test-full`, as root", root.display())),
        )
    }

    /// Returns a command that runs one of its programs, as `user` (user id and group id) if given. The program finds
    /// our files at their usual paths.
    pub(super) fn command(&self, program: impl AsRef<Path>, user: Option<(u32, u32)>) -> Command {
        match self {
            Self::Here => {
                let mut command = Command::new(program.as_ref());
                if let Some((user, group)) = user {
                    command.uid(user).gid(group);
                }
                command
            }
            Self::Below(root) => {
                let mut command = Command::new("/usr/sbin/chroot");
                if let Some((user, group)) = user {
                    command.arg(format!("--userspec={user}:{group}"));
                }
                command.arg(root).arg(program.as_ref());
                command
            }
        }
    }

    /// The root of the other Debian, if there is one.
    pub(super) fn root(&self) -> Option<&Path> {
        match self {
            Self::Here => None,
            Self::Below(root) => Some(root),
        }
    }

    /// Where we find the file that its programs see at this path.
    pub(super) fn at(&self, path: &str) -> PathBuf {
        match self {
            Self::Here => path.into(),
            Self::Below(root) => root.join(path.trim_start_matches('/')),
        }
    }

    /// Returns the ids of one of its users and of that user's group.
    pub(super) fn ids_of(&self, name: &str) -> (u32, u32) {
        let ids = match self {
            Self::Here => User::from_name(name).ok().flatten().map(|user| (user.uid.as_raw(), user.gid.as_raw())),
            Self::Below(_) => fs::read_to_string(self.at("/etc/passwd")).ok().and_then(|users| {
                let user: Vec<&str> =
                    users.lines().map(|line| line.split(':').collect()).find(|user: &Vec<&str>| user[0] == name)?;
                Some((user[2].parse().ok()?, user[3].parse().ok()?))
            }),
        };
        ids.unwrap_or_else(|| panic!("{self:?} has no user {name}, which the package creates"))
    }
}
