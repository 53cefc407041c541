//! Replaces parts of a text and copies the rest byte for byte.

use std::ops::Range;

use bytes::Bytes;

/// One part of a text and what stands in its place.
pub(super) type Edit<'a> = (Range<usize>, &'a str);

/// Appends the text to `out` with the edits made. Edits are in order and do not overlap; their
/// ranges come from a scan of the same text and so lie on character boundaries.
pub(super) fn splice_into(out: &mut String, text: &str, edits: &[Edit<'_>]) {
    let mut copied = 0;
    for (range, replacement) in edits {
        debug_assert!(copied <= range.start && range.start <= range.end, "edits are in order");
        out.push_str(text.get(copied..range.start).unwrap_or_default());
        out.push_str(replacement);
        copied = range.end;
    }
    out.push_str(text.get(copied..).unwrap_or_default());
}

/// The text with one part replaced.
pub(super) fn splice(text: &str, range: Range<usize>, replacement: &str) -> Bytes {
    let mut out = String::with_capacity(text.len() + replacement.len());
    splice_into(&mut out, text, &[(range, replacement)]);
    Bytes::from(out)
}
