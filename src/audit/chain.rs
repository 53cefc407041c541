//! One entry, one line, one link: the canonical bytes of the journal.
//!
//! A line is `{"seq":N,` then the members of the entry, `"type"` first, then
//! `,"chain":"<64 hexadecimal digits>"}` and a newline. The chain value is SHA-256 of the previous
//! chain value's 32 bytes and of the line without its chain member. There is exactly one way to
//! write each part, so no byte of a line can change without the chain or the form showing it.

use std::fmt;
use std::io::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::keys::{from_hex, hex};

/// The longest line that is written or read, newline included, in bytes.
pub const LINE_BYTES_MAX: usize = 64 << 10;

const CHAIN_OPEN: &[u8] = b",\"chain\":\"";
const CHAIN_CLOSE: &[u8] = b"\"}";
const CHAIN_MEMBER_BYTES: usize = CHAIN_OPEN.len() + 64 + CHAIN_CLOSE.len();

/// The chain's value after an entry.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// What precedes the first entry of a node.
    pub const GENESIS: Self = Self([0; 32]);

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    fn after(previous: &Self, stated: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(previous.0);
        hasher.update(stated);
        hasher.update(b"}");
        Self(hasher.finalize().into())
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ChainHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChainHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        from_hex(&text)
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom("64 lower-case hexadecimal digits are expected"))
    }
}

/// The types of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    /// First entry of each segment: who writes, and what came before.
    Open,
    /// A permitted call that is about to be sent.
    Intent,
    /// A denied call.
    Denial,
    /// How a sent call ended.
    Completion,
    /// One phase of an administrative change.
    Administrative,
    /// All counters of a session at one moment.
    Session,
    /// Segments that are about to be dropped, and what proves them.
    Retention,
    /// A signature over the chain so far.
    Checkpoint,
    /// The last entry of a boot that stopped in order; signed like a checkpoint.
    Close,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::Open,
        Self::Intent,
        Self::Denial,
        Self::Completion,
        Self::Administrative,
        Self::Session,
        Self::Retention,
        Self::Checkpoint,
        Self::Close,
    ];

    /// The value of `type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Intent => "intent",
            Self::Denial => "denial",
            Self::Completion => "completion",
            Self::Administrative => "administrative",
            Self::Session => "session",
            Self::Retention => "retention",
            Self::Checkpoint => "checkpoint",
            Self::Close => "close",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str().as_bytes() == text)
    }
}

/// Appends the line of an entry to `out` and returns its chain value. `body` is the JSON text of an
/// object whose first member is `type`.
pub(super) fn seal(previous: &ChainHash, seq: u64, body: &[u8], out: &mut Vec<u8>) -> ChainHash {
    let start = out.len();
    let members = body.strip_prefix(b"{").and_then(|b| b.strip_suffix(b"}")).unwrap_or(body);
    // Writing to a vector cannot fail.
    let _infallible = write!(out, "{{\"seq\":{seq},");
    out.extend_from_slice(members);
    let chain = ChainHash::after(previous, out.get(start..).unwrap_or_default());
    out.extend_from_slice(CHAIN_OPEN);
    out.extend_from_slice(hex(chain.as_bytes()).as_bytes());
    out.extend_from_slice(CHAIN_CLOSE);
    out.push(b'\n');
    chain
}

/// A line in the canonical form, its chain value not yet checked.
#[derive(Debug, Clone, Copy)]
pub struct SealedLine<'a> {
    pub seq: u64,
    pub kind: EntryKind,
    /// The chain value that the line claims.
    pub chain: ChainHash,
    stated: &'a [u8],
}

