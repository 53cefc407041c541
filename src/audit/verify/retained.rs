//! Whether what is missing at the beginning was dropped lawfully: named by an entry under a signature.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::VerifyFault;
use crate::audit::chain::ChainHash;
use crate::audit::retention::{KEPT_FILE, Kept, RetentionEntry, read_kept};
use crate::audit::segment::Previous;
use crate::keys::VerifyingKey;
use crate::model::Timestamp;

/// What retention dropped, in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DroppedReport {
    pub segments: u64,
    pub entries: u64,
    pub last_segment: String,
    pub last_seq: u64,
    /// When the last of them was dropped.
    pub at: Timestamp,
    /// Signed checkpoints kept of them, all verified.
    pub checkpoints: u64,
}

impl fmt::Display for DroppedReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "retention dropped {} segments with {} entries, up to {} (entry {}), the last at {}; {} of their signed checkpoints are kept and verify",
            self.segments, self.entries, self.last_segment, self.last_seq, self.at, self.checkpoints
        )
    }
}

/// The first segment that is there, where it is not the journal's first.
struct Beginning {
    file: String,
    before: Previous,
}

/// What the walk learns about dropping.
#[derive(Default)]
pub(super) struct Retained {
    beginning: Option<Beginning>,
    /// The walk is in a boot of which a part was dropped, and no signature has counted it yet.
    within_boot: bool,
    /// Entries that no checkpoint has signed yet.
    claims: Vec<RetentionEntry>,
    attested: Vec<RetentionEntry>,
    /// Where segments that are still there ended.
    ends: BTreeMap<u64, ChainHash>,
    kept: Vec<Kept>,
}

impl Retained {
    pub fn begin(&mut self, file: &str, before: &Previous, within_boot: bool) {
        self.beginning = Some(Beginning { file: file.to_owned(), before: before.clone() });
        self.within_boot = within_boot;
        self.pass(before);
    }

    /// Says so once.
    pub fn within_boot(&mut self) -> bool {
        std::mem::take(&mut self.within_boot)
    }

    pub fn next_boot(&mut self) {
        self.within_boot = false;
    }

    /// A segment ended here.
    pub fn pass(&mut self, end: &Previous) {
        self.ends.insert(end.last_seq, end.chain);
    }

    pub fn claim(&mut self, text: &[u8]) -> Result<(), String> {
        let claim = serde_json::from_slice(text).map_err(|e| format!("the entry does not read: {e}"))?;
        self.claims.push(claim);
        Ok(())
    }

    /// A signature covers everything before it.
    pub fn attest(&mut self) {
        self.attested.append(&mut self.claims);
    }

    /// The first file, where what came before it is not proved to have been dropped.
    pub fn unproved(&self) -> Option<&str> {
        let beginning = self.beginning.as_ref()?;
        let before = &beginning.before;
        let lawful = |claim: &RetentionEntry| {
            claim.last_seq >= before.last_seq && self.ends.get(&claim.last_seq) == Some(&claim.last_chain)
        };
        (!self.attested.iter().any(lawful)).then_some(beginning.file.as_str())
    }

    /// What is wrong, once the walk is over.
    pub fn fault(&mut self, dir: &Path, key: &VerifyingKey) -> Option<VerifyFault> {
        if let (Some(file), Some(beginning)) = (self.unproved(), &self.beginning) {
            return Some(VerifyFault {
                file: file.to_owned(),
                line: 1,
                seq: Some(beginning.before.last_seq.saturating_add(1)),
                reason: format!(
                    "segment {} before it is missing, and no signed entry says that retention dropped it",
                    beginning.before.segment.escape_default()
                ),
            });
        }
        let last = self.attested.last()?;
        match read_kept(dir, last.kept_bytes, &last.kept_sha256, key) {
            Ok(kept) => {
                self.kept = kept;
                None
            }
            Err((line, reason)) => Some(VerifyFault { file: KEPT_FILE.to_owned(), line, seq: None, reason }),
        }
    }

    pub fn report(&self) -> Option<DroppedReport> {
        let last = self.attested.last()?;
        Some(DroppedReport {
            segments: self.kept.len() as u64,
            entries: self.kept.iter().map(|one| one.entries).fold(0, u64::saturating_add),
            last_segment: last.last_segment.clone(),
            last_seq: last.last_seq,
            at: last.timestamp,
            checkpoints: self.kept.iter().filter(|one| one.checkpoint.is_some()).count() as u64,
        })
    }
}
