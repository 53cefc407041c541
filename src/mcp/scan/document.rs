//! What a scan leaves: the value, and where the members of its two outer levels lie.

use std::borrow::Cow;
use std::ops::Range;

use super::string::decode;

/// No member.
pub(super) const NONE: u32 = u32::MAX;

/// A member of a recorded object.
#[derive(Debug)]
pub(super) struct Member<'a> {
    /// Index of the member whose value holds this one; `NONE` in the outermost object.
    pub parent: u32,
    /// Decoded.
    pub key: Cow<'a, str>,
    /// Where the key's opening quote stands.
    pub key_start: usize,
    pub value: Range<usize>,
}

/// Where a member of the outermost object stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPlace<'d> {
    /// Decoded.
    pub key: &'d str,
    /// From the key's opening quote to the end of the value.
    pub range: Range<usize>,
    pub value: Range<usize>,
}

/// The kinds of JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// One value of a scanned text.
#[derive(Debug, Clone)]
pub struct Value<'a> {
    raw: &'a str,
    range: Range<usize>,
}

impl<'a> Value<'a> {
    pub(super) fn new(text: &'a str, range: Range<usize>) -> Self {
        Self { raw: text.get(range.clone()).unwrap_or_default(), range }
    }

    /// The value as it was written.
    pub const fn raw(&self) -> &'a str {
        self.raw
    }

    /// Where it stands in the scanned text, in bytes.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Its kind, told by its first byte.
    pub fn kind(&self) -> Kind {
        match self.raw.as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// The decoded text of a string; nothing for another kind.
    pub fn string(&self) -> Option<Cow<'a, str>> {
        self.raw.strip_prefix('"')?.strip_suffix('"').map(decode)
    }

    /// Whether it is a number without fraction and exponent.
    pub fn is_integer(&self) -> bool {
        let digits = self.raw.strip_prefix('-').unwrap_or(self.raw);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    }
}

/// A scanned text: its value and the members of its two outer levels of objects.
#[derive(Debug)]
pub struct Document<'a> {
    root: Value<'a>,
    text: &'a str,
    members: Vec<Member<'a>>,
}

impl<'a> Document<'a> {
    pub(super) fn new(text: &'a str, root: Value<'a>, members: Vec<Member<'a>>) -> Self {
        Self { root, text, members }
    }

    /// The whole value.
    pub const fn root(&self) -> &Value<'a> {
        &self.root
    }

    /// The member of the outermost object that has this key.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.find(NONE, key).map(|(_, member)| self.value(member))
    }

    /// The member `inner` of the object that is the member `outer` of the outermost object.
    pub fn get_in(&self, outer: &str, inner: &str) -> Option<Value<'a>> {
        let (index, _) = self.find(NONE, outer)?;
        self.find(u32::try_from(index).ok()?, inner).map(|(_, member)| self.value(member))
    }

    /// The decoded keys of the outermost object, in the order in which they stand.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|member| member.parent == NONE).map(|member| member.key.as_ref())
    }

    /// The members of the outermost object, in the order in which they stand.
    pub fn members(&self) -> impl Iterator<Item = MemberPlace<'_>> {
        let outer = self.members.iter().filter(|member| member.parent == NONE);
        outer.map(|member| MemberPlace {
            key: &member.key,
            range: member.key_start..member.value.end,
            value: member.value.clone(),
        })
    }

    /// The part to cut out so that the outermost object loses the member and one comma: what is left
    /// is an object again, its other members untouched.
    pub fn cut_range(&self, key: &str) -> Option<Range<usize>> {
        let (index, member) = self.find(NONE, key)?;
        let outermost = |member: &&Member<'_>| member.parent == NONE;
        if let Some(next) = self.members.iter().skip(index + 1).find(outermost) {
            return Some(member.key_start..next.key_start);
        }
        let before = self.members.iter().take(index).rev().find(outermost);
        Some(before.map_or(member.key_start, |previous| previous.value.end)..member.value.end)
    }

    fn find(&self, parent: u32, key: &str) -> Option<(usize, &Member<'a>)> {
        self.members.iter().enumerate().find(|(_, member)| member.parent == parent && member.key == key)
    }

    fn value(&self, member: &Member<'a>) -> Value<'a> {
        Value::new(self.text, member.value.clone())
    }
}
