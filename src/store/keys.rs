//! The member keys' rows: digests and public halves, never a key.

use std::fmt;

use super::{Generation, Store, StoreError};
use crate::model::{KeyId, MemberId, RateLimit, Timestamp};

/// A member key's record (decisions 2 and 3). The key itself is nowhere.
#[derive(Clone, PartialEq)]
pub struct KeyRow {
    pub id: KeyId,
    pub member_id: MemberId,
    /// First half of the tag; unique; what a presented key is looked up by.
    pub index: [u8; 16],
    /// The whole tag, compared in constant time.
    pub tag: [u8; 32],
    /// The key's last characters, for people to tell keys apart; at most 8.
    pub display_suffix: String,
    pub seal_salt: [u8; 32],
    pub seal_public: [u8; 32],
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// Overrides the agent's rate limit.
    pub rate: Option<RateLimit>,
}

impl fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRow")
            .field("id", &self.id)
            .field("member_id", &self.member_id)
            .field("display_suffix", &self.display_suffix)
            .field("revoked_at", &self.revoked_at)
            .finish_non_exhaustive()
    }
}

/// The member keys' rows: digests and public halves, never a key.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'a>(pub(super) &'a Store);

impl Keys<'_> {
    /// Stores the first key of a member; `Conflict` where it has one that is not revoked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn insert(&self, key: &KeyRow) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Revokes the member's key, if it has one, and stores this one, in one transaction.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rotate(&self, key: &KeyRow) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Revokes the key; a key that was revoked already keeps its first time.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke(&self, id: KeyId, now: Timestamp) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The key, or `NotFound`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn get(&self, id: KeyId) -> Result<KeyRow, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// The member's keys, revoked ones too, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn list(&self, member: MemberId) -> Result<Vec<KeyRow>, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Replaces the key's own rate limit; `None` goes back to the agent's.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_rate(&self, id: KeyId, rate: Option<RateLimit>) -> Result<Generation, StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }

    /// Notes when keys were last used, in one transaction that raises no generation.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn touch_last_used(&self, uses: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        let _ = &self.0;
        Err(super::not_yet())
    }
}
