//! What of a call's arguments may be written down.
//!
//! One pass over the JSON text writes a bounded copy: values under sensitive names and under the
//! connector's own paths are masked whole, strings that hold the shape of a secret are masked whole,
//! long strings are cut with their length told, and what exceeds the budget is counted instead of
//! written. Masking errs on the side of too much: the raw bytes are bound by a keyed digest beside.

mod gaps;
mod names;
mod shapes;

use std::borrow::Cow;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

pub use gaps::gaps;
pub use names::is_sensitive_name;
pub use shapes::secret_shape;

use super::json::{integer, natural, string};
use crate::connector::{ArgumentPath, ArgumentStep};

/// Bounds of one redacted value.
#[derive(Debug, Clone, Copy)]
pub struct RedactLimits {
    /// Bytes of JSON written, beyond which members are counted and not written.
    pub output_bytes_max: usize,
    /// Characters kept of one string.
    pub string_characters_max: usize,
}

impl Default for RedactLimits {
    fn default() -> Self {
        Self { output_bytes_max: 4 << 10, string_characters_max: 256 }
    }
}

/// Characters kept of one member name.
const NAME_CHARACTERS_MAX: usize = 100;
/// Bytes looked at behind the kept part of a string, so that a secret that begins in it is seen.
const SHAPE_OVERLAP_BYTES: usize = 2_048;

/// The redacted copy of a JSON text: valid JSON, at most a little over `output_bytes_max`.
pub fn redact(json: &str, paths: &[ArgumentPath], limits: RedactLimits) -> String {
    let mut out = Vec::with_capacity(json.len().min(512));
    redact_into(&mut out, json, paths, limits);
    String::from_utf8(out).unwrap_or_default()
}

/// Appends the redacted copy of a JSON text.
pub(super) fn redact_into(out: &mut Vec<u8>, json: &str, paths: &[ArgumentPath], limits: RedactLimits) {
    let start = out.len();
    let mut writer = Redactor { out, start, paths, at: Vec::new(), limits };
    let mut reader = serde_json::Deserializer::from_str(json);
    let read = Node(&mut writer).deserialize(&mut reader).and_then(|()| reader.end());
    if read.is_err() {
        out.truncate(start);
        out.extend_from_slice("{\"…\":\"not readable\"}".as_bytes());
    }
}

/// One line of text for an entry: masked where it holds the shape of a secret, else cut.
pub fn redact_text(text: &str, characters_max: usize) -> String {
    redacted(text, characters_max).into_owned()
}

/// The same, without a copy where nothing is masked, cut or replaced: nearly always.
pub(super) fn redacted(text: &str, characters_max: usize) -> Cow<'_, str> {
    let window =
        text.get(..text.floor_char_boundary(characters_max * 4 + SHAPE_OVERLAP_BYTES)).unwrap_or(text);
    match secret_shape(window) {
        Some(shape) => Cow::Owned(format!("[redacted: {shape}]")),
        None => cut(text, characters_max),
    }
}

fn cut(text: &str, characters_max: usize) -> Cow<'_, str> {
    // Control characters would be six bytes each in JSON, and act on a terminal: they are shown.
    let acts = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.len() <= characters_max && !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| if acts(c) { '\u{FFFD}' } else { c };
    let kept: String = text.chars().take(characters_max).map(shown).collect();
    Cow::Owned(match text.chars().nth(characters_max) {
        None => kept,
        Some(_) => format!("{kept}… [{} bytes]", text.len()),
    })
}

/// One step down from the root.
enum Place<'j> {
    Member(Cow<'j, str>),
    Element,
}

struct Redactor<'o, 'j> {
    out: &'o mut Vec<u8>,
    /// Where the copy begins in `out`.
    start: usize,
    paths: &'o [ArgumentPath],
    at: Vec<Place<'j>>,
    limits: RedactLimits,
}

impl Redactor<'_, '_> {
    fn written(&self) -> usize {
        self.out.len().saturating_sub(self.start)
    }

