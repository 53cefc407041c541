//! What stays of a dropped segment: a line that says what it was, with its last signed checkpoint.
//!
//! A checkpoint signs everything before it in its boot, so that the last of a segment speaks for the
//! others; the file's digest lets an archived copy be told from a forged one. The line is a function of
//! the segment alone: writing it twice changes nothing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::audit::chain::{ChainHash, SealedLine};
use crate::audit::checkpoint::Checkpoint;
use crate::keys::{VerifyingKey, hex};

/// The file beside the segments.
pub const KEPT_FILE: &str = "dropped.jsonl";

/// What is kept of one segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// Its file name.
    pub segment: String,
    pub first_seq: u64,
    pub last_seq: u64,
    pub entries: u64,
    pub bytes: u64,
    /// The chain value of its last entry.
    pub chain: ChainHash,
    /// SHA-256 of the whole file.
    pub sha256: String,
    /// The line of its last signed checkpoint; a boot that was killed early has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
}

/// How long the file is now, and what it digests to.
pub(super) struct KeptFile {
    pub bytes: u64,
    pub sha256: String,
}

/// Adds what is not there yet, and syncs.
pub(super) fn append(dir: &Path, segments: &[Kept]) -> io::Result<KeptFile> {
    let path = dir.join(KEPT_FILE);
    let mut text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let whole = text.rfind('\n').map_or(0, |at| at + 1);
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.create(true).append(true).open(&path)?;
    if whole < text.len() {
        // What a crash tore is written again.
        file.set_len(whole as u64)?;
        text.truncate(whole);
    }
    let mut added = String::new();
    for one in segments {
        let line = serde_json::to_string(one).map_err(io::Error::other)?;
        if !text.lines().any(|known| known == line) {
            added.push_str(&line);
            added.push('\n');
        }
    }
    file.write_all(added.as_bytes())?;
    file.sync_data()?;
    File::open(dir)?.sync_all()?;
    text.push_str(&added);
    Ok(KeptFile { bytes: text.len() as u64, sha256: hex(&<[u8; 32]>::from(Sha256::digest(text.as_bytes()))) })
}

/// Reads the first `bytes` of the file, if they digest to what a signed entry says, and checks every
/// checkpoint in them.
///
/// # Errors
/// What is wrong, with the line it is wrong in (0: the file).
pub(in crate::audit) fn read(
    dir: &Path,
    bytes: u64,
    sha256: &str,
    key: &VerifyingKey,
) -> Result<Vec<Kept>, (u64, String)> {
    let text = std::fs::read(dir.join(KEPT_FILE))
        .map_err(|error| (0, format!("what is kept of dropped segments cannot be read: {error}")))?;
    let part = usize::try_from(bytes).ok().and_then(|bytes| text.get(..bytes));
    let part = part.filter(|part| hex(&<[u8; 32]>::from(Sha256::digest(part))) == sha256);
    let part = part.ok_or((0, "what is kept of dropped segments is not what was signed".to_owned()))?;
    let mut kept = Vec::new();
    for (index, line) in part.split(|b| *b == b'\n').filter(|line| !line.is_empty()).enumerate() {
        let at = |reason: String| (index as u64 + 1, reason);
        let one: Kept =
            serde_json::from_slice(line).map_err(|error| at(format!("does not read: {error}")))?;
        if let Some(text) = one.checkpoint.as_deref().map(str::as_bytes) {
            let sealed = SealedLine::parse(text).map_err(|reason| at(reason.to_owned()))?;
            Checkpoint::check(&sealed, text, key).map_err(at)?;
        }
        kept.push(one);
    }
    Ok(kept)
}
