//! Seals what a client is to carry back unread: the `requestState` of a request that needs another
//! round (MCP 2026-07-28, multi round-trip requests).
//!
//! ChaCha20-Poly1305 (RFC 8439) under a key that is made anew at each start, so that no state outlives
//! the memory of which states were used. What it is bound to goes in as associated data and is not in
//! the text.
//!
//! Invariants: only what this process sealed opens, and only under the same binding; a nonce is random
//! and so is not used twice (2^32 states under one key keep the risk below 2^-32).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

/// Bytes of a nonce.
pub const STATE_NONCE_BYTES: usize = NONCE_LEN;

/// Seals and opens states.
pub struct StateSeal(LessSafeKey);

impl fmt::Debug for StateSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateSeal(redacted)")
    }
}

impl StateSeal {
    /// A seal under a key of 32 random bytes; `None` only if the cipher refuses the key, which it does
    /// not at this length.
    pub fn new(key: &[u8; 32]) -> Option<Self> {
        UnboundKey::new(&CHACHA20_POLY1305, key).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    /// The sealed text, base64url, under a nonce of fresh random bytes.
    pub fn seal(&self, nonce: [u8; STATE_NONCE_BYTES], bound_to: &[u8], state: &[u8]) -> Option<String> {
        let mut sealed = state.to_vec();
        let nonce_once = Nonce::assume_unique_for_key(nonce);
        self.0.seal_in_place_append_tag(nonce_once, Aad::from(bound_to), &mut sealed).ok()?;
        let mut bytes = nonce.to_vec();
        bytes.append(&mut sealed);
        Some(URL_SAFE_NO_PAD.encode(bytes))
    }

    /// What was sealed, with its nonce; nothing where the text is none of ours or bound to something
    /// else.
    pub fn open(&self, text: &str, bound_to: &[u8]) -> Option<([u8; STATE_NONCE_BYTES], Vec<u8>)> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<STATE_NONCE_BYTES>()?;
        let mut sealed = sealed.to_vec();
        let nonce_once = Nonce::assume_unique_for_key(*nonce);
        let state = self.0.open_in_place(nonce_once, Aad::from(bound_to), &mut sealed).ok()?;
        Some((*nonce, state.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_opens_where_it_was_sealed_and_nowhere_else() {
        let seal = StateSeal::new(&[7; 32]).unwrap();
        let text = seal.seal([1; STATE_NONCE_BYTES], b"alice", b"the state").unwrap();
        assert!(!text.contains("state"));
        assert_eq!(seal.open(&text, b"alice").unwrap(), ([1; STATE_NONCE_BYTES], b"the state".to_vec()));
        assert!(seal.open(&text, b"bob").is_none());
        assert!(StateSeal::new(&[8; 32]).unwrap().open(&text, b"alice").is_none());
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] = if other[at] == b'A' { b'B' } else { b'A' };
            let other = String::from_utf8(other).unwrap();
            assert!(other == text || seal.open(&other, b"alice").is_none(), "{at}");
        }
        for text in ["", "A", "!!", "AAAAAAAAAAAAAAAA"] {
            assert!(seal.open(text, b"alice").is_none(), "{text}");
        }
    }
}
