//! One reader of new rows for all who watch.
//!
//! Invariants: it runs only while somebody watches; it is woken by the index of this gate and, where other
//! gates write into the same database, looks by itself every second; what it holds for slow readers is
//! bounded, and they are told what they missed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::control::api::ApiState;
use crate::control::api::problem::{Code, Problem};
use crate::model::AccountId;
use crate::store::{AuditCursor, AuditRow};

/// Feeds that are open at once.
pub(super) const FEEDS_MAX: usize = 64;
/// Rows that are held for slow readers.
const HELD_ROWS_MAX: usize = 1_024;
/// Rows that are read at once.
pub(super) const READ_AT_ONCE: u64 = 500;
/// Another gate's rows may come under numbers so much lower than ones that were seen.
pub(super) const LOOKED_BACK: i64 = 1_000;
/// A feed catches up with so many arrivals by itself; more are a gap.
pub(super) const CAUGHT_UP_ROWS_MAX: i64 = 20_000;
/// How often other gates' rows are looked for.
const LOOKED_EVERY: Duration = Duration::from_secs(1);

/// A row that arrived, and its place.
pub(super) type Arrived = Arc<(AuditCursor, AuditRow)>;

/// Who watches, and what is told to all.
#[derive(Default)]
pub(super) struct Feed {
    watched: Mutex<Watched>,
}

#[derive(Default)]
struct Watched {
    by_account: HashMap<AccountId, usize>,
    all: usize,
    /// There while the reader runs.
    sender: Option<broadcast::Sender<Arrived>>,
}

/// One who watches; dropped, its place is free again.
pub(super) struct Watching {
    pub arrived: broadcast::Receiver<Arrived>,
    _place: Place,
}

struct Place {
    feed: Arc<Feed>,
    account: AccountId,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut watched = self.feed.watched.lock();
        watched.all = watched.all.saturating_sub(1);
        if let Some(count) = watched.by_account.get_mut(&self.account) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                watched.by_account.remove(&self.account);
            }
        }
    }
}

impl Feed {
    /// Watches from now on.
    pub async fn watch(
        self: &Arc<Self>,
        state: &ApiState,
        account: AccountId,
        per_account_max: usize,
    ) -> Result<Watching, Problem> {
        let last = state.admin.store().audit().last_arrival().await?;
        let mut watched = self.watched.lock();
        let own = watched.by_account.get(&account).copied().unwrap_or_default();
        if own >= per_account_max || watched.all >= FEEDS_MAX {
            let whose = if own >= per_account_max { "your account has" } else { "all accounts have" };
            return Err(Problem::new(Code::RateLimited, format!("{whose} as many feeds open as may be"))
                .with_help("close one, or ask `GET /api/audit`")
                .after(Duration::from_secs(5)));
        }
        watched.all += 1;
        *watched.by_account.entry(account).or_default() += 1;
        let place = Place { feed: Arc::clone(self), account };
        let arrived = match &watched.sender {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, arrived) = broadcast::channel(HELD_ROWS_MAX);
                watched.sender = Some(sender.clone());
                tokio::spawn(Arc::clone(self).read(Arc::clone(state), sender, last));
                arrived
            }
        };
        drop(watched);
        Ok(Watching { arrived, _place: place })
    }

    async fn read(self: Arc<Self>, state: ApiState, sender: broadcast::Sender<Arrived>, mut last: i64) {
        let mut told = state.admin.live().indexed();
        let shared = state.admin.store().is_shared();
        let mut seen = BTreeSet::new();
        loop {
            let read = self::read(&state, last, shared.then_some(&mut seen)).await;
            let more = match read {
                Ok(rows) => {
                    let more = rows.len() as u64 >= READ_AT_ONCE;
                    for row in rows {
                        last = last.max(row.0.id);
                        // Nobody there to hear it is no fault.
                        let _heard = sender.send(Arc::new(row));
                    }
                    more
                }
                Err(()) => false,
            };
            if self.is_left(&sender) {
                return;
            }
            if !more {
                let changed = async {
                    match &mut told {
                        Some(told) => drop(told.changed().await),
                        None => std::future::pending().await,
                    }
                };
                let _either = tokio::time::timeout(LOOKED_EVERY, changed).await;
            }
        }
    }

    /// Whether nobody watches any more; then the next who does starts another reader.
    fn is_left(&self, sender: &broadcast::Sender<Arrived>) -> bool {
        let mut watched = self.watched.lock();
        if sender.receiver_count() > 0 {
            return false;
        }
        watched.sender = None;
        true
    }
}

/// New rows in the order of their arrival. `seen` holds the numbers that were read lately, where others write
/// too: of two transactions the later number may be there first.
async fn read(
    state: &ApiState,
    last: i64,
    seen: Option<&mut BTreeSet<i64>>,
) -> Result<Vec<(AuditCursor, AuditRow)>, ()> {
    let audit = state.admin.store().audit();
    let numbers = match seen {
        None => audit.arrivals(last, READ_AT_ONCE).await.map_err(drop)?,
        Some(seen) => {
            let from = last.saturating_sub(LOOKED_BACK);
            let first = seen.is_empty();
            let window = READ_AT_ONCE + LOOKED_BACK.unsigned_abs();
            let numbers = audit.arrivals(from, window).await.map_err(drop)?;
            // What was there before the first look is not news.
            let new = |number: &i64| !seen.contains(number) && (!first || *number > last);
            let new: Vec<i64> = numbers.iter().copied().filter(new).collect();
            seen.retain(|number| *number > from);
            seen.extend(numbers);
            new
        }
    };
    audit.arrived(numbers).await.map_err(drop)
}
