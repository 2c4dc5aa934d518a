//! A disk that can be filled, in a mount namespace of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::eventually::eventually;
use crate::process::Process;

/// A small file system in memory. Programs see it when they are started with [`SmallDisk::prefix`]; it lives as long as
/// this value, not as long as they do.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Process,
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// Makes one; panics when the privilege is missing, see [`crate::skip_netns`].
    pub fn new(kib: usize) -> Self {
        let directory = tempfile::tempdir().expect("make a directory");
        let path = directory.path().display().to_string();
        // The process stays, and the namespace with it. It has no child that would outlive it.
        let script = format!(
            "mount --make-rprivate / && mount -t tmpfs -o size={kib}k tmpfs '{path}' && touch '{path}/.mounted' && \
             exec sleep infinity"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", &script]);
        let mut disk = Self { holder: Process::spawn("the holder of a small disk", command), directory };
        eventually(
            "a file system is mounted (mount namespaces need root, like SPURLINE_SKIP_NETNS says)",
            || {
                let ended = disk.holder.ended();
                assert!(ended.is_none(), "a small disk: {}", disk.holder.stderr());
                disk.outside(".mounted").exists().then_some(())
            },
        );
        disk
    }

    /// Where programs inside see it.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Where we see one of its files.
    pub fn outside(&self, name: &str) -> PathBuf {
        let inside = self.directory.path().strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside).join(name)
    }

    /// The words that start a program which sees it.
    pub fn prefix(&self) -> Vec<String> {
        let holder = self.holder.id().to_string();
        ["nsenter", "--target", &holder, "--mount", "--"].map(str::to_owned).into()
    }

    /// Leaves no byte free.
    pub fn fill(&self) {
        use std::io::Write;
        let mut file = std::fs::File::create(self.outside("filler")).expect("create a file");
        for size in [64 * 1024, 4096, 1] {
            while file.write_all(&vec![7; size]).is_ok() {}
        }
    }

    /// Gives the space back.
    pub fn free(&self) {
        std::fs::remove_file(self.outside("filler")).expect("remove a file");
    }
}