    fn spent(&self) -> bool {
        self.written() >= self.limits.output_bytes_max
    }

    fn write(&mut self, json: &str) {
        self.out.extend_from_slice(json.as_bytes());
    }

    /// Whether the value at the current place is masked whole.
    fn masked(&self) -> bool {
        let by_name = matches!(self.at.last(), Some(Place::Member(name)) if is_sensitive_name(name));
        by_name || self.paths.iter().any(|path| covers(path, &self.at))
    }

    fn write_text(&mut self, text: &str, characters_max: usize) {
        let room = self.limits.output_bytes_max.saturating_sub(self.written());
        string(self.out, &redacted(text, characters_max.min(room.max(16))));
    }
}

/// Whether the path names this place. A path without `*` is taken to reach through lists as well:
/// masking too much is the safe side.
fn covers(path: &ArgumentPath, at: &[Place<'_>]) -> bool {
    let fits = |step: &ArgumentStep, place: &Place<'_>| match (step, place) {
        (ArgumentStep::Each, _) => true,
        (ArgumentStep::Member(step), Place::Member(name)) => step.as_str() == name,
        (ArgumentStep::Member(_), Place::Element) => false,
    };
    let steps = path.steps();
    if steps.len() == at.len() {
        return steps.iter().zip(at).all(|(step, place)| fits(step, place));
    }
    let members = || at.iter().filter(|place| matches!(place, Place::Member(_)));
    let ends_in_member = matches!(at.last(), Some(Place::Member(_)));
    ends_in_member
        && steps.len() == members().count()
        && steps.iter().zip(members()).all(|(step, place)| fits(step, place))
}

struct Node<'w, 'o, 'j>(&'w mut Redactor<'o, 'j>);

impl<'de> DeserializeSeed<'de> for Node<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A member's name, borrowed where it has no escape.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

impl<'de> Visitor<'de> for Node<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.write(if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        integer(self.0.out, value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        natural(self.0.out, value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.write(&serde_json::Value::from(value).to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let max = self.0.limits.string_characters_max;
        self.0.write_text(value, max);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.write("null");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let writer = self.0;
        writer.out.push(b'[');
        let mut written = 0u64;
        while !writer.spent() {
            let mark = writer.out.len();
            if written > 0 {
                writer.out.push(b',');
            }
            writer.at.push(Place::Element);
            let more = if writer.masked() {
                writer.write("\"[redacted]\"");
                items.next_element::<IgnoredAny>()?.is_some()
            } else {
                items.next_element_seed(Node(&mut *writer))?.is_some()
            };
            writer.at.pop();
            if !more {
                writer.out.truncate(mark);
                break;
            }
            written += 1;
        }
        let mut omitted = 0u64;
        while items.next_element::<IgnoredAny>()?.is_some() {
            omitted += 1;
        }
        if omitted > 0 {
            if written > 0 {
                writer.out.push(b',');
            }
            string(writer.out, &format!("… {omitted} more"));
        }
        writer.out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let writer = self.0;
        writer.out.push(b'{');
        let mut written = 0u64;
        let mut omitted = 0u64;
        while let Some(name) = members.next_key_seed(Name)? {
            if writer.spent() {
                members.next_value::<IgnoredAny>()?;
                omitted += 1;
                continue;
            }
            if written > 0 {
                writer.out.push(b',');
            }
            writer.write_text(&name, NAME_CHARACTERS_MAX);
            writer.out.push(b':');
            writer.at.push(Place::Member(name));
            if writer.masked() {
                members.next_value::<IgnoredAny>()?;
                writer.write("\"[redacted]\"");
            } else {
                members.next_value_seed(Node(&mut *writer))?;
            }
            writer.at.pop();
            written += 1;
        }
        if omitted > 0 {
            if written > 0 {
                writer.out.push(b',');
            }
            writer.write(&format!("\"…\":\"{omitted} more\""));
        }
        writer.out.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests;
