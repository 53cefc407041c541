//! Whether the journal is what was written: every line, every link, every signature.
//!
//! The walk stops at the first entry that is not as it should be and names it: file, line, sequence
//! number, reason. What is right is only ever relative to the verifying key and to the witness, a
//! copy of the checkpoints that should lie where the journal's writer cannot reach. Behind the last
//! checkpoint a cut cannot be seen; the report says how many entries that is.

mod retained;
mod walk;
mod witness;

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::journal::JournalError;
use super::segment::list;
use crate::keys::VerifyingKey;
use crate::model::Timestamp;

pub use retained::DroppedReport;
pub use witness::WitnessState;

/// The first thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyFault {
    /// File name, without directory.
    pub file: String,
    /// From 1; 0 where the fault is the whole file's.
    pub line: u64,
    /// The sequence number that is or should be there, where known.
    pub seq: Option<u64>,
    pub reason: String,
}

impl fmt::Display for VerifyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ", line {}", self.line)?;
        }
        if let Some(seq) = self.seq {
            write!(f, ", entry {seq}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// What a walk over the whole journal found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VerifyReport {
    pub segments: u64,
    /// Entries that are as they should be, up to the fault if there is one.
    pub entries: u64,
    pub checkpoints: u64,
    pub last_seq: u64,
    /// Chain value of the last good entry.
    pub head: String,
    /// The first bad entry.
    pub fault: Option<VerifyFault>,
    pub last_checkpoint: Option<Timestamp>,
    /// Entries behind the last checkpoint: a cut among them could not be seen.
    pub unattested_entries: u64,
    /// Whether the last boot stopped in order, or the gate is running or was killed.
    pub closed: bool,
    /// Bytes at the end of the journal that are no whole line: a write under way, or torn by a crash.
    pub tail_bytes: u64,
    /// What happened to the journal and was recorded as such: torn ends, cuts after a failing disk.
    pub notes: Vec<String>,
    /// What retention dropped, as signed entries say.
    pub dropped: Option<DroppedReport>,
    pub witness: WitnessState,
}

impl VerifyReport {
    /// Whether nothing wrong was found.
    pub fn is_intact(&self) -> bool {
        self.fault.is_none()
    }
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            None => writeln!(f, "intact: every entry, link and signature is as it was written")?,
            Some(fault) => writeln!(f, "BROKEN at {fault}")?,
        }
        writeln!(
            f,
            "{} entries up to {} in {} segments, {} signed checkpoints, head {}",
            self.entries, self.last_seq, self.segments, self.checkpoints, self.head
        )?;
        if let Some(dropped) = &self.dropped {
            writeln!(f, "{dropped}")?;
        }
        match (self.last_checkpoint, self.unattested_entries) {
            (None, n) => writeln!(f, "no checkpoint yet: {n} entries are not attested")?,
            (Some(at), 0) => writeln!(f, "attested to the last entry, at {at}")?,
            (Some(at), n) => {
                writeln!(
                    f,
                    "attested up to {at}; {n} entries behind it are not: a cut there would not show"
                )?;
            }
        }
        if !self.closed {
            writeln!(f, "not closed: the gate is running, or its last boot did not stop in order")?;
        }
        if self.tail_bytes > 0 {
            writeln!(f, "{} bytes at the end are no whole entry", self.tail_bytes)?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        write!(f, "witness: {}", self.witness)
    }
}

/// Walks all segments of a directory: form, sequence, chain, links between segments, signatures,
/// and, where there is one, the witness. Safe while the gate is running.
///
/// # Errors
/// [`JournalError`] where a file cannot be read. What is wrong inside is in the report.
pub fn verify(dir: &Path, key: &VerifyingKey, witness: Option<&Path>) -> Result<VerifyReport, JournalError> {
    // The witness first: it is written after the journal, so it never knows more than we then find.
    let witnessed = witness::read(witness, key)?;
    let first = || list(dir).ok().and_then(|files| files.first().map(|(number, _)| *number));
    let before = first();
    let report = walk::walk(dir, key, witnessed);
    if first() == before {
        return report;
    }
    // Retention took the beginning while we read: once more, from the new beginning.
    walk::walk(dir, key, witness::read(witness, key)?)
}

#[cfg(test)]
mod tests;