impl<'a> SealedLine<'a> {
    /// Reads a line without its newline.
    ///
    /// # Errors
    /// Which part is not in the canonical form.
    pub fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        let cut = line.len().checked_sub(CHAIN_MEMBER_BYTES).ok_or("the line is too short for an entry")?;
        let (stated, member) = line.split_at_checked(cut).ok_or("the line is too short for an entry")?;
        let chain = member
            .strip_prefix(CHAIN_OPEN)
            .and_then(|m| m.strip_suffix(CHAIN_CLOSE))
            .and_then(|m| std::str::from_utf8(m).ok())
            .and_then(from_hex)
            .ok_or("the line does not end in a chain value")?;
        let rest = stated.strip_prefix(b"{\"seq\":").ok_or("the line does not begin with `seq`")?;
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (number, rest) = rest.split_at_checked(digits).ok_or("`seq` is no number")?;
        let seq = std::str::from_utf8(number)
            .ok()
            .filter(|n| !n.starts_with('0'))
            .and_then(|n| n.parse().ok())
            .ok_or("`seq` is no number")?;
        let rest = rest.strip_prefix(b",\"type\":\"").ok_or("`type` does not follow `seq`")?;
        let kind = rest.split(|b| *b == b'"').next().and_then(EntryKind::parse);
        let kind = kind.ok_or("`type` is no type of entry")?;
        Ok(Self { seq, kind, chain: ChainHash(chain), stated })
    }

    /// The chain value that the line should have after `previous`.
    pub fn computed(&self, previous: &ChainHash) -> ChainHash {
        ChainHash::after(previous, self.stated)
    }

    /// Whether the line follows `previous` in the chain.
    pub fn follows(&self, previous: &ChainHash) -> bool {
        self.computed(previous) == self.chain
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_what_python_hashlib_computes() {
        // sha256(bytes(32) + b'{"seq":1,"type":"open","a":1}')
        let mut out = Vec::new();
        let chain = seal(&ChainHash::GENESIS, 1, br#"{"type":"open","a":1}"#, &mut out);
        assert_eq!(chain.to_string(), "3f5c096dcee1a1105d3f5721238f2951b18d920f8f2e355409f94195de0e75ef");
        assert_eq!(
            out,
            format!("{{\"seq\":1,\"type\":\"open\",\"a\":1,\"chain\":\"{chain}\"}}\n").as_bytes()
        );
        let second = seal(&chain, 2, br#"{"type":"intent","b":"x"}"#, &mut out);
        assert_eq!(second.to_string(), "ae5624d48a430fb9245b8932abbb08030caceb2f2a39e4b45dad3d5f86abd6a2");
    }

    #[test]
    fn every_flipped_bit_of_a_line_shows() {
        let mut out = Vec::new();
        let previous = seal(&ChainHash::GENESIS, 41, br#"{"type":"open"}"#, &mut out);
        out.clear();
        seal(&previous, 42, br#"{"type":"intent","tool":"read_file","n":[1,2]}"#, &mut out);
        out.pop();
        assert!(SealedLine::parse(&out).unwrap().follows(&previous));
        for at in 0..out.len() {
            for bit in 0..8 {
                let mut changed = out.clone();
                changed[at] ^= 1 << bit;
                let shows = match SealedLine::parse(&changed) {
                    Ok(line) => !line.follows(&previous),
                    Err(_) => true,
                };
                assert!(shows, "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn what_is_no_line_is_named() {
        let zeros = "0".repeat(64);
        for (start, reason) in [
            ("", "short"),
            ("{\"sec\":1,\"type\":\"open\"", "begin"),
            ("{\"seq\":01,\"type\":\"open\"", "number"),
            ("{\"seq\":18446744073709551616,\"type\":\"open\"", "number"),
            ("{\"seq\":1,\"kind\":\"open\"", "follow"),
            ("{\"seq\":1,\"type\":\"opens\"", "no type"),
        ] {
            let line =
                if start.is_empty() { String::new() } else { format!("{start},\"chain\":\"{zeros}\"}}") };
            let error = SealedLine::parse(line.as_bytes()).unwrap_err();
            assert!(error.contains(reason), "{start}: {error}");
        }
    }
}
