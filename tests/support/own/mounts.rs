//! Mounts, which need root: disks small enough to be filled, and a directory bound into the tree of another Debian.
//!
//! Only this process and its children see these mounts, which disappear with them, however they end.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::Uid,
};

/// The size of a small disk, in MiB: more than a run needs, and little enough to be filled within seconds.
const SIZE: u32 = 3 * 1024;

/// Returns whether this process may mount file systems.
pub fn can_mount() -> bool {
    Uid::effective().is_root()
}

/// Makes all later mounts of this process private to it and its children. Call it before a second thread starts.
pub fn enter_own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}

/// A disk in memory.
pub struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts it at a path that must not exist yet.
    pub fn mount(path: &Path) -> Self {
        fs::create_dir(path).expect("a directory of our own");
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        let options = format!("size={SIZE}m,mode=0711");
        mount(Some("tmpfs"), path, Some("tmpfs"), flags, Some(options.as_str())).expect("root may mount");
        Self { path: path.to_owned() }
    }

    /// The path at which it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Fills all remaining space.
    pub async fn fill(&self) {
        let filler = self.filler();
        let filled = tokio::task::spawn_blocking(move || {
            let mut file = File::create(filler).expect("a file of our own");
            let zeros = vec![0; 1 << 20];
            // The remainder is smaller than a MiB.
            for size in [1 << 20, 1 << 12] {
                while file.write_all(&zeros[..size]).is_ok() {}
            }
        });
        filled.await.expect("writing does not panic");
    }

    /// Frees the space that [`Disk::fill`] took.
    pub async fn free(&self) {
        tokio::fs::remove_file(self.filler()).await.expect("our own file");
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // If this fails, the mount disappears with the process.
        let _ = umount2(&self.path, MntFlags::MNT_DETACH);
    }
}

/// A directory bound to the same path in another tree, with the /proc and /dev that programs need.
pub struct Bound {
    mounted: Vec<PathBuf>,
    made: PathBuf,
}

impl Bound {
    /// Binds the directory, /proc and /dev below `root`.
    pub fn below(root: &Path, directory: &Path) -> Self {
        let at = |path: &Path| root.join(path.strip_prefix("/").expect("an absolute path"));
        let made = at(directory);
        fs::create_dir_all(&made).expect("root may create directories");
        let mounted: Vec<PathBuf> = [directory, Path::new("/proc"), Path::new("/dev")]
            .into_iter()
            .map(|from| {
                let to = at(from);
                let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
                mount(Some(from), &to, None::<&str>, flags, None::<&str>).expect("root may mount");
                to
            })
            .collect();
        Self { mounted, made }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        for path in &self.mounted {
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
        // Removes it only if it is empty.
        drop(fs::remove_dir(&self.made));
    }
}
