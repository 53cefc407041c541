//! Reading the journal, with the gate running or stopped.
//!
//! A reader holds its place as segment and offset, so that it can be kept, resumed, and is not misled
//! when a failed write was cut back. It never writes and takes no lock.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::chain::{EntryKind, SealedLine};
use super::journal::JournalError;
use super::segment::{Lines, Piece, SegmentNumber, list_begun};

/// One entry as it stands in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// File name of the segment.
    pub segment: String,
    /// Sequence number in this node's journal.
    pub seq: u64,
    pub kind: EntryKind,
    /// The whole line, without its newline.
    pub text: String,
    /// The place behind it.
    pub next: Place,
}

impl Entry {
    /// The members of the entry.
    ///
    /// # Errors
    /// The line is no JSON.
    pub fn json(&self) -> Result<serde_json::Value, JournalError> {
        serde_json::from_str(&self.text)
            .map_err(|e| JournalError(format!("entry {} of {} does not read: {e}", self.seq, self.segment)))
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A place in the journal: what comes next is the line at this offset of this segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// The segment's number; 0 is before the first.
    pub segment: u64,
    /// Bytes from its beginning.
    pub offset: u64,
}

/// Reads entries from a place on. `next` answers `None` at the end; more may come later.
pub struct Reader {
    dir: PathBuf,
    place: Place,
    open: Option<Lines>,
}

impl Reader {
    /// A reader that begins at a place; [`Place::default`] is the beginning.
    pub fn at(dir: &Path, place: Place) -> Self {
        Self { dir: dir.to_owned(), place, open: None }
    }

    /// Where the next entry will be read.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The next entry.
    ///
    /// # Errors
    /// A segment cannot be read, or a line is no entry; that line is passed over by the next call.
    pub fn read(&mut self) -> Result<Option<Entry>, JournalError> {
        if let Some(entry) = self.read_here()? {
            return Ok(Some(entry));
        }
        // The segment has ended if a later one is begun; but lines may have come between.
        while let Some(later) = self.later_segment()? {
            if let Some(entry) = self.read_here()? {
                return Ok(Some(entry));
            }
            self.place = Place { segment: later.0, offset: 0 };
            self.open = None;
            if let Some(entry) = self.read_here()? {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    fn fault(&self, error: &dyn fmt::Display) -> JournalError {
        JournalError(format!("cannot read the journal in {}: {error}", self.dir.display()))
    }

    fn later_segment(&self) -> Result<Option<SegmentNumber>, JournalError> {
        let found = list_begun(&self.dir).map_err(|e| self.fault(&e))?;
        Ok(found.into_iter().map(|(number, _)| number).find(|number| number.0 > self.place.segment))
    }

    fn read_here(&mut self) -> Result<Option<Entry>, JournalError> {
        if self.place.segment == 0 {
            return Ok(None);
        }
        let segment = SegmentNumber(self.place.segment).file_name();
        if self.open.is_none() {
            match Lines::open(&self.dir.join(&segment), self.place.offset) {
                Ok(lines) => self.open = Some(lines),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(self.fault(&error)),
            }
        }
        let Some(lines) = &mut self.open else { return Ok(None) };
        let read = match lines.read() {
            Ok(Piece::Line(line)) => Some(
                SealedLine::parse(line)
                    .map(|sealed| (sealed.seq, sealed.kind, String::from_utf8_lossy(line).into_owned())),
            ),
            Ok(Piece::Tail | Piece::End | Piece::TooLong) => None,
            Err(error) => {
                let error = error.to_string();
                self.open = None;
                return Err(self.fault(&error));
            }
        };
        let offset = lines.next_offset();
        let begun = self.place.offset;
        self.place.offset = offset;
        match read {
            // A tail was consumed by the buffer: it is read again from its beginning.
            None => {
                self.open = None;
                Ok(None)
            }
            Some(Ok((seq, kind, text))) => Ok(Some(Entry { segment, seq, kind, text, next: self.place })),
            Some(Err(reason)) => Err(self.fault(&format!("{segment}, byte {begun}: {reason}"))),
        }
    }
}

/// The end of the journal, and what comes after.
pub struct Tail {
    reader: Reader,
    last: VecDeque<Entry>,
}

/// How often a followed journal is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(100);

/// The last `count` entries that pass `keep`, and a reader of what follows them. Segments are read
/// backwards only as far as needed.
///
/// # Errors
/// The directory or a segment cannot be read.
pub fn tail(dir: &Path, count: usize, keep: &dyn Fn(&Entry) -> bool) -> Result<Tail, JournalError> {
    let segments = list_begun(dir)
        .map_err(|e| JournalError(format!("cannot read the journal in {}: {e}", dir.display())))?;
    let mut last: VecDeque<Entry> = VecDeque::new();
    let mut place = Place::default();
    for (number, _) in segments.iter().rev() {
        let mut found: VecDeque<Entry> = VecDeque::new();
        let mut reader = Reader::at(dir, Place { segment: number.0, offset: 0 });
        let wanted = count.saturating_sub(last.len());
        loop {
            match reader.read_here() {
                Ok(None) => break,
                Ok(Some(entry)) if keep(&entry) => {
                    found.push_back(entry);
                    if found.len() > wanted {
                        found.pop_front();
                    }
                }
                // What does not read is for `verify` to report.
                Ok(Some(_)) | Err(_) => {}
            }
        }
        place = place.max(reader.place());
        found.append(&mut last);
        last = found;
        if last.len() >= count {
            break;
        }
    }
    Ok(Tail { reader: Reader::at(dir, place), last })
}

impl Tail {
    /// The entries found at first, then each that was added since; `None` when there is none now.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn next_now(&mut self) -> Result<Option<Entry>, JournalError> {
        match self.last.pop_front() {
            Some(entry) => Ok(Some(entry)),
            None => self.reader.read(),
        }
    }

    /// Waits for the next entry: `tail --follow`.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub async fn next_followed(&mut self) -> Result<Entry, JournalError> {
        loop {
            if let Some(entry) = self.next_now()? {
                return Ok(entry);
            }
            tokio::time::sleep(FOLLOW_EVERY).await;
        }
    }
}

#[cfg(test)]
mod tests;
