//! What earlier boots left: where the chain ended, and which calls nobody completed.
//!
//! Reads, never writes: an old segment is not repaired but linked to, its torn bytes counted in the
//! next opening entry. Open intents are looked for in the last boot, and in the boots before as long
//! as a recovery was itself cut short. The end is compared with the witness, if there is one.

mod witnessed;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use uuid::Uuid;

use super::chain::{ChainHash, EntryKind, SealedLine};
use super::journal::{JournalError, Recovery};
use super::segment::{Ending, Lines, Opening, Piece, Previous, SegmentNumber, Witnessed, list};
use crate::keys::VerifyingKey;
use crate::model::CallId;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Past {
    pub last_number: u64,
    /// The highest number that is used up, in the journal or by its witness: none is used twice.
    pub last_seq: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    pub previous: Option<Previous>,
    /// Open intents with their sequence numbers, in their order.
    pub open: Vec<(CallId, u64)>,
    /// Segments that hold something.
    pub segments: u64,
    /// The checkpoint of the witness that the journal ends before.
    pub shorter_than_witness: Option<Witnessed>,
    complaint: Option<String>,
}

impl Past {
    pub fn recovery(&self) -> Recovery {
        let previous = self.previous.as_ref();
        Recovery {
            open_intents: self.open.len() as u64,
            torn_bytes: previous.map_or(0, |p| p.torn_bytes),
            segments: self.segments,
            damaged: self.complaint.clone().or_else(|| {
                previous.filter(|p| p.ending == Ending::Damaged).map(|p| {
                    format!(
                        "{} is unreadable behind its entry {}; run `wicket audit verify`",
                        p.segment, p.entries
                    )
                })
            }),
        }
    }
}

struct Found {
    number: SegmentNumber,
    path: PathBuf,
    opening: Option<Opening>,
}

/// Reads what the directory holds.
///
/// # Errors
/// The directory or a segment cannot be read.
pub(super) fn survey(
    dir: &Path,
    witness: &Path,
    node: Uuid,
    key: &VerifyingKey,
) -> Result<Past, JournalError> {
    let fault = |error: std::io::Error| JournalError(format!("cannot read {}: {error}", dir.display()));
    let files = list(dir).map_err(fault)?;
    let mut past = Past::default();
    let mut found = Vec::new();
    for (number, path) in files {
        past.last_number = number.0;
        past.bytes = past.bytes.saturating_add(std::fs::metadata(&path).map_err(fault)?.len());
        // A file without one whole line was never a segment: its boot died while beginning it.
        if let Some(opening) = first_line(&path).map_err(fault)? {
            found.push(Found { number, path, opening });
        }
    }
    past.segments = found.len() as u64;
    let mut last_good = 0;
    if let Some(last) = found.last() {
        let end = read_end(last).map_err(fault)?;
        last_good = end.previous.last_seq;
        past.last_seq = end.last_seq_seen;
        past.previous = Some(end.previous);
        past.open = open_intents(&found).map_err(fault)?;
    }
    let compared = witnessed::compare(witness, node, key, &found, last_good)
        .map_err(|error| JournalError(format!("cannot read the witness {}: {error}", witness.display())))?;
    past.complaint = compared.complaint;
    past.shorter_than_witness = compared.lacks;
    past.last_seq = past.last_seq.max(compared.lacks.map_or(0, |lacks| lacks.seq));
    Ok(past)
}

/// The opening entry; `Some(None)` where the first line is whole and no opening entry.
fn first_line(path: &Path) -> std::io::Result<Option<Option<Opening>>> {
    let mut lines = Lines::open(path, 0)?;
    Ok(match lines.read()? {
        Piece::Line(line) => Some(serde_json::from_slice(line).ok()),
        Piece::TooLong => Some(None),
        Piece::Tail | Piece::End => None,
    })
}

struct End {
    previous: Previous,
    last_seq_seen: u64,
}

