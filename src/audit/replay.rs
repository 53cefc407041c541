//! The journal read for a replay: calls, how they ended, and sessions' checkpoints, of a span of time.
//!
//! Invariants: nothing is written and no lock is taken, so that it works beside a running gate; lines are
//! read in their order, whole segments outside the span are not opened but for their first line; of a
//! line only what is asked for is kept. What is no entry is counted and passed over: `verify` is what
//! judges a journal.

mod line;

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

pub use self::line::{CallEnd, CallLine, HistoryLine, Line, PolicyLine, ShadowLine};

use self::line::Sessions;
use super::chain::EntryKind;
use super::journal::JournalError;
use super::segment::{Lines, Opening, Piece, SegmentNumber, list_begun};
use crate::model::Timestamp;

/// How much later than its time a call may stand in the journal, or end, in milliseconds: a call lives for
/// ten minutes at most.
const LATE_MS: i64 = 660_000;

/// What of the journal to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: Timestamp,
    pub to: Timestamp,
    /// Whether ends of calls and checkpoints of sessions are asked for as well.
    pub counters: bool,
}

/// How far a reading has come, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    pub read: u64,
    pub of: u64,
}

/// What a journal holds of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// From when on every call is there; `None` where nothing came before.
    pub since: Option<Timestamp>,
    segments: Vec<(PathBuf, u64)>,
}

/// Finds the segments that a span needs.
///
/// # Errors
/// The directory cannot be read.
pub fn find(dir: &Path, span: &Span) -> Result<Found, JournalError> {
    let fault =
        |error: io::Error| JournalError(format!("cannot read the journal in {}: {error}", dir.display()));
    let mut begun = Vec::new();
    for (number, path) in list_begun(dir).map_err(fault)? {
        // One that retention drops meanwhile, or whose first line is damaged, is taken for as early as the
        // one before: it is then read rather than left out.
        let earlier = begun.last().map_or(i64::MIN, |(_, _, at): &(SegmentNumber, PathBuf, i64)| *at);
        let at = opened(&path).map_or(earlier, Timestamp::as_millis);
        begun.push((number, path, at));
    }
    let before = begun.iter().rposition(|(.., at)| *at <= span.from.as_millis());
    let first = before.unwrap_or(0);
    let late = span.to.as_millis().saturating_add(LATE_MS);
    let needed = begun.iter().skip(first).take_while(|(.., at)| *at <= late);
    let bytes = |path: &Path| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    let segments = needed.map(|(_, path, _)| (path.clone(), bytes(path))).collect();
    let since = match (before, begun.get(first)) {
        (_, None | Some((SegmentNumber(1), ..))) => None,
        (Some(_), _) => Some(span.from),
        (None, Some((_, _, at))) => Some(Timestamp::from_millis(*at)),
    };
    Ok(Found { since, segments })
}

/// When a segment was begun.
fn opened(path: &Path) -> Option<Timestamp> {
    let mut lines = Lines::open(path, 0).ok()?;
    let Ok(Piece::Line(line)) = lines.read() else { return None };
    serde_json::from_slice::<Opening>(line).ok().map(|opening| opening.timestamp)
}

/// Hands the lines of a span to `take`, in their order, until it breaks off.
///
/// # Errors
/// A segment cannot be read.
pub fn read(
    found: &Found,
    span: &Span,
    take: &mut dyn FnMut(Line<'_>, Progress) -> ControlFlow<()>,
) -> Result<(), JournalError> {
    let of = found.segments.iter().map(|(_, bytes)| *bytes).fold(0, u64::saturating_add);
    let mut progress = Progress { read: 0, of };
    let mut sessions = Sessions::default();
    for (path, bytes) in &found.segments {
        let before = progress.read;
        let fault = |error: io::Error| JournalError(format!("cannot read {}: {error}", path.display()));
        let mut lines = match Lines::open(path, 0) {
            Ok(lines) => lines,
            // Retention has dropped it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(fault(error)),
        };
        loop {
            let offset = lines.next_offset();
            progress.read = before.saturating_add(offset).min(of);
            let line = match lines.read().map_err(fault)? {
                Piece::Line(line) => line,
                Piece::Tail | Piece::End => break,
                Piece::TooLong => {
                    let _broken_off = take(Line::Unreadable, progress);
                    break;
                }
            };
            let Some(kind) = kind_of(line) else {
                if take(Line::Unreadable, progress).is_break() {
                    return Ok(());
                }
                continue;
            };
            let told = match kind {
                EntryKind::Intent | EntryKind::Denial => Some(Line::of_call(line)),
                EntryKind::Completion if span.counters => Line::of_completion(line),
                EntryKind::Session if span.counters => sessions.take(line),
                _ => None,
            };
            if let Some(told) = told
                && take(told, progress).is_break()
            {
                return Ok(());
            }
        }
        progress.read = before.saturating_add(*bytes).min(of);
    }
    Ok(())
}

/// The type of an entry, from where it stands in each line.
fn kind_of(line: &[u8]) -> Option<EntryKind> {
    let rest = line.strip_prefix(b"{\"seq\":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = rest.get(digits..)?.strip_prefix(b",\"type\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let word = rest.get(..end)?;
    EntryKind::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == word)
}

#[cfg(test)]
mod tests;
