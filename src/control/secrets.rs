//! The gate's own secrets: the pepper of the key index and the signing key of the journal's checkpoints,
//! made at the first start and kept 0600 in the data directory.
//!
//! Invariants: a file appears whole or not at all (written beside, synced, renamed); an unreadable or
//! damaged one stops the start instead of being replaced, for a new pepper would silently disown every
//! key and a new signing key every checkpoint; one that other accounts may read is made private at the
//! start, or stops it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::keys::{Pepper, SigningKey, VerifyingKey};

/// Files within the data directory that hold secrets.
pub const SECRET_FILES: [&str; 2] = [PEPPER_FILE, SIGNING_FILE];
const PEPPER_FILE: &str = "pepper";
const SIGNING_FILE: &str = "signing.key";
/// Mode of their files: their owner alone.
const SECRET_MODE: u32 = 0o600;
/// Each secret is so many random bytes, kept as hexadecimal digits.
const SECRET_BYTES: usize = 32;

/// The secrets, opened.
pub struct Secrets {
    pub pepper: Pepper,
    pub signing: SigningKey,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").finish_non_exhaustive()
    }
}

/// A secret that cannot be read or made.
#[derive(Debug)]
pub struct SecretFault {
    path: PathBuf,
    reason: String,
    help: &'static str,
}

/// What to do about a secret that is damaged or gone.
const RESTORE: &str = "restore it from a backup: without it no key is recognised and no checkpoint verified";

impl fmt::Display for SecretFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}; {}", self.path.display(), self.reason, self.help)
    }
}

impl std::error::Error for SecretFault {}

impl Secrets {
    /// Reads the secrets, or makes those that are missing. `pepper` comes from the environment
    /// (`WICKET_PEPPER`, 64 hexadecimal digits) where an operator keeps it outside the directory.
    ///
    /// # Errors
    /// [`SecretFault`] names the file.
    pub fn open(data_dir: &Path, pepper: Option<&str>) -> Result<Self, SecretFault> {
        let pepper = match pepper {
            Some(text) => decode::<SECRET_BYTES>(text).ok_or_else(|| SecretFault {
                path: PathBuf::from("WICKET_PEPPER"),
                reason: format!("is not {} hexadecimal digits", SECRET_BYTES * 2),
                help: RESTORE,
            })?,
            None => {
                make_private(&data_dir.join(PEPPER_FILE))?;
                read_or_make::<SECRET_BYTES>(&data_dir.join(PEPPER_FILE))?
            }
        };
        make_private(&data_dir.join(SIGNING_FILE))?;
        let signing = read_or_make::<SECRET_BYTES>(&data_dir.join(SIGNING_FILE))?;
        Ok(Self { pepper: Pepper::from_bytes(*pepper), signing: SigningKey::from_bytes(*signing) })
    }
}

impl Secrets {
    /// The public half of the signing key, for whoever verifies a journal; makes nothing.
    /// `Ok(None)`: the directory holds no key.
    ///
    /// # Errors
    /// [`SecretFault`] names the file.
    pub fn verifying_key(data_dir: &Path) -> Result<Option<VerifyingKey>, SecretFault> {
        let path = data_dir.join(SIGNING_FILE);
        if !path.exists() {
            return Ok(None);
        }
        read_or_make::<SECRET_BYTES>(&path).map(|bytes| Some(SigningKey::from_bytes(*bytes).verifying_key()))
    }
}

