//! What the journal asks of its disk, in one place, so that a test can put a disk that hangs, fails or
//! lies there.
//!
//! Invariants: a segment's file is created by nobody twice; a write is whole or an error; a file that
//! was deleted takes no write.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use super::segment::SegmentNumber;

/// The calls that may hang or fail. No lock of the data plane is held over any of them, but for `write`
/// in mode `process`, where the caller's own write is what its record is.
pub(super) trait Disk: Send + Sync {
    /// A new, empty file for appending, for this user alone.
    fn create(&self, path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.append(true).create_new(true).open(path)
    }

    /// One `write(2)`; how many bytes it took.
    fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    /// `fdatasync(2)`.
    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// The disk as it is.
pub(super) struct Local;

impl Disk for Local {}

/// An open segment.
pub(super) struct Segment {
    pub file: File,
    pub number: SegmentNumber,
    pub path: PathBuf,
}

impl Segment {
    /// Creates the file and makes its name durable; on an error there is no file, or an empty one.
    pub fn create(disk: &dyn Disk, dir: &Path, number: SegmentNumber) -> io::Result<Self> {
        let path = dir.join(number.file_name());
        let file = disk.create(&path)?;
        let segment = Self { file, number, path };
        match disk.sync_dir(dir) {
            Ok(()) => Ok(segment),
            Err(error) => {
                // An empty file that stays is passed over by every reader.
                let _stays = std::fs::remove_file(&segment.path);
                Err(error)
            }
        }
    }

    /// One write: whole, or an error.
    pub fn write(&self, disk: &dyn Disk, bytes: &[u8]) -> io::Result<()> {
        if self.is_deleted()? {
            return Err(io::Error::other(format!(
                "{} was deleted; see that {} exists",
                self.number.file_name(),
                self.path.parent().unwrap_or(&self.path).display()
            )));
        }
        loop {
            match disk.write(&self.file, bytes) {
                Ok(n) if n == bytes.len() => return Ok(()),
                Ok(n) => return Err(io::Error::other(format!("only {n} of {} bytes", bytes.len()))),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether nobody can find the file any more: it would still take writes, and lose them.
    pub fn is_deleted(&self) -> io::Result<bool> {
        Ok(rustix::fs::fstat(&self.file).map_err(io::Error::from)?.st_nlink == 0)
    }
}
