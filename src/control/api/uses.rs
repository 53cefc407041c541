//! When a token was last used and a browser last seen, written behind the request that shows it.
//!
//! Invariants: no request waits for it; a credential is written at most once a minute, and not twice at
//! once; what waits is bounded, and what is over is dropped.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::model::{Timestamp, TokenId, WebSessionId};
use crate::store::{Store, StoreError};

/// A credential's last use is at most so old in the store while it is in use, in milliseconds.
pub const USE_MS: i64 = 60_000;
/// Writes that are under way at once.
const WRITES_MAX: usize = 64;

/// A credential.
#[derive(Debug, Clone, Copy)]
enum Used {
    Token(TokenId),
    Session(WebSessionId),
}

/// Writes uses.
#[derive(Debug, Clone)]
pub struct Uses {
    store: Store,
    writing: Arc<Mutex<HashSet<Uuid>>>,
}

impl Uses {
    /// Into this store.
    pub fn new(store: Store) -> Self {
        Self { store, writing: Arc::default() }
    }

    /// The token is used now.
    pub fn token(&self, id: TokenId, last: Option<Timestamp>, now: Timestamp) {
        let due = last.is_none_or(|last| now.millis_since(last) >= USE_MS);
        if due {
            self.write(*id.as_uuid(), Used::Token(id), now);
        }
    }

    /// The browser is seen now. Noted sooner where a session may stand idle for few minutes only.
    pub fn session(&self, id: WebSessionId, last: Timestamp, idle_ms_max: i64, now: Timestamp) {
        if now.millis_since(last) >= USE_MS.min(idle_ms_max / 4) {
            self.write(*id.as_uuid(), Used::Session(id), now);
        }
    }

    fn write(&self, id: Uuid, used: Used, now: Timestamp) {
        let mut writing = self.writing.lock();
        if writing.len() >= WRITES_MAX || !writing.insert(id) {
            return;
        }
        drop(writing);
        let uses = self.clone();
        tokio::spawn(async move {
            let written = uses.put(used, now).await;
            uses.writing.lock().remove(&id);
            if let Err(error) = written {
                tracing::warn!(%error, "the last use of a token or session is not stored");
            }
        });
    }

    async fn put(&self, used: Used, now: Timestamp) -> Result<(), StoreError> {
        match used {
            Used::Token(id) => self.store.tokens().touch(id, now).await,
            Used::Session(id) => self.store.web_sessions().touch(id, now).await,
        }
    }
}
