//! Signed statements of how long the chain is and where it ends.
//!
//! Whoever can write the journal can recompute its chain; only the holder of the signing key can
//! sign a head. The signature covers node, boot, sequence number, count, head and time, under a
//! domain that tells a checkpoint from a close. The same line goes to the witness file, where it
//! verifies by itself: the head that it signs is the chain value that precedes it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::chain::{ChainHash, EntryKind, SealedLine};
use crate::keys::{SigningKey, VerifyingKey, from_hex, hex};
use crate::model::Timestamp;

/// The members of a checkpoint or close entry, behind `seq` and `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    pub timestamp: Timestamp,
    pub node: Uuid,
    pub boot: Uuid,
    /// Entries of this boot before this one.
    pub entries: u64,
    /// The chain value before this entry.
    pub head: ChainHash,
    /// Which key signed.
    pub key: String,
    /// 128 hexadecimal digits.
    pub signature: String,
}

impl Checkpoint {
    /// Signs the chain as it stands before the entry `seq`.
    pub(super) fn sign(mut self, kind: EntryKind, seq: u64, key: &SigningKey) -> Self {
        self.key = key.key_id();
        self.signature = hex(&key.sign(&self.message(kind, seq)));
        self
    }

    fn message(&self, kind: EntryKind, seq: u64) -> Vec<u8> {
        let mut message = format!("wicket/{}/v1", kind.as_str()).into_bytes();
        message.extend_from_slice(self.node.as_bytes());
        message.extend_from_slice(self.boot.as_bytes());
        message.extend_from_slice(&seq.to_be_bytes());
        message.extend_from_slice(&self.entries.to_be_bytes());
        message.extend_from_slice(self.head.as_bytes());
        message.extend_from_slice(&self.timestamp.as_millis().to_be_bytes());
        message
    }

    /// Reads and checks a checkpoint's line: its own link and its signature.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(line: &SealedLine<'_>, text: &[u8], key: &VerifyingKey) -> Result<Self, String> {
        let read: Self =
            serde_json::from_slice(text).map_err(|e| format!("the checkpoint does not read: {e}"))?;
        if read.key != key.key_id() {
            return Err(format!(
                "signed by key {}, but {} is the key to verify with",
                read.key.escape_default(),
                key.key_id()
            ));
        }
        let signature = from_hex(&read.signature).ok_or("the signature is not 128 hexadecimal digits")?;
        if !key.verify(&read.message(line.kind, line.seq), &signature) {
            return Err("the signature does not fit what the checkpoint says".to_owned());
        }
        if !line.follows(&read.head) {
            return Err("the chain value does not follow the signed head".to_owned());
        }
        Ok(read)
    }
}
