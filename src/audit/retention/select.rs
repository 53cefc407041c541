//! Which segments go: read, proved and counted, nothing written.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::{Kept, RetentionLimits, RetentionReason, SEGMENTS_MAX, Standing};
use crate::audit::chain::{ChainHash, EntryKind, SealedLine};
use crate::audit::segment::{Ending, Lines, Opening, Piece, Previous, SegmentNumber, list_begun};
use crate::keys::hex;
use crate::model::Timestamp;

const DAY_MS: i64 = 24 * 3_600_000;

/// The segments that go together, oldest first.
pub(super) struct Chosen {
    pub segments: Vec<Kept>,
    pub reason: RetentionReason,
}

/// Chooses among the segments before `before`.
///
/// # Errors
/// A sentence: a segment does not read, or does not prove.
pub(super) fn select(
    standing: &Standing,
    before: SegmentNumber,
    limits: RetentionLimits,
    now: Timestamp,
) -> Result<Chosen, String> {
    let dir = &standing.dir;
    let fault = |error: io::Error| format!("the journal in {} cannot be read: {error}", dir.display());
    let found = list_begun(dir).map_err(fault)?;
    let mut chosen = Chosen { segments: Vec::new(), reason: RetentionReason::Age };
    let mut bytes = standing.bytes;
    for pair in found.windows(2) {
        let [(number, path), (_, next)] = pair else { break };
        if *number >= before || chosen.segments.len() >= SEGMENTS_MAX {
            break;
        }
        let Some((opened, previous)) = link(next).map_err(fault)? else { break };
        if standing.oldest_open.is_some_and(|open| open <= previous.last_seq) {
            break;
        }
        let aged = limits.days_max > 0
            && now.millis_since(opened) > i64::from(limits.days_max).saturating_mul(DAY_MS);
        let crowded = limits.bytes_max > 0 && bytes > limits.bytes_max;
        if !aged && !crowded {
            break;
        }
        if !aged {
            chosen.reason = RetentionReason::Bytes;
        }
        let kept = prove(path, &number.file_name(), &previous)?;
        bytes = bytes.saturating_sub(kept.bytes);
        chosen.segments.push(kept);
    }
    Ok(chosen)
}

/// When a segment was begun, and what it says of the one before.
fn link(path: &Path) -> io::Result<Option<(Timestamp, Previous)>> {
    Ok(match Lines::open(path, 0)?.read()? {
        Piece::Line(line) => serde_json::from_slice::<Opening>(line)
            .ok()
            .and_then(|opening| Some((opening.timestamp, opening.previous?))),
        _ => None,
    })
}

/// Follows a segment's chain to the end that its successor names: what does not prove is not dropped.
fn prove(path: &Path, name: &str, said: &Previous) -> Result<Kept, String> {
    let refuse = |reason: &str| {
        format!("{name} is not dropped: {reason}; `wicket audit verify` says more, and a person must decide")
    };
    if said.segment != name || said.ending == Ending::Damaged {
        return Err(refuse("its successor does not vouch for it"));
    }
    let unreadable = |error: io::Error| refuse(&error.to_string());
    let mut lines = Lines::open(path, 0).map_err(unreadable)?;
    let mut head = None;
    let (mut first_seq, mut last_seq, mut entries, mut checkpoint) = (0, 0, 0u64, None);
    while entries < said.entries {
        let Piece::Line(line) = lines.read().map_err(unreadable)? else {
            return Err(refuse("entries are missing at its end"));
        };
        let sealed = SealedLine::parse(line).map_err(refuse)?;
        let before = match head {
            Some(head) => head,
            None => opening_head(line).ok_or_else(|| refuse("its opening entry does not read"))?,
        };
        if !sealed.follows(&before) {
            return Err(refuse(&format!("the chain breaks at entry {}", sealed.seq)));
        }
        if entries == 0 {
            first_seq = sealed.seq;
        }
        if matches!(sealed.kind, EntryKind::Checkpoint | EntryKind::Close) {
            checkpoint = Some(String::from_utf8_lossy(line).into_owned());
        }
        (head, last_seq, entries) = (Some(sealed.chain), sealed.seq, entries + 1);
    }
    if head != Some(said.chain) || last_seq != said.last_seq {
        return Err(refuse("its successor follows another end of it"));
    }
    let (bytes, sha256) = digest(path).map_err(unreadable)?;
    let segment = name.to_owned();
    Ok(Kept { segment, first_seq, last_seq, entries, bytes, chain: said.chain, sha256, checkpoint })
}

fn opening_head(line: &[u8]) -> Option<ChainHash> {
    let opening: Opening = serde_json::from_slice(line).ok()?;
    Some(opening.previous.map_or(ChainHash::GENESIS, |previous| previous.chain))
}

fn digest(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    let mut bytes = 0u64;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex(&<[u8; 32]>::from(hasher.finalize()))));
        }
        bytes = bytes.saturating_add(read as u64);
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
}
