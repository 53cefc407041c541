//! How fast the index follows: an index may lag, a call may not wait for one.
//!
//! While calls are recorded, following takes at most a [`SHARE`]th of one processor; a journal that is
//! at rest is indexed at full speed. A start, a rebuild and a query on a stopped gate do not rest.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::audit::segment::list;

/// While calls are recorded, one part in so many of one processor's time goes into the index.
const SHARE: u32 = 20;
/// No rest is longer: the index is never out of sight for more than this.
const REST_MAX: Duration = Duration::from_secs(5);

/// The end of the journal as it was seen last, to tell a journal that grows from one at rest.
#[derive(Debug, Default)]
pub(super) struct Pace {
    end: Option<(u64, u64)>,
}

impl Pace {
    /// How long to rest behind a batch that was begun then, before the next one.
    pub fn rest(&mut self, dir: &Path, begun: Instant) -> Duration {
        let end = end(dir);
        let grown = end != self.end;
        self.end = end;
        if grown { (begun.elapsed() * (SHARE - 1)).min(REST_MAX) } else { Duration::ZERO }
    }
}

/// Number and bytes of the last segment; `None` where they cannot be told, which counts as growth once.
fn end(dir: &Path) -> Option<(u64, u64)> {
    let (number, path) = list(dir).ok()?.into_iter().next_back()?;
    Some((number.0, std::fs::metadata(path).ok()?.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_journal_is_followed_with_rests_and_one_at_rest_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let segment = dir.path().join(crate::audit::segment::SegmentNumber(1).file_name());
        let mut pace = Pace::default();
        let begun = Instant::now().checked_sub(Duration::from_millis(20)).unwrap();
        for bytes in [1, 2] {
            std::fs::write(&segment, vec![b'x'; bytes]).unwrap();
            assert!(pace.rest(dir.path(), begun) >= Duration::from_millis(380), "{bytes} bytes");
            assert_eq!(pace.rest(dir.path(), begun), Duration::ZERO, "{bytes} bytes");
        }
        std::fs::write(&segment, "xyz").unwrap();
        let long_ago = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        assert_eq!(pace.rest(dir.path(), long_ago), REST_MAX);
    }
}
