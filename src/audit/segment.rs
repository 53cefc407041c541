//! The files of the journal: `segment-00000001.jsonl` and so on, in the order of their numbers.
//!
//! A segment is written by one boot, only ever at its end, and never again once the next one has
//! begun. Its first entry says which segment came before and how that one ended.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::chain::{ChainHash, LINE_BYTES_MAX};
use crate::model::Timestamp;

/// The journal's format, in each opening entry.
pub const FORMAT_VERSION: u32 = 1;

/// A segment's number, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentNumber(pub u64);

impl SegmentNumber {
    /// The file's name.
    pub fn file_name(self) -> String {
        format!("segment-{:08}.jsonl", self.0)
    }

    /// The number of a file name that is exactly in this form.
    pub fn parse(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("segment-")?.strip_suffix(".jsonl")?;
        let number = Self(digits.parse().ok()?);
        (number.file_name() == name).then_some(number)
    }
}

/// The segments of a directory, oldest first.
///
/// # Errors
/// The directory cannot be read.
pub fn list(dir: &Path) -> io::Result<Vec<(SegmentNumber, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if let Some(number) = entry.file_name().to_str().and_then(SegmentNumber::parse) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// The segments that hold something. The next one's file is made ahead, empty: as long as it is that, the
/// one before may still grow.
///
/// # Errors
/// The directory cannot be read.
pub fn list_begun(dir: &Path) -> io::Result<Vec<(SegmentNumber, PathBuf)>> {
    let mut found = list(dir)?;
    // One that retention has dropped meanwhile is as good as not listed.
    found.retain(|(_, path)| std::fs::metadata(path).is_ok_and(|m| m.len() > 0));
    Ok(found)
}

/// How the previous segment ended, as far as its successor could tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// Its boot stopped in order, with a closing entry.
    Closed,
    /// It was full; the same boot goes on.
    Rolled,
    /// Its boot died; the last line is whole.
    Killed,
    /// Its boot died within a line: `tornBytes` at the end are no entry.
    Torn,
    /// Writing or syncing failed: `tornBytes` at the end were never acknowledged to anyone.
    Cut,
    /// Whole lines at its end were unreadable. Somebody changed the file, or a disk lost it.
    Damaged,
}

/// The link from a segment to the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Previous {
    pub segment: String,
    /// Chain value and sequence number of its last entry.
    pub chain: ChainHash,
    pub last_seq: u64,
    /// Entries in it.
    pub entries: u64,
    /// Bytes behind its last entry.
    pub torn_bytes: u64,
    pub ending: Ending,
}

/// The first entry of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    pub timestamp: Timestamp,
    pub format: u32,
    pub node: Uuid,
    pub boot: Uuid,
    /// This segment's own file name.
    pub segment: String,
    pub mode: super::Durability,
    /// The public key of the checkpoints, for information: trust comes from elsewhere.
    pub verifying_key: String,
    /// Absent in the first segment of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Previous>,
    /// In the first segment of a boot: intents without completion that earlier boots left, each
    /// completed as `unknown` by an entry that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_intents: Option<u64>,
    /// In later segments of a boot: the oldest intent that is still open, 0 for none, so that the
    /// next start need not read the whole boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_open_intent: Option<u64>,
    /// In the first segment of a boot: the checkpoint that the witness held and the journal did not.
    /// The numbers up to it are not used again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shorter_than_witness: Option<Witnessed>,
}

/// A checkpoint as the witness holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Witnessed {
    pub seq: u64,
    pub chain: ChainHash,
}

/// A reader of lines that knows how long a line may be and where it stands.
pub struct Lines {
    reader: BufReader<File>,
    line: Vec<u8>,
    /// Bytes before the line that was read last.
    offset: u64,
    next: u64,
}

/// What the reader found.
pub enum Piece<'a> {
    /// A line, without its newline.
    Line(&'a [u8]),
    /// Bytes at the end of the file without a newline.
    Tail,
    /// A line longer than any entry.
    TooLong,
    End,
}

impl Lines {
    /// Reads a file from an offset that begins a line.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, from: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        Ok(Self {
            reader: BufReader::with_capacity(128 << 10, file),
            line: Vec::new(),
            offset: from,
            next: from,
        })
    }

    /// Where the next line begins.
    pub const fn next_offset(&self) -> u64 {
        self.next
    }

    /// The next line.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self) -> io::Result<Piece<'_>> {
        self.line.clear();
        self.offset = self.next;
        let max = LINE_BYTES_MAX as u64;
        let read = Read::by_ref(&mut self.reader).take(max + 1).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(Piece::End);
        }
        if self.line.last() != Some(&b'\n') {
            // The tail is not consumed: a follower reads it again once it is whole.
            return Ok(if read as u64 > max { Piece::TooLong } else { Piece::Tail });
        }
        self.next = self.offset.saturating_add(read as u64);
        self.line.pop();
        Ok(Piece::Line(&self.line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_are_listed_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["segment-00000010.jsonl", "segment-00000002.jsonl", "segment-2.jsonl", "x", "segment-.jsonl"]
        {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let numbers: Vec<u64> = list(dir.path()).unwrap().iter().map(|(n, _)| n.0).collect();
        assert_eq!(numbers, [2, 10]);
        assert_eq!(SegmentNumber(123_456_789).file_name(), "segment-123456789.jsonl");
    }

    #[test]
    fn lines_tails_and_monsters_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "one\n\ntwo").unwrap();
        let mut lines = Lines::open(&path, 0).unwrap();
        assert!(matches!(lines.read().unwrap(), Piece::Line(b"one")));
        assert!(matches!(lines.read().unwrap(), Piece::Line(b"")));
        assert!(matches!(lines.read().unwrap(), Piece::Tail));
        assert_eq!(lines.next_offset(), 5);
        std::fs::write(&path, "x".repeat(LINE_BYTES_MAX + 1)).unwrap();
        assert!(matches!(Lines::open(&path, 0).unwrap().read().unwrap(), Piece::TooLong));
    }
}
