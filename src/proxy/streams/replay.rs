//! The messages of one stream that a client may still need: those that it has not been given, and the
//! last ones that it was, in case they did not arrive.
//!
//! Invariants: bounded in number and bytes, the oldest go first; a message that went before it was given
//! is told as missed; a change of a list that waits already is not queued twice.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mcp::Told;

/// Messages that are kept for one stream.
const EVENTS_MAX: usize = 128;
/// Bytes of them.
const BYTES_MAX: usize = 128 * 1024;

/// A queue that can be read again from any place that it still holds. Places count from 1.
#[derive(Debug, Default)]
pub struct Replay {
    events: VecDeque<(u64, Arc<Told>)>,
    bytes: usize,
    last: u64,
    /// The last message that was given to the client.
    given: u64,
}

/// What follows a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Following {
    Event(u64, Arc<Told>),
    /// Nothing yet.
    Nothing,
    /// Messages after it are gone: the client has to begin anew, after this place.
    Missed(u64),
}

impl Replay {
    /// Adds a message; gives how many bytes the queue grew by, negative where older ones went.
    pub fn push(&mut self, told: Arc<Told>) -> i64 {
        let before = self.bytes;
        let waiting = self.events.iter().rev().take_while(|(place, _)| *place > self.given);
        if is_repeatable(&told) && waiting.into_iter().any(|(_, queued)| **queued == *told) {
            return 0;
        }
        self.last += 1;
        self.bytes += told.len();
        self.events.push_back((self.last, told));
        while self.events.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            self.drop_oldest();
        }
        signed(self.bytes) - signed(before)
    }

    /// Drops everything that is kept; gives how many bytes that were.
    pub fn clear(&mut self) -> i64 {
        let bytes = signed(self.bytes);
        self.events.clear();
        self.bytes = 0;
        bytes
    }

    fn drop_oldest(&mut self) {
        if let Some((_, told)) = self.events.pop_front() {
            self.bytes -= told.len();
        }
    }

    /// What follows this place.
    pub fn after(&mut self, place: u64) -> Following {
        if place >= self.last {
            return Following::Nothing;
        }
        let first = self.events.front().map_or(self.last + 1, |(first, _)| *first);
        if place + 1 < first {
            self.given = self.last;
            return Following::Missed(self.last);
        }
        let index = usize::try_from(place + 1 - first).unwrap_or(usize::MAX);
        match self.events.get(index) {
            Some((place, told)) => {
                self.given = self.given.max(*place);
                Following::Event(*place, Arc::clone(told))
            }
            None => Following::Nothing,
        }
    }

    /// The last message that was given to the client.
    pub const fn given(&self) -> u64 {
        self.given
    }

    /// Whether this place was ever given out.
    pub const fn has_given(&self, place: u64) -> bool {
        place <= self.given
    }
}

/// One that says the same twice says no more than once.
fn is_repeatable(told: &Told) -> bool {
    let method = told.method();
    method.ends_with("/list_changed") || method == "notifications/resources/updated"
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::Primitive;

    fn log(n: usize) -> Arc<Told> {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"data":{n}}}}}"#);
        Arc::new(Told::read(&text).unwrap())
    }

    #[test]
    fn messages_are_read_again_from_any_place_that_is_kept() {
        let mut replay = Replay::default();
        assert_eq!(replay.after(0), Following::Nothing);
        for n in 1..=3 {
            assert!(replay.push(log(n)) > 0);
        }
        assert_eq!(replay.after(0), Following::Event(1, log(1)));
        assert_eq!(replay.after(1), Following::Event(2, log(2)));
        assert_eq!(replay.after(1), Following::Event(2, log(2)), "again");
        assert_eq!(replay.given(), 2);
        assert!(replay.has_given(2) && !replay.has_given(3));
        assert_eq!(replay.after(3), Following::Nothing);
        assert!(replay.clear() > 0);
        assert_eq!(replay.after(2), Following::Missed(3));
        assert_eq!(replay.after(3), Following::Nothing);
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_fell_out_is_told() {
        let mut replay = Replay::default();
        let mut grown = 0;
        for n in 0..EVENTS_MAX + 10 {
            grown += replay.push(log(n));
        }
        assert_eq!(grown, signed(replay.bytes));
        let last = EVENTS_MAX as u64 + 10;
        assert_eq!(replay.after(9), Following::Missed(last));
        assert!(matches!(replay.after(10), Following::Event(11, _)));
        let long = format!(r#"{{"method":"m","params":{{"data":"{}"}}}}"#, "x".repeat(BYTES_MAX / 2));
        let long = Arc::new(Told::read(&long).unwrap());
        for _ in 0..3 {
            replay.push(Arc::clone(&long));
        }
        assert!(replay.bytes <= BYTES_MAX && !replay.events.is_empty());
    }

    #[test]
    fn a_change_waits_once_until_it_is_given() {
        let mut replay = Replay::default();
        let changed = || Arc::new(Told::list_changed(Primitive::Tools));
        for _ in 0..10 {
            replay.push(changed());
            replay.push(Arc::new(Told::updated("x://1")));
        }
        assert_eq!(replay.events.len(), 2);
        assert!(matches!(replay.after(0), Following::Event(1, _)));
        assert!(replay.push(changed()) > 0, "the one before was given");
        assert_eq!(replay.push(log(1)).signum() + replay.push(log(1)).signum(), 2, "lines may repeat");
    }
}