fn read_or_make<const N: usize>(path: &Path) -> Result<Zeroizing<[u8; N]>, SecretFault> {
    let fault = |reason: String| SecretFault { path: path.to_owned(), reason, help: RESTORE };
    match File::open(path) {
        Ok(file) => {
            let mut text = Zeroizing::new(String::new());
            let limit = u64::try_from(N).unwrap_or(u64::MAX).saturating_mul(4);
            file.take(limit)
                .read_to_string(&mut text)
                .map_err(|error| fault(format!("cannot be read: {error}")))?;
            decode(text.trim()).ok_or_else(|| fault(format!("does not hold {} hexadecimal digits", N * 2)))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut bytes = Zeroizing::new([0u8; N]);
            getrandom::fill(bytes.as_mut_slice())
                .map_err(|error| fault(format!("cannot be made: {error}")))?;
            write_whole(path, &encode(bytes.as_slice()))
                .map_err(|error| fault(format!("cannot be written: {error}")))?;
            Ok(bytes)
        }
        Err(error) => Err(fault(format!("cannot be opened: {error}"))),
    }
}

/// Takes away what other accounts may do with the file, where there is one. A copy that was restored from
/// a backup is often readable for everybody.
fn make_private(path: &Path) -> Result<(), SecretFault> {
    let fault = |reason: String, help| SecretFault { path: path.to_owned(), reason, help };
    let file = match File::open(path) {
        Ok(file) => file,
        // Made next, or reported by whoever reads it.
        Err(_) => return Ok(()),
    };
    let metadata =
        file.metadata().map_err(|error| fault(format!("cannot be looked at: {error}"), RESTORE))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if !metadata.is_file() || mode & 0o077 == 0 {
        return Ok(());
    }
    file.set_permissions(PermissionsExt::from_mode(SECRET_MODE)).map_err(|error| {
        fault(
            format!("is open to other accounts (mode {mode:o}) and cannot be made private: {error}"),
            "give it to the account that runs the gate, with mode 600; if others may have read it, mint new keys",
        )
    })?;
    tracing::warn!(file = %path.display(), "was open to other accounts (mode {mode:o}); it is 600 now");
    Ok(())
}

/// Writes a 0600 file beside, syncs it and renames it into place.
pub(super) fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let beside = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(SECRET_MODE).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

fn encode(bytes: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn decode<const N: usize>(text: &str) -> Option<Zeroizing<[u8; N]>> {
    if text.len() != N * 2 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = Zeroizing::new([0u8; N]);
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_private_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let first = Secrets::open(dir.path(), None).unwrap();
        let pepper = std::fs::read_to_string(dir.path().join(PEPPER_FILE)).unwrap();
        let again = Secrets::open(dir.path(), None).unwrap();
        assert_eq!(first.signing.key_id(), again.signing.key_id());
        assert_eq!(pepper, std::fs::read_to_string(dir.path().join(PEPPER_FILE)).unwrap());
        for name in SECRET_FILES {
            let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!format!("{first:?}").contains(pepper.trim()));
    }

    #[test]
    fn a_secret_that_others_may_read_is_made_private() {
        let dir = tempfile::tempdir().unwrap();
        let first = Secrets::open(dir.path(), None).unwrap();
        let mode =
            |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
        for loose in [0o644, 0o640, 0o660, 0o604] {
            for name in SECRET_FILES {
                let permissions = std::fs::Permissions::from_mode(loose);
                std::fs::set_permissions(dir.path().join(name), permissions).unwrap();
            }
            let again = Secrets::open(dir.path(), None).unwrap();
            assert_eq!(again.signing.key_id(), first.signing.key_id());
            assert_eq!(SECRET_FILES.map(mode), [0o600, 0o600], "{loose:o}");
        }
    }

    #[test]
    fn a_damaged_secret_is_refused_and_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        Secrets::open(dir.path(), None).unwrap();
        let path = dir.path().join(SIGNING_FILE);
        for damaged in ["", "abc", &"g".repeat(64), &"0".repeat(66)] {
            std::fs::write(&path, damaged).unwrap();
            let fault = Secrets::open(dir.path(), None).unwrap_err().to_string();
            assert!(fault.contains("signing.key"), "{fault}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn the_environments_pepper_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        Secrets::open(dir.path(), Some(&"ab".repeat(32))).unwrap();
        assert!(!dir.path().join(PEPPER_FILE).exists());
        assert!(Secrets::open(dir.path(), Some("short")).is_err());
    }
}
