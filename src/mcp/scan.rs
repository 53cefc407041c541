//! The strict scanner: one pass over a JSON text, before anything else reads it.
//!
//! RFC 8259, and stricter where two parsers could understand one text differently: a key may stand
//! once in its object (keys are compared decoded), surrogates come in pairs, numbers fit an IEEE
//! double, nothing follows the value, no byte order mark. Invariants: what this scanner accepts,
//! serde_json accepts with the same meaning; the text is never copied (only a key that holds an
//! escape is); memory and time are bounded by [`Limits`] and the text's length, without recursion.

mod document;
mod fault;
mod number;
mod string;

use std::borrow::Cow;

pub use document::{Document, Kind, MemberPlace, Value};
pub use fault::{JsonFault, JsonFaultKind};

use document::{Member, NONE};

/// The depth beyond which no limit can be raised: serde_json, which reads the arguments that a
/// policy asks for, stops at 128.
pub const DEPTH_CEILING: u16 = 120;

/// Objects whose members a [`Document`] records: the value itself and the objects directly in it.
const RECORDED_LEVELS: usize = 2;

/// Objects of up to so many keys are compared pair by pair, larger ones sorted.
const PAIRWISE_KEYS_MAX: usize = 8;

/// What one text may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Arrays and objects inside each other; at most [`DEPTH_CEILING`].
    pub depth_max: u16,
    /// Object keys, and array items after the first, in the whole text.
    pub keys_max: u32,
}

impl Limits {
    /// For what clients send (decision 14).
    pub const REQUEST: Self = Self { depth_max: 64, keys_max: 100_000 };
    /// For what upstreams send: catalogues and results are larger than calls.
    pub const REPLY: Self = Self { depth_max: DEPTH_CEILING, keys_max: 1_000_000 };
}

impl Default for Limits {
    fn default() -> Self {
        Self::REQUEST
    }
}

/// Scans bytes that must be one JSON text in UTF-8.
///
/// # Errors
/// [`JsonFault`] with the first fault and its byte offset.
pub fn scan(bytes: &[u8], limits: Limits) -> Result<Document<'_>, JsonFault> {
    let text = std::str::from_utf8(bytes).map_err(JsonFault::of_encoding)?;
    scan_text(text, limits)
}

/// Scans a text whose encoding is known to be right.
///
/// # Errors
/// As [`scan`].
pub fn scan_text(text: &str, limits: Limits) -> Result<Document<'_>, JsonFault> {
    let mut scanner = Scanner::new(text, limits);
    let root = scanner.document()?;
    Ok(Document::new(text, root, scanner.members))
}

/// An array or object that is being read.
struct Frame {
    object: bool,
    /// Whether its members are recorded.
    recorded: bool,
    /// The recorded member whose value this is.
    parent: u32,
    /// The recorded member whose value is being read.
    open: u32,
    /// Where its keys begin in `Scanner::keys`.
    keys_start: usize,
}

struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth_max: usize,
    keys_left: u32,
    stack: Vec<Frame>,
    /// Decoded keys of the objects in `stack`, innermost last.
    keys: Vec<Cow<'a, str>>,
    members: Vec<Member<'a>>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str, limits: Limits) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            depth_max: usize::from(limits.depth_max.min(DEPTH_CEILING)),
            keys_left: limits.keys_max,
            stack: Vec::with_capacity(8),
            keys: Vec::with_capacity(16),
            members: Vec::with_capacity(16),
        }
    }

    fn document(&mut self) -> Result<Value<'a>, JsonFault> {
        self.skip_space();
        let start = self.at;
        if start == self.bytes.len() {
            return Err(self.fault(JsonFaultKind::Empty));
        }
        loop {
            let complete = self.begin_value()?;
            if complete && !self.end_value()? {
                break;
            }
        }
        let root = Value::new(self.text, start..self.at);
        self.skip_space();
        if self.at < self.bytes.len() {
            return Err(self.fault(JsonFaultKind::TrailingData));
        }
        Ok(root)
    }

    /// Reads a whole scalar or empty container (true), or opens a container and stops before the
    /// first value in it (false).
    fn begin_value(&mut self) -> Result<bool, JsonFault> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| true),
            Some(b'{') => self.open(true),
            Some(b'[') => self.open(false),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| true),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            Some(_) => Err(self.fault(JsonFaultKind::ExpectedValue)),
            None => Err(self.fault(JsonFaultKind::Ended)),
        }
    }

    /// After a value: closes what ends here. True when another value follows, false at the end of
    /// the outermost one.
    fn end_value(&mut self) -> Result<bool, JsonFault> {
        loop {
            let end = self.at;
            let Some(frame) = self.stack.last_mut() else { return Ok(false) };
            let object = frame.object;
            if frame.open != NONE {
                let open = std::mem::replace(&mut frame.open, NONE);
                if let Some(member) = self.members.get_mut(open as usize) {
                    member.value.end = end;
                }
            }
            self.skip_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.skip_space();
                    if object {
                        self.key()?;
                    } else {
                        self.count()?;
                    }
                    return Ok(true);
                }
                Some(b'}') if object => self.close()?,
                Some(b']') if !object => self.close()?,
                Some(_) => return Err(self.fault(JsonFaultKind::ExpectedCommaOrEnd)),
                None => return Err(self.fault(JsonFaultKind::Ended)),
            }
        }
    }

    fn open(&mut self, object: bool) -> Result<bool, JsonFault> {
        if self.stack.len() >= self.depth_max {
            return Err(self.fault(JsonFaultKind::TooDeep));
        }
        let parent = self.stack.last().map_or(NONE, |frame| frame.open);
        let outermost = self.stack.is_empty();
        let recorded = object && self.stack.len() < RECORDED_LEVELS && (outermost || parent != NONE);
        self.stack.push(Frame { object, recorded, parent, open: NONE, keys_start: self.keys.len() });
        self.at += 1;
        self.skip_space();
        let closing = if object { b'}' } else { b']' };
        if self.peek() == Some(closing) {
            self.close()?;
            return Ok(true);
        }
        if object {
            self.key()?;
        }
        Ok(false)
    }

    /// Leaves the innermost container, whose closing bracket is next.
    fn close(&mut self) -> Result<(), JsonFault> {
        self.at += 1;
        let Some(frame) = self.stack.pop() else { return Ok(()) };
        if frame.object {
            let keys = self.keys.get_mut(frame.keys_start..).unwrap_or_default();
            if has_duplicate(keys) {
                return Err(self.fault(JsonFaultKind::DuplicateKey));
            }
            self.keys.truncate(frame.keys_start);
        }
        Ok(())
    }

    /// Reads a key and its colon, and stops before the value.
    fn key(&mut self) -> Result<(), JsonFault> {
        let key_start = self.at;
        match self.peek() {
            Some(b'"') => {}
            Some(_) => return Err(self.fault(JsonFaultKind::ExpectedKey)),
            None => return Err(self.fault(JsonFaultKind::Ended)),
        }
        let key = self.string()?.decode(self.text);
        self.count()?;
        self.skip_space();
        match self.peek() {
            Some(b':') => self.at += 1,
            Some(_) => return Err(self.fault(JsonFaultKind::ExpectedColon)),
            None => return Err(self.fault(JsonFaultKind::Ended)),
        }
        self.skip_space();
        if let Some(frame) = self.stack.last_mut()
            && frame.recorded
        {
            frame.open = u32::try_from(self.members.len()).unwrap_or(NONE);
            self.members.push(Member {
                parent: frame.parent,
                key: key.clone(),
                key_start,
                value: self.at..self.at,
            });
        }
        self.keys.push(key);
        Ok(())
    }

    /// One more key or item: each costs far more memory as a value than as text.
    fn count(&mut self) -> Result<(), JsonFault> {
        let left = self.keys_left.checked_sub(1);
        self.keys_left = left.ok_or_else(|| self.fault(JsonFaultKind::TooManyKeys))?;
        Ok(())
    }

    fn literal(&mut self, word: &'static str) -> Result<bool, JsonFault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.fault(JsonFaultKind::ExpectedValue));
        }
        self.at += word.len();
        Ok(true)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn fault(&self, kind: JsonFaultKind) -> JsonFault {
        JsonFault::new(kind, self.at)
    }
}

/// Whether two keys of one object are equal. May reorder them.
fn has_duplicate(keys: &mut [Cow<'_, str>]) -> bool {
    if keys.len() > PAIRWISE_KEYS_MAX {
        keys.sort_unstable();
        return keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b));
    }
    let mut rest = &*keys;
    while let Some((first, others)) = rest.split_first() {
        if others.contains(first) {
            return true;
        }
        rest = others;
    }
    false
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
pub(in crate::mcp) mod property_tests;
#[cfg(test)]
mod tests;
