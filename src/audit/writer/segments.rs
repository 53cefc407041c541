//! Beginning segments: at a start, when one is full, and after a failure.
//!
//! A segment exists once its opening entry and its directory are synced; before that it is removed
//! again, and the journal stands where it stood.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::Arc;

use super::{Current, Durability, Position, Writer, with_type};
use crate::audit::body::Completion;
use crate::audit::chain::{ChainHash, EntryKind, seal};
use crate::audit::segment::{Ending, FORMAT_VERSION, Opening, Previous, SegmentNumber};
use crate::model::Timestamp;

impl Writer {
    /// Begins the first segment of this boot.
    pub fn begin(
        &mut self,
        last: SegmentNumber,
        seq: u64,
        older_bytes: u64,
        previous: Option<Previous>,
        open_intents: u64,
        now: Timestamp,
    ) -> io::Result<()> {
        self.last_number = last;
        self.older_bytes = older_bytes;
        self.at.seq = seq;
        self.begin_segment(previous, Some(open_intents), now)
    }

    /// After a failure: begins a new segment, and so finds out whether the journal is whole again.
    ///
    /// # Errors
    /// Why not yet.
    pub fn mend(&mut self, now: Timestamp) -> Result<(), String> {
        let Some(broken) = &self.broken else { return Ok(()) };
        if self.config.mode == Durability::Durable && self.synced.seq < self.at.seq {
            return Err("entries written before the failure still wait for their sync".to_owned());
        }
        let previous = broken.previous.clone();
        let left = self.at.bytes.saturating_add(previous.torn_bytes);
        self.begin_segment(Some(previous), None, now)
            .map_err(|error| format!("beginning a segment failed: {error}"))?;
        self.older_bytes = self.older_bytes.saturating_add(left);
        self.broken = None;
        let carried: Vec<Completion> = self.carried.drain(..).collect();
        for batch in carried.chunks(256) {
            self.append_completions(batch, now);
        }
        Ok(())
    }

    /// Begins the next segment where this one is full. In mode `durable` the caller has synced
    /// everything.
    pub fn roll_if_full(&mut self, now: Timestamp) {
        let full = self.at.bytes >= self.config.segment_bytes_max && self.at.entries > 1;
        if !full || self.is_broken() || self.closed {
            return;
        }
        let Some(current) = &self.current else { return };
        let previous = Previous {
            segment: current.number.file_name(),
            chain: self.at.head,
            last_seq: self.at.seq,
            entries: self.at.entries,
            torn_bytes: 0,
            ending: Ending::Rolled,
        };
        let left = (Arc::clone(&current.file), self.at.bytes);
        match self.begin_segment(Some(previous), None, now) {
            Ok(()) => {
                if self.config.mode == Durability::Process {
                    self.left_behind.push(left.0);
                }
                self.older_bytes = self.older_bytes.saturating_add(left.1);
            }
            Err(error) => self.fail(&format!("beginning a segment failed: {error}"), self.at),
        }
    }

    fn begin_segment(
        &mut self,
        previous: Option<Previous>,
        open_intents: Option<u64>,
        now: Timestamp,
    ) -> io::Result<()> {
        let number = SegmentNumber(self.last_number.0.saturating_add(1));
        let opening = Opening {
            timestamp: now,
            format: FORMAT_VERSION,
            node: self.node,
            boot: self.boot,
            segment: number.file_name(),
            mode: self.config.mode,
            verifying_key: self.signing.verifying_key().to_string(),
            previous,
            open_intents,
            oldest_open_intent: (!self.recovering).then(|| self.open.first().copied().unwrap_or(0)),
        };
        let before = opening.previous.as_ref().map_or(ChainHash::GENESIS, |p| p.chain);
        let mut line = Vec::new();
        let seq = self.at.seq.saturating_add(1);
        let head = seal(&before, seq, &with_type(EntryKind::Open, &opening), &mut line);
        let file = self.create_segment(number, &line)?;
        self.last_number = number;
        self.current = Some(Current { file: Arc::new(file), number });
        self.at = Position {
            seq,
            head,
            bytes: line.len() as u64,
            entries: 1,
            boot_entries: self.at.boot_entries.saturating_add(1),
        };
        self.staged = self.at;
        self.entries_since_checkpoint = self.entries_since_checkpoint.saturating_add(1);
        self.sync_succeeded(self.at);
        Ok(())
    }

    /// A new file with its opening entry, synced with its directory, or no file.
    fn create_segment(&mut self, number: SegmentNumber, line: &[u8]) -> io::Result<File> {
        let path = self.config.dir.join(number.file_name());
        let mut options = OpenOptions::new();
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.append(true).create_new(true).open(&path).inspect_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                self.last_number = number;
            }
        })?;
        let written = (&file)
            .write_all(line)
            .and_then(|()| file.sync_data())
            .and_then(|()| File::open(&self.config.dir)?.sync_all());
        match written {
            Ok(()) => Ok(file),
            Err(error) => {
                // It may stay behind without an entry; then the next attempt takes the next number.
                if std::fs::remove_file(&path).is_err() {
                    self.last_number = number;
                }
                Err(error)
            }
        }
    }
}
