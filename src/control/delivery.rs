//! How words of the gate reach a person: as files that an operator hands on, or on standard output.
//!
//! E-mail is one more [`Delivery`] (decision 0034). Invariants: a notice is in its file or on its line and
//! nowhere else, for it may hold a link that signs its reader in; files are 0600 in a 0700 directory,
//! appear whole or not at all, and are bounded in number.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::model::{EmailAddress, Timestamp};

/// The directory of notices within the data directory.
pub const OUTBOX_DIR: &str = "outbox";
/// Files that are kept; the oldest go first.
const OUTBOX_FILES_MAX: usize = 500;

/// What is said to a person.
pub struct Notice {
    pub to: EmailAddress,
    pub subject: &'static str,
    /// Lines of plain text; may hold a secret.
    pub text: Zeroizing<String>,
    pub at: Timestamp,
}

/// How it is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A file for each notice, in this directory.
    Outbox(PathBuf),
    /// The standard output of the gate's process.
    Stdout,
}

impl Delivery {
    /// Hands the notice on.
    ///
    /// # Errors
    /// The reason, lower case, without anything of the notice.
    pub async fn deliver(&self, notice: Notice) -> Result<(), String> {
        let way = self.clone();
        let handed = tokio::task::spawn_blocking(move || match way {
            Self::Outbox(dir) => put(&dir, &notice).map_err(|error| format!("`{}`: {error}", dir.display())),
            Self::Stdout => print(&notice).map_err(|error| format!("standard output: {error}")),
        });
        handed.await.map_err(|_| "the delivery ended in a panic".to_owned())?
    }
}

fn page(notice: &Notice) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "To: {}\nSubject: {}\nDate: {}\n\n{}",
        notice.to,
        notice.subject,
        notice.at,
        notice.text.as_str()
    ))
}

fn print(notice: &Notice) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(page(notice).as_bytes())?;
    out.flush()
}

fn put(dir: &Path, notice: &Notice) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut random = [0u8; 4];
    getrandom::fill(&mut random).map_err(std::io::Error::other)?;
    let name = format!("{:013}-{:08x}", notice.at.as_millis(), u32::from_be_bytes(random));
    let beside = dir.join(format!(".{name}.new"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(page(notice).as_bytes())?;
    fs::rename(&beside, dir.join(format!("{name}.txt")))?;
    trim(dir)
}

/// Takes the oldest files away where there are too many; names sort by time.
fn trim(dir: &Path) -> std::io::Result<()> {
    let mut files: Vec<PathBuf> =
        fs::read_dir(dir)?.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    let surplus = files.len().saturating_sub(OUTBOX_FILES_MAX);
    if surplus > 0 {
        files.sort();
        for file in files.iter().take(surplus) {
            fs::remove_file(file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn notice(n: i64) -> Notice {
        Notice {
            to: EmailAddress::parse("ann@example.com").unwrap(),
            subject: "Sign in",
            text: Zeroizing::new(format!("link {n}\n")),
            at: Timestamp::from_millis(1_800_000_000_000 + n),
        }
    }

    #[tokio::test]
    async fn notices_are_private_whole_and_bounded_in_number() {
        let dir = tempfile::tempdir().unwrap();
        let outbox = dir.path().join(OUTBOX_DIR);
        let delivery = Delivery::Outbox(outbox.clone());
        let count = i64::try_from(OUTBOX_FILES_MAX).unwrap() + 3;
        for n in 0..count {
            delivery.deliver(notice(n)).await.unwrap();
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&outbox), 0o700);
        let mut files: Vec<PathBuf> =
            fs::read_dir(&outbox).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        assert_eq!(files.len(), OUTBOX_FILES_MAX);
        assert!(files.iter().all(|file| mode(file) == 0o600));
        let first = fs::read_to_string(&files[0]).unwrap();
        assert!(first.starts_with("To: ann@example.com\n") && first.ends_with("\nlink 3\n"), "{first}");
    }

    #[tokio::test]
    async fn what_cannot_be_delivered_says_why_and_nothing_of_the_notice() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let reason = Delivery::Outbox(file).deliver(notice(1)).await.unwrap_err();
        assert!(reason.contains("file") && !reason.contains("link 1"), "{reason}");
    }
}
