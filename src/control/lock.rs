//! The data directory and its lock: one process writes journal and store at a time.
//!
//! Invariants: the directory is 0700 and ours; the gate and a command that works on the store of a
//! stopped gate hold the same exclusive `flock`, so neither can start under the other. The kernel drops
//! the lock with its holder, however that ends; the file itself stays and means nothing.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

/// The lock's file within the data directory.
pub const LOCK_FILE: &str = "wicket.lock";
/// The admin socket's file within the data directory.
pub const SOCKET_FILE: &str = "admin.sock";
/// Bytes of the lock file that are read to name its holder.
const NOTE_BYTES_MAX: u64 = 200;

/// The held lock; dropped, it is free.
#[derive(Debug)]
pub struct DataLock {
    _file: File,
    path: PathBuf,
}

/// Why the data directory cannot be used.
#[derive(Debug)]
pub enum LockFault {
    /// Another process holds it; the note says which, as far as it said itself.
    Held { path: PathBuf, holder: String },
    /// The directory or the file cannot be made, opened or trusted.
    Unusable { path: PathBuf, reason: String, help: &'static str },
}

impl fmt::Display for LockFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { path, holder } => {
                write!(f, "the data directory is in use: `{}` is held by {holder}", path.display())
            }
            Self::Unusable { path, reason, .. } => write!(f, "`{}` cannot be used: {reason}", path.display()),
        }
    }
}

impl std::error::Error for LockFault {}

impl LockFault {
    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Held { .. } => {
                "wait for that process or stop it; a gate that runs is asked through its socket instead"
            }
            Self::Unusable { help, .. } => help,
        }
    }
}

impl DataLock {
    /// Makes the directory (0700) where it is missing, and takes the lock without waiting.
    ///
    /// # Errors
    /// [`LockFault::Held`] when another process has it; [`LockFault::Unusable`] otherwise.
    pub fn take(data_dir: &Path, purpose: &str) -> Result<Self, LockFault> {
        make_private_dir(data_dir)?;
        let path = data_dir.join(LOCK_FILE);
        let unusable = |error: std::io::Error| LockFault::Unusable {
            path: path.clone(),
            reason: error.to_string(),
            help: "the account that runs the gate must be able to write in the data directory",
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(unusable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockFault::Held { holder: note_of(&file), path });
            }
            Err(errno) => return Err(unusable(errno.into())),
        }
        let note = format!("{purpose}, process {}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(note.as_bytes())).map_err(unusable)?;
        Ok(Self { _file: file, path })
    }

    /// The lock's file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// What the holder wrote about itself.
fn note_of(mut file: &File) -> String {
    let mut note = String::new();
    let read =
        file.seek(SeekFrom::Start(0)).and_then(|_| file.take(NOTE_BYTES_MAX).read_to_string(&mut note));
    match read {
        Ok(_) if !note.trim().is_empty() => note.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

/// Makes a directory of mode 0700 where there is none.
///
/// # Errors
/// Where it cannot be made, or exists and is no directory.
pub fn make_private_dir(dir: &Path) -> Result<(), LockFault> {
    let unusable = |error: std::io::Error| LockFault::Unusable {
        path: dir.to_owned(),
        reason: error.to_string(),
        help: "name another with --data-dir, or `data_dir` in the configuration",
    };
    if !dir.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(unusable)?;
    }
    let metadata = std::fs::metadata(dir).map_err(unusable)?;
    if !metadata.is_dir() {
        return Err(unusable(std::io::Error::other("it is no directory")));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 && metadata.uid() == rustix::process::geteuid().as_raw() {
        tracing::warn!(dir = %dir.display(), "was open to other accounts (mode {mode:o}); it is 700 now");
        std::fs::set_permissions(dir, PermissionsExt::from_mode(0o700)).map_err(unusable)?;
    }
    Ok(())
}

/// What is wrong with the permissions of a data directory, each with what to do; empty where all is well.
/// Secrets and the socket must be unreadable to other accounts.
pub fn permission_faults(data_dir: &Path) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let Ok(metadata) = std::fs::metadata(data_dir) else { return faults };
    let own_uid = rustix::process::geteuid().as_raw();
    if metadata.uid() != own_uid && own_uid != 0 {
        faults.push((
            format!("`{}` belongs to uid {}, this is uid {own_uid}", data_dir.display(), metadata.uid()),
            "run the command as the account that runs the gate".to_owned(),
        ));
    }
    check_mode(data_dir, &metadata, &mut faults);
    for name in super::secrets::SECRET_FILES.into_iter().chain([SOCKET_FILE]) {
        let path = data_dir.join(name);
        if let Ok(metadata) = std::fs::metadata(&path) {
            check_mode(&path, &metadata, &mut faults);
        }
    }
    faults
}

fn check_mode(path: &Path, metadata: &std::fs::Metadata, faults: &mut Vec<(String, String)>) {
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        let right = if metadata.is_dir() { "700" } else { "600" };
        faults.push((
            format!("`{}` is open to other accounts (mode {mode:o})", path.display()),
            format!("chmod {right} {}", path.display()),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_exclusive_names_its_holder_and_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("deep/data");
        let lock = DataLock::take(&data, "`wicket run`").unwrap();
        assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
        let fault = DataLock::take(&data, "`wicket agent create`").unwrap_err();
        assert!(matches!(fault, LockFault::Held { .. }), "{fault}");
        assert!(fault.to_string().contains("`wicket run`, process "), "{fault}");
        drop(lock);
        DataLock::take(&data, "`wicket agent create`").unwrap();
    }

    #[test]
    fn a_file_in_the_directorys_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, "").unwrap();
        let fault = DataLock::take(&path, "x").unwrap_err();
        assert!(fault.to_string().contains("no directory"), "{fault}");
    }

    #[test]
    fn modes_that_let_others_in_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        drop(DataLock::take(&data, "x").unwrap());
        assert_eq!(permission_faults(&data), Vec::new());
        let pepper = data.join(crate::control::secrets::SECRET_FILES[0]);
        std::fs::write(&pepper, "x").unwrap();
        std::fs::set_permissions(&pepper, PermissionsExt::from_mode(0o640)).unwrap();
        std::fs::set_permissions(&data, PermissionsExt::from_mode(0o755)).unwrap();
        let faults = permission_faults(&data);
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[1].1.starts_with("chmod 600 "), "{faults:?}");
    }
}
