//! The bytes of one JSON object, written in order into a buffer that is there already.
//!
//! An entry is written for every call, before the call: no tree, no text of its own for a member.
//! Strings are escaped as RFC 8259 asks and no further, so that an entry has one written form.

use std::io::Write as _;

use uuid::Uuid;

use super::redact::redacted;
use crate::model::Timestamp;

/// An object that is being written.
pub(super) struct Object<'o> {
    out: &'o mut Vec<u8>,
    empty: bool,
}

impl<'o> Object<'o> {
    /// Begins an object.
    pub fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Ends it.
    pub fn end(self) {
        self.out.push(b'}');
    }

    /// The buffer, with the member's name written: what is appended is its value. The name stands as
    /// it is, so it must need no escape.
    pub fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.empty) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// A string.
    pub fn text(&mut self, name: &str, value: &str) {
        string(self.member(name), value);
    }

    /// A string of a caller's choice: masked where it holds a secret, cut where it is long.
    pub fn redacted(&mut self, name: &str, value: &str, characters_max: usize) {
        string(self.member(name), &redacted(value, characters_max));
    }

    /// A word of our own, which needs no escape.
    pub fn word(&mut self, name: &str, word: &'static str) {
        let out = self.member(name);
        out.push(b'"');
        out.extend_from_slice(word.as_bytes());
        out.push(b'"');
    }

    /// A string that needs no escape, such as an address.
    pub fn plain(&mut self, name: &str, value: impl std::fmt::Display) {
        let out = self.member(name);
        out.push(b'"');
        // Writing into a vector does not fail.
        let _infallible = write!(out, "{value}");
        out.push(b'"');
    }

    /// A time.
    pub fn time(&mut self, name: &str, at: Timestamp) {
        let out = self.member(name);
        out.push(b'"');
        match at.rfc3339() {
            Some(text) => out.extend_from_slice(&text),
            None => {
                let _infallible = write!(out, "{at}");
            }
        }
        out.push(b'"');
    }

    /// A UUID, with the prefix of its kind.
    pub fn uuid(&mut self, name: &str, prefix: &str, id: &Uuid) {
        let mut text = Uuid::encode_buffer();
        let text = id.hyphenated().encode_lower(&mut text);
        let out = self.member(name);
        out.push(b'"');
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    }

    /// Bytes in hexadecimal behind a prefix.
    pub fn hex(&mut self, name: &str, prefix: &str, bytes: &[u8]) {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or_default();
        let out = self.member(name);
        out.push(b'"');
        out.extend_from_slice(prefix.as_bytes());
        out.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]));
        out.push(b'"');
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: impl Into<u64>) {
        natural(self.member(name), value.into());
    }

    /// A number that may be negative.
    pub fn signed(&mut self, name: &str, value: i64) {
        integer(self.member(name), value);
    }

    /// `true`.
    pub fn yes(&mut self, name: &str) {
        self.member(name).extend_from_slice(b"true");
    }
}

/// A list of objects.
pub(super) fn list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, write: impl Fn(&mut Object<'_>, T)) {
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let mut object = Object::begin(out);
        write(&mut object, item);
        object.end();
    }
    out.push(b']');
}

/// A number that may be negative.
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    natural(out, value.unsigned_abs());
}

/// A number.
pub(super) fn natural(out: &mut Vec<u8>, value: u64) {
    let (mut rest, mut digits, mut first) = (value, [b'0'; 20], 19);
    for (at, digit) in digits.iter_mut().enumerate().rev() {
        // A remainder of ten is one digit.
        *digit = b'0' + (rest % 10) as u8;
        first = at;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// A string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((special, behind)) = from.split_first() else { break };
        match special {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', *special]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            control => {
                let _infallible = write!(out, "\\u{control:04x}");
            }
        }
        rest = behind;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strings_and_numbers_are_written_as_serde_json_writes_them(
            text in any::<String>(), n in any::<u64>(), small in 0..1_000u64, i in any::<i64>()
        ) {
            let mut out = Vec::new();
            string(&mut out, &text);
            prop_assert_eq!(out, serde_json::to_vec(&text).unwrap());
            let mut out = Vec::new();
            natural(&mut out, n);
            out.push(b' ');
            natural(&mut out, small);
            out.push(b' ');
            integer(&mut out, i);
            prop_assert_eq!(String::from_utf8(out).unwrap(), format!("{n} {small} {i}"));
        }
    }

    #[test]
    fn every_character_that_needs_an_escape_has_one() {
        let all: String = (0u8..0x80).map(char::from).chain(['é', '\u{2028}', '🦀']).collect();
        let mut out = Vec::new();
        string(&mut out, &all);
        assert_eq!(out, serde_json::to_vec(&all).unwrap());
    }

    #[test]
    fn an_object_reads_back() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "x\"y");
        object.number("b", u64::MAX);
        object.uuid("c", "ts_", &Uuid::nil());
        object.hex("d", "h:", &[0x0f, 0xa0]);
        object.yes("e");
        list(object.member("f"), [1u32, 2].into_iter(), |object, n| object.number("n", n));
        object.end();
        let read: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let nil = "ts_00000000-0000-0000-0000-000000000000";
        let expect = serde_json::json!({
            "a": "x\"y", "b": u64::MAX, "c": nil, "d": "h:0fa0", "e": true, "f": [{"n": 1}, {"n": 2}]
        });
        assert_eq!(read, expect);
    }
}
