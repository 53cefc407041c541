//! Ids of calls (UUIDv7, decision 18), minted without asking the kernel for every one.
//!
//! An id names a call in logs and in the audit and opens nothing; it has to be unique, not secret.
//! Still its 74 random bits come from the kernel, fetched for many ids at once.

use std::cell::RefCell;

use crate::model::{CallId, Timestamp};

/// Random bytes of one id.
const ID_BYTES: usize = 10;
/// Ids that one request to the kernel is for.
const IDS: usize = 256;

struct Pool {
    bytes: [u8; ID_BYTES * IDS],
    left: usize,
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; ID_BYTES * IDS], left: 0 }) };
}

impl Pool {
    fn take(&mut self) -> Option<[u8; ID_BYTES]> {
        if self.left == 0 {
            getrandom::fill(&mut self.bytes).ok()?;
            self.left = IDS;
        }
        self.left -= 1;
        self.bytes.get(self.left * ID_BYTES..)?.first_chunk().copied()
    }
}

/// The id of a call that arrived now.
pub(super) fn mint(now: Timestamp) -> CallId {
    match POOL.with_borrow_mut(Pool::take) {
        Some(random) => CallId::mint(now, random),
        // A kernel without randomness: the crate's own way, whatever that ends in.
        None => CallId::from_uuid(uuid::Uuid::now_v7()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_of_one_millisecond_and_several_threads_differ() {
        let now = Timestamp::from_millis(1_795_310_401_020);
        let mint_many = move || (0..3 * IDS).map(|_| mint(now)).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| std::thread::spawn(mint_many)).collect();
        let ids: Vec<CallId> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 12 * IDS);
        assert!(ids.iter().all(|id| id.as_uuid().get_version_num() == 7));
    }
}
