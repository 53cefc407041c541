//! The walk over the segments.

use std::path::Path;

use uuid::Uuid;

use super::retained::Retained;
use super::witness::Witness;
use super::{VerifyFault, VerifyReport};
use crate::audit::chain::{ChainHash, EntryKind, SealedLine};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::journal::JournalError;
use crate::audit::segment::{Ending, FORMAT_VERSION, Lines, Opening, Piece, Previous, list};
use crate::keys::VerifyingKey;
use crate::model::Timestamp;

/// Where the walk stands.
struct Walk<'k> {
    key: &'k VerifyingKey,
    witness: Witness,
    node: Option<Uuid>,
    boot: Option<Uuid>,
    boot_entries: u64,
    seq: u64,
    head: ChainHash,
    entries: u64,
    checkpoints: u64,
    last_checkpoint: Option<Timestamp>,
    since_checkpoint: u64,
    closed: bool,
    notes: Vec<String>,
    retention: Retained,
}

pub(super) fn walk(dir: &Path, key: &VerifyingKey, witness: Witness) -> Result<VerifyReport, JournalError> {
    let fault = |error: std::io::Error| {
        JournalError(format!("cannot read the journal in {}: {error}", dir.display()))
    };
    let files = list(dir).map_err(fault)?;
    let mut walk = Walk {
        key,
        witness,
        node: None,
        boot: None,
        boot_entries: 0,
        seq: 0,
        head: ChainHash::GENESIS,
        entries: 0,
        checkpoints: 0,
        last_checkpoint: None,
        since_checkpoint: 0,
        closed: false,
        notes: Vec::new(),
        retention: Retained::default(),
    };
    let last_file = files.last().map(|(number, _)| *number);
    let mut segments = Vec::new();
    for (number, path) in files {
        match Lines::open(&path, 0)
            .and_then(|mut lines| lines.read().map(|piece| matches!(piece, Piece::Tail | Piece::End)))
        {
            Ok(false) => segments.push((number.file_name(), path)),
            // The next segment's file is made ahead.
            Ok(true) if Some(number) == last_file => {}
            Ok(true) => walk
                .notes
                .push(format!("{} holds no entry: a boot died while beginning it", number.file_name())),
            Err(error) => return Err(fault(error)),
        }
    }
    let mut report_fault = None;
    let mut tail_bytes = 0;
    let mut before: Option<Previous> = None;
    for (index, (name, path)) in segments.iter().enumerate() {
        let next = segments.get(index + 1).map(|(_, path)| path.as_path());
        match walk.segment(name, path, before.as_ref(), next).map_err(fault)? {
            End::Segment(previous, tail) => {
                tail_bytes = tail;
                before = Some(previous);
            }
            End::Fault(found) => {
                report_fault = Some(found);
                break;
            }
        }
    }
    let last = before.as_ref().map_or_else(|| "(no segment)".to_owned(), |p| p.segment.clone());
    let lines = before.as_ref().map_or(0, |p| p.entries);
    let fault = report_fault.or_else(|| walk.retention.fault(dir, key)).or_else(|| walk.cut(last, lines));
    if fault.is_some() && walk.witness.fault.is_none() && walk.witness.unmet().is_some() {
        walk.witness.fault = fault.clone();
    }
    if fault.is_some()
        && let Some(before) = walk.retention.unproved()
    {
        walk.notes.push(format!("what came before {before} is not proved: the walk did not come to the end"));
    }
    Ok(walk.report(segments.len() as u64, tail_bytes, fault))
}

enum End {
    /// How the segment ended, and the bytes behind its last entry that nobody has acknowledged.
    Segment(Previous, u64),
    Fault(VerifyFault),
}

