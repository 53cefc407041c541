//! A start compares the journal with the last line of its witness: what `verify` does for all of it,
//! for the one question that a start must not leave to somebody's asking.
//!
//! A journal that is shorter than its witness was cut, restored from a copy, or lost to a disk that
//! lied. The gate goes on, loudly: see docs/decisions/0014.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use uuid::Uuid;

use super::Found;
use crate::audit::chain::{ChainHash, LINE_BYTES_MAX, SealedLine};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::segment::{Lines, Piece, Witnessed};
use crate::keys::VerifyingKey;

/// A first boot that died before it handed over its first checkpoint left no more entries than this.
const UNWITNESSED_MAX: u64 = 2;

/// What the comparison found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// The checkpoint that the journal lacks or has another entry for.
    pub lacks: Option<Witnessed>,
    /// For people: what is wrong and what to do.
    pub complaint: Option<String>,
}

/// Compares the last good entry with the last checkpoint of the witness.
pub(super) fn compare(
    witness: &Path,
    node: Uuid,
    key: &VerifyingKey,
    found: &[Found],
    last_seq: u64,
) -> io::Result<Compared> {
    let name = witness.display();
    let complain = |text: String| Compared {
        lacks: None,
        complaint: Some(format!("{text}; run `wicket audit verify` and compare with your copies")),
    };
    let Some(line) = last_line(witness)? else {
        return Ok(if last_seq > UNWITNESSED_MAX {
            complain(format!(
                "the journal holds {last_seq} entries, but its witness {name} is not there or is empty"
            ))
        } else {
            Compared::default()
        });
    };
    let read = SealedLine::parse(&line).map_err(str::to_owned).and_then(|sealed| {
        Checkpoint::check(&sealed, &line, key).map(|read| (sealed.seq, sealed.chain, read))
    });
    let (seq, chain, checkpoint) = match read {
        Ok(read) => read,
        Err(reason) => {
            return Ok(complain(format!("the last line of the witness {name} is not good: {reason}")));
        }
    };
    if checkpoint.node != node {
        return Ok(complain(format!("the witness {name} is another node's ({})", checkpoint.node)));
    }
    let lacks = Some(Witnessed { seq, chain });
    if seq > last_seq {
        return Ok(Compared {
            lacks,
            ..complain(format!(
                "the journal ends at entry {last_seq}, but its witness {name} holds checkpoint {seq}: entries are lost"
            ))
        });
    }
    if chain_at(found, seq)? != Some(chain) {
        return Ok(Compared {
            lacks: None,
            ..complain(format!(
                "entry {seq} of the journal is not the checkpoint that its witness {name} holds"
            ))
        });
    }
    Ok(Compared::default())
}

/// The last whole line of a file, if there is one.
fn last_line(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let length = file.metadata()?.len();
    let from = length.saturating_sub(2 * LINE_BYTES_MAX as u64);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(2 * LINE_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|b| *b == b'\n');
    let line = whole.and_then(|end| bytes.get(..end)).and_then(|text| text.rsplit(|b| *b == b'\n').next());
    Ok(line.map(<[u8]>::to_vec))
}

/// The chain value of an entry, looked for in the one segment that can hold it.
fn chain_at(found: &[Found], seq: u64) -> io::Result<Option<ChainHash>> {
    let begins =
        |one: &Found| one.opening.as_ref().and_then(|o| o.previous.as_ref()).map_or(0, |p| p.last_seq);
    let Some(segment) = found.iter().rev().find(|one| begins(one) < seq) else { return Ok(None) };
    let mut lines = Lines::open(&segment.path, 0)?;
    while let Piece::Line(line) = lines.read()? {
        if let Ok(sealed) = SealedLine::parse(line)
            && sealed.seq == seq
        {
            return Ok(Some(sealed.chain));
        }
    }
    Ok(None)
}
