//! The copy of the checkpoints, and what it says about the journal.

use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::VerifyFault;
use crate::audit::chain::{ChainHash, EntryKind, SealedLine};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::journal::JournalError;
use crate::audit::segment::{Lines, Piece};
use crate::keys::VerifyingKey;

/// What the witness contributed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum WitnessState {
    /// None was given, or the file is not there: whoever holds the signing key or cuts the end is not
    /// seen.
    Absent,
    /// Its checkpoints are all in the journal, as far as the walk came.
    Agrees { checkpoints: u64 },
    /// It differs from the journal; the fault says where.
    Differs { checkpoints: u64 },
}

impl fmt::Display for WitnessState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none: a cut at the end would not show"),
            Self::Agrees { checkpoints } => write!(f, "its {checkpoints} checkpoints agree with the journal"),
            Self::Differs { checkpoints } => {
                write!(f, "of its {checkpoints} checkpoints one differs from the journal")
            }
        }
    }
}

/// One checkpoint of the witness.
#[derive(Debug, Clone, Copy)]
pub(super) struct Witnessed {
    pub seq: u64,
    pub chain: ChainHash,
    pub line: u64,
}

/// The checkpoints of a witness file, in its order; not yet compared with the journal.
#[derive(Debug, Default)]
pub(super) struct Witness {
    pub name: Option<String>,
    pub checkpoints: Vec<Witnessed>,
    pub fault: Option<VerifyFault>,
    /// How many have been met on the walk.
    pub met: usize,
}

impl Witness {
    pub fn state(&self) -> WitnessState {
        let checkpoints = self.checkpoints.len() as u64;
        match (&self.name, &self.fault) {
            (None, _) => WitnessState::Absent,
            (Some(_), None) => WitnessState::Agrees { checkpoints },
            (Some(_), Some(_)) => WitnessState::Differs { checkpoints },
        }
    }

    /// Compares an entry of the journal with what the witness holds for its number.
    pub fn meet(&mut self, seq: u64, kind: EntryKind, chain: &ChainHash) -> Result<(), String> {
        let Some(next) = self.checkpoints.get(self.met) else { return Ok(()) };
        if next.seq > seq {
            return Ok(());
        }
        self.met += 1;
        let is_checkpoint = matches!(kind, EntryKind::Checkpoint | EntryKind::Close);
        if next.seq == seq && is_checkpoint && next.chain == *chain {
            return Ok(());
        }
        Err(format!("the witness holds another checkpoint {} (line {} there)", next.seq, next.line))
    }

    /// Passes over the checkpoints of what was dropped: each has verified by itself.
    pub fn pass(&mut self, seq: u64) {
        self.met += self.checkpoints.iter().skip(self.met).take_while(|one| one.seq <= seq).count();
    }

    /// The first checkpoint that the walk did not come to.
    pub fn unmet(&self) -> Option<Witnessed> {
        self.checkpoints.get(self.met).copied()
    }
}

/// Reads and checks a witness file by itself.
pub(super) fn read(path: Option<&Path>, key: &VerifyingKey) -> Result<Witness, JournalError> {
    let mut witness = Witness::default();
    let Some(path) = path else { return Ok(witness) };
    let fault =
        |error: std::io::Error| JournalError(format!("cannot read the witness {}: {error}", path.display()));
    let mut lines = match Lines::open(path, 0) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(witness),
        other => other.map_err(fault)?,
    };
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    witness.name = Some(name.clone());
    let mut number = 0u64;
    loop {
        number += 1;
        let read = match lines.read().map_err(fault)? {
            Piece::End => return Ok(witness),
            // A write under way, or one that a crash tore: the journal has the line.
            Piece::Tail => return Ok(witness),
            Piece::TooLong => Err((None, "the line is longer than any checkpoint".to_owned())),
            Piece::Line(line) => read_line(line, key, witness.checkpoints.last()),
        };
        match read {
            Ok((seq, chain)) => witness.checkpoints.push(Witnessed { seq, chain, line: number }),
            Err((seq, reason)) => {
                witness.fault = Some(VerifyFault { file: name, line: number, seq, reason });
                return Ok(witness);
            }
        }
    }
}

fn read_line(
    text: &[u8],
    key: &VerifyingKey,
    before: Option<&Witnessed>,
) -> Result<(u64, ChainHash), (Option<u64>, String)> {
    let line = SealedLine::parse(text).map_err(|reason| (None, reason.to_owned()))?;
    let fault = |reason: String| (Some(line.seq), reason);
    if !matches!(line.kind, EntryKind::Checkpoint | EntryKind::Close) {
        return Err(fault("this is no checkpoint".to_owned()));
    }
    Checkpoint::check(&line, text, key).map_err(fault)?;
    if before.is_some_and(|before| before.seq >= line.seq) {
        return Err(fault("checkpoints are not in their order".to_owned()));
    }
    Ok((line.seq, line.chain))
}