impl Walk<'_> {
    fn segment(
        &mut self,
        name: &str,
        path: &Path,
        before: Option<&Previous>,
        next: Option<&Path>,
    ) -> std::io::Result<End> {
        let length = std::fs::metadata(path)?.len();
        // What the successor acknowledges decides how many lines of this one count.
        let acknowledged = match next {
            Some(next) => read_opening(next)?.and_then(|o| o.previous).filter(|p| p.segment == name),
            None => None,
        };
        let entries_max = acknowledged.as_ref().map_or(u64::MAX, |p| p.entries);
        let mut lines = Lines::open(path, 0)?;
        let (mut line_number, mut good_bytes) = (0u64, 0u64);
        while line_number < entries_max {
            let fault = match lines.read()? {
                Piece::Tail | Piece::End => break,
                Piece::TooLong => Some((None, "the line is longer than any entry".to_owned())),
                Piece::Line(line) => self.line(name, line_number == 0, line, before).err(),
            };
            line_number += 1;
            if let Some((seq, reason)) = fault {
                let seq = seq.or(Some(self.seq.saturating_add(1)));
                return Ok(End::Fault(VerifyFault { file: name.to_owned(), line: line_number, seq, reason }));
            }
            good_bytes = lines.next_offset();
        }
        let here = Previous {
            segment: name.to_owned(),
            chain: self.head,
            last_seq: self.seq,
            entries: line_number,
            torn_bytes: length.saturating_sub(good_bytes),
            ending: Ending::Killed,
        };
        Ok(self.ending(here, acknowledged))
    }

    /// Compares how a segment ends with what its successor says of it.
    fn ending(&mut self, here: Previous, acknowledged: Option<Previous>) -> End {
        let at = |reason: String| {
            End::Fault(VerifyFault {
                file: here.segment.clone(),
                line: here.entries.saturating_add(1),
                seq: Some(here.last_seq.saturating_add(1)),
                reason,
            })
        };
        let Some(said) = acknowledged else {
            let tail = here.torn_bytes;
            return End::Segment(here, tail);
        };
        if said.entries > here.entries {
            return at(format!(
                "{} entries are missing here: the next segment counted {}",
                said.entries - here.entries,
                said.entries
            ));
        }
        if said.chain != here.chain || said.last_seq != here.last_seq {
            return at("the next segment follows another end of this one".to_owned());
        }
        if here.torn_bytes > said.torn_bytes {
            return at(format!(
                "{} bytes behind the last entry, where the next segment found {}",
                here.torn_bytes, said.torn_bytes
            ));
        }
        self.retention.pass(&said);
        match said.ending {
            Ending::Damaged => {
                return at(format!(
                    "unreadable when the next boot began: {} bytes are lost from here on",
                    said.torn_bytes
                ));
            }
            Ending::Cut => self.notes.push(format!(
                "{}: writing failed behind entry {}; {} bytes were disowned, no call was forwarded for them",
                said.segment, said.last_seq, said.torn_bytes
            )),
            Ending::Torn => self.notes.push(format!(
                "{}: a crash tore {} bytes behind entry {}",
                said.segment, said.torn_bytes, said.last_seq
            )),
            Ending::Closed | Ending::Rolled | Ending::Killed => {}
        }
        End::Segment(said, 0)
    }

    /// Checks one line in its place.
    fn line(
        &mut self,
        name: &str,
        first: bool,
        text: &[u8],
        before: Option<&Previous>,
    ) -> Result<(), (Option<u64>, String)> {
        let line = SealedLine::parse(text).map_err(|reason| (None, reason.to_owned()))?;
        let fault = |reason: String| (Some(line.seq), reason);
        if serde_json::from_slice::<serde::de::IgnoredAny>(text).is_err() {
            return Err(fault("the line is no JSON".to_owned()));
        }
        if first != (line.kind == EntryKind::Open) {
            return Err(fault("an opening entry stands first in a segment, and only there".to_owned()));
        }
        if first {
            // The number is checked against the opening's own link first: it says which segment is
            // missing where one is.
            self.opening(name, text, before).map_err(fault)?;
        }
        if line.seq != self.seq.saturating_add(1) {
            return Err(fault(format!("entry {} should stand here", self.seq.saturating_add(1))));
        }
        if !line.follows(&self.head) {
            return Err(fault("the chain breaks: this entry or its place was changed".to_owned()));
        }
        self.closed = line.kind == EntryKind::Close;
        self.since_checkpoint = self.since_checkpoint.saturating_add(1);
        if matches!(line.kind, EntryKind::Checkpoint | EntryKind::Close) {
            self.checkpoint(&line, text).map_err(fault)?;
        }
        if line.kind == EntryKind::Retention {
            self.retention.claim(text).map_err(fault)?;
        }
        self.witness.meet(line.seq, line.kind, &line.chain).map_err(fault)?;
        self.seq = line.seq;
        self.head = line.chain;
        self.entries = self.entries.saturating_add(1);
        self.boot_entries = self.boot_entries.saturating_add(1);
        Ok(())
    }

    fn opening(&mut self, name: &str, text: &[u8], before: Option<&Previous>) -> Result<(), String> {
        let opening: Opening =
            serde_json::from_slice(text).map_err(|e| format!("the opening entry does not read: {e}"))?;
        if opening.format != FORMAT_VERSION {
            return Err(format!("format {} is unknown to this version", opening.format));
        }
        if opening.segment != name {
            return Err(format!("this is {}, under another name", opening.segment.escape_default()));
        }
        if self.node.is_some_and(|node| node != opening.node) {
            return Err("another node wrote this segment".to_owned());
        }
        match (&opening.previous, before) {
            (None, None) => {}
            (None, Some(before)) => return Err(format!("it does not follow {}", before.segment)),
            (Some(said), None) => {
                // Whether it was dropped lawfully is known when the walk is over.
                self.seq = said.last_seq;
                self.head = said.chain;
                self.witness.pass(said.last_seq);
                self.retention.begin(name, said, opening.open_intents.is_none());
            }
            (Some(said), Some(before)) if said.segment != before.segment => {
                return Err(format!("segment {} before it is missing", said.segment.escape_default()));
            }
            (Some(_), Some(_)) => {}
        }
        if let Some(lost) = opening.shorter_than_witness {
            return Err(format!(
                "when this boot began the journal ended at entry {}, but its witness held checkpoint {}: what lay between is lost",
                self.seq, lost.seq
            ));
        }
        self.node = Some(opening.node);
        if self.boot != Some(opening.boot) {
            self.boot = Some(opening.boot);
            self.boot_entries = 0;
            if before.is_some() {
                self.retention.next_boot();
            }
        }
        Ok(())
    }

    fn checkpoint(&mut self, line: &SealedLine<'_>, text: &[u8]) -> Result<(), String> {
        let checkpoint = Checkpoint::check(line, text, self.key)?;
        if self.retention.within_boot() {
            // The part of this boot that was dropped is counted by the first signature that covers it.
            self.boot_entries = checkpoint.entries;
        }
        if checkpoint.head != self.head || checkpoint.entries != self.boot_entries {
            return Err("the checkpoint signs another chain: entries before it were changed".to_owned());
        }
        if Some(checkpoint.boot) != self.boot || Some(checkpoint.node) != self.node {
            return Err("the checkpoint is of another boot".to_owned());
        }
        self.checkpoints = self.checkpoints.saturating_add(1);
        self.last_checkpoint = Some(checkpoint.timestamp);
        self.retention.attest();
        self.since_checkpoint = 0;
        Ok(())
    }

    /// Whether the witness knows of checkpoints that the journal should hold and does not.
    fn cut(&self, file: String, entries: u64) -> Option<VerifyFault> {
        if let Some(fault) = &self.witness.fault {
            return Some(fault.clone());
        }
        let unmet = self.witness.unmet()?;
        Some(VerifyFault {
            file,
            line: entries.saturating_add(1),
            seq: Some(self.seq.saturating_add(1)),
            reason: format!(
                "the journal ends here, but the witness holds checkpoint {} (line {} there)",
                unmet.seq, unmet.line
            ),
        })
    }

    fn report(self, segments: u64, tail_bytes: u64, fault: Option<VerifyFault>) -> VerifyReport {
        VerifyReport {
            segments,
            entries: self.entries,
            checkpoints: self.checkpoints,
            last_seq: self.seq,
            head: self.head.to_string(),
            fault,
            last_checkpoint: self.last_checkpoint,
            unattested_entries: self.since_checkpoint,
            closed: self.closed,
            tail_bytes,
            notes: self.notes,
            dropped: self.retention.report(),
            witness: self.witness.state(),
        }
    }
}

fn read_opening(path: &Path) -> std::io::Result<Option<Opening>> {
    match Lines::open(path, 0)?.read()? {
        Piece::Line(line) => Ok(serde_json::from_slice(line).ok()),
        _ => Ok(None),
    }
}