/// Follows the chain of the last segment to where it ends.
fn read_end(last: &Found) -> std::io::Result<End> {
    let length = std::fs::metadata(&last.path)?.len();
    let start = last.opening.as_ref().and_then(|o| o.previous.as_ref());
    let mut head = start.map_or(ChainHash::GENESIS, |p| p.chain);
    let mut good = (start.map_or(0, |p| p.last_seq), 0u64, 0u64);
    let (mut last_seq_seen, mut last_kind, mut intact, mut damaged) = (good.0, None, true, false);
    let mut lines = Lines::open(&last.path, 0)?;
    loop {
        let next = match lines.read()? {
            Piece::End | Piece::Tail => break,
            Piece::TooLong => {
                damaged = true;
                break;
            }
            Piece::Line(line) => {
                SealedLine::parse(line).ok().map(|l| (l.seq, l.kind, l.chain, l.follows(&head)))
            }
        };
        match next {
            // An opening entry may stand behind a gap: numbers that its boot knew to be used up.
            Some((seq, kind, chain, true))
                if intact && (seq == good.0.saturating_add(1) || (good.1 == 0 && seq > good.0)) =>
            {
                head = chain;
                good = (seq, good.1.saturating_add(1), lines.next_offset());
                last_kind = Some(kind);
            }
            _ => (intact, damaged) = (false, true),
        }
        last_seq_seen = last_seq_seen.max(next.map_or(0, |(seq, ..)| seq));
    }
    let torn_bytes = length.saturating_sub(good.2);
    let ending = match last_kind {
        _ if damaged => Ending::Damaged,
        _ if torn_bytes > 0 => Ending::Torn,
        Some(EntryKind::Close) => Ending::Closed,
        _ => Ending::Killed,
    };
    let previous = Previous {
        segment: last.number.file_name(),
        chain: head,
        last_seq: good.0,
        entries: good.1,
        torn_bytes,
        ending,
    };
    Ok(End { previous, last_seq_seen })
}

#[derive(Deserialize)]
struct CallEntry {
    call: CallId,
    #[serde(default)]
    recovered: bool,
}

/// Open intents of the last boot and, where its own recovery was cut short, of those before.
fn open_intents(found: &[Found]) -> std::io::Result<Vec<(CallId, u64)>> {
    if let Some(start) = oldest_open(found) {
        return Ok(scan(found.get(start..).unwrap_or_default())?.0);
    }
    let mut end = found.len();
    loop {
        let start = boot_start(found, end);
        let boot = found.get(start..end).unwrap_or_default();
        let stated: u64 = boot.iter().filter_map(|f| f.opening.as_ref()?.open_intents).sum();
        let (open, recovered) = scan(boot)?;
        if start == 0 || recovered >= stated {
            let all = if end == found.len() { open } else { scan(found.get(start..).unwrap_or_default())?.0 };
            return Ok(all);
        }
        end = start;
    }
}

/// Where the oldest open intent is, if the last segment's opening entry says it: that entry is written
/// when the recovery of its own boot is done. A long boot is then not read from its start.
fn oldest_open(found: &[Found]) -> Option<usize> {
    let oldest = found.last()?.opening.as_ref()?.oldest_open_intent?;
    let first_seq = |f: &Found| -> Option<u64> {
        Some(f.opening.as_ref()?.previous.as_ref().map_or(1, |p| p.last_seq.saturating_add(1)))
    };
    if oldest == 0 {
        return found.len().checked_sub(1);
    }
    found.iter().rposition(|f| first_seq(f).is_some_and(|seq| seq <= oldest))
}

/// The index of the first segment of the boot that the segment before `end` belongs to.
fn boot_start(found: &[Found], end: usize) -> usize {
    let boot = |index: usize| found.get(index).and_then(|f| f.opening.as_ref()).map(|o| o.boot);
    let mut start = end.saturating_sub(1);
    let this: Option<Uuid> = boot(start);
    while start > 0 && (boot(start).is_none() || boot(start.saturating_sub(1)) == this) {
        start = start.saturating_sub(1);
    }
    start
}

/// Intents without completion, and the number of recovered completions. What does not read is
/// passed over: `verify` speaks about it.
fn scan(segments: &[Found]) -> std::io::Result<(Vec<(CallId, u64)>, u64)> {
    let mut open: BTreeMap<u64, CallId> = BTreeMap::new();
    let mut by_call: std::collections::HashMap<CallId, u64> = std::collections::HashMap::new();
    let mut recovered = 0u64;
    for segment in segments {
        let mut lines = Lines::open(&segment.path, 0)?;
        while let Piece::Line(line) = lines.read()? {
            let Ok(sealed) = SealedLine::parse(line) else { continue };
            if !matches!(sealed.kind, EntryKind::Intent | EntryKind::Completion) {
                continue;
            }
            let Ok(entry) = serde_json::from_slice::<CallEntry>(line) else { continue };
            if sealed.kind == EntryKind::Intent {
                open.insert(sealed.seq, entry.call);
                by_call.insert(entry.call, sealed.seq);
            } else {
                recovered = recovered.saturating_add(u64::from(entry.recovered));
                if let Some(seq) = by_call.remove(&entry.call) {
                    open.remove(&seq);
                }
            }
        }
    }
    Ok((open.into_iter().map(|(seq, call)| (call, seq)).collect(), recovered))
}
