//! Strings: checked as they are passed, decoded only where their text is asked for.

use std::borrow::Cow;
use std::ops::Range;

use super::Scanner;
use super::fault::{JsonFault, JsonFaultKind};

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// A string that was passed: the part between its quotes, and whether it holds escapes.
pub(super) struct Passed {
    inner: Range<usize>,
    escaped: bool,
}

impl Passed {
    /// The string's text; borrowed unless it holds escapes.
    pub fn decode<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let inner = text.get(self.inner.clone()).unwrap_or_default();
        if self.escaped { decode(inner) } else { Cow::Borrowed(inner) }
    }
}

impl Scanner<'_> {
    /// Passes the string whose opening quote is next.
    pub(super) fn string(&mut self) -> Result<Passed, JsonFault> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = find_special(self.bytes, self.at);
            match self.peek() {
                Some(b'"') => {
                    let inner = start..self.at;
                    self.at += 1;
                    return Ok(Passed { inner, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.fault(JsonFaultKind::Control)),
                None => return Err(self.fault(JsonFaultKind::Ended)),
            }
        }
    }

    /// Passes the escape whose backslash is next.
    fn escape(&mut self) -> Result<(), JsonFault> {
        match self.bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                return Ok(());
            }
            Some(b'u') => {}
            Some(_) => return Err(self.fault(JsonFaultKind::Escape)),
            None => return Err(self.fault(JsonFaultKind::Ended)),
        }
        let first = self.unit(self.at)?;
        if !(0xD800..=0xDFFF).contains(&first) {
            self.at += 6;
            return Ok(());
        }
        let paired = first < 0xDC00
            && self.bytes.get(self.at + 6..self.at + 8) == Some(b"\\u".as_slice())
            && (0xDC00..=0xDFFF).contains(&self.unit(self.at + 6)?);
        if !paired {
            return Err(self.fault(JsonFaultKind::LoneSurrogate));
        }
        self.at += 12;
        Ok(())
    }

    /// The UTF-16 unit of the `\uXXXX` at this place.
    fn unit(&self, at: usize) -> Result<u16, JsonFault> {
        let digits = self.bytes.get(at + 2..at + 6);
        digits.and_then(hexadecimal).ok_or(JsonFault::new(JsonFaultKind::Escape, at))
    }
}

/// Four hexadecimal digits, nothing else (no sign, which `from_str_radix` would take).
fn hexadecimal(digits: &[u8]) -> Option<u16> {
    digits.iter().try_fold(0u16, |value, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some((value << 4) | u16::try_from(digit).ok()?)
    })
}

/// The place, from `from` on, of the first quote, backslash or control character; the end if there
/// is none. Eight bytes at a time: each test sets the high bit of the bytes that match, and the
/// lowest such bit is exact (a borrow can only spoil bytes above a match).
pub(super) fn find_special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    let mut rest = bytes.get(from..).unwrap_or_default();
    while let Some((chunk, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*chunk);
        let quote = word ^ (ONES * b'"' as u64);
        let backslash = word ^ (ONES * b'\\' as u64);
        let matches = (quote.wrapping_sub(ONES) & !quote)
            | (backslash.wrapping_sub(ONES) & !backslash)
            | (word.wrapping_sub(ONES * 0x20) & !word);
        let matches = matches & HIGH_BITS;
        if matches != 0 {
            return at + (matches.trailing_zeros() / 8) as usize;
        }
        at += 8;
        rest = after;
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    at + rest.iter().position(special).unwrap_or(rest.len())
}

/// Decodes the inner part of a string that a scan has passed.
pub(super) fn decode(inner: &str) -> Cow<'_, str> {
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some((plain, after)) = rest.split_once('\\') {
        out.push_str(plain);
        rest = decode_escape(after, &mut out);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Decodes what follows a backslash and gives what follows the escape.
fn decode_escape<'a>(after: &'a str, out: &mut String) -> &'a str {
    let mut characters = after.chars();
    match characters.next() {
        Some('b') => out.push('\u{8}'),
        Some('f') => out.push('\u{c}'),
        Some('n') => out.push('\n'),
        Some('r') => out.push('\r'),
        Some('t') => out.push('\t'),
        Some('u') => return decode_units(characters.as_str(), out),
        Some(other) => out.push(other),
        None => {}
    }
    characters.as_str()
}

/// Decodes the digits after `\u`, and the second half where they are the first of a pair.
fn decode_units<'a>(digits: &'a str, out: &mut String) -> &'a str {
    let unit = |text: &str| text.get(..4).and_then(|four| hexadecimal(four.as_bytes()));
    let rest = digits.get(4..).unwrap_or_default();
    let first = unit(digits).unwrap_or(0xFFFD);
    if !(0xD800..0xDC00).contains(&first) {
        out.push(char::from_u32(first.into()).unwrap_or(char::REPLACEMENT_CHARACTER));
        return rest;
    }
    let second = rest.strip_prefix("\\u").and_then(unit).unwrap_or(0xFFFD);
    let decoded = char::decode_utf16([first, second]).next().and_then(Result::ok);
    out.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
    rest.get(6..).unwrap_or_default()
}
