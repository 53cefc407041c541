//! Pages of a list, and the cursors between them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::model::Digest;

/// Bytes of the catalogue's digest that a cursor repeats.
const DIGEST_BYTES: usize = 8;

/// A cursor that the gate did not give, or that belongs to a catalogue that has changed: -32602.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadCursor;

impl fmt::Display for BadCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the cursor does not belong to this list")
    }
}

impl std::error::Error for BadCursor {}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<'a, T> {
    pub items: &'a [T],
    /// Where the next page begins; nothing on the last one.
    pub next_cursor: Option<String>,
}

/// The digest of a whole list as one caller sees it, for [`page`].
pub fn catalogue_digest<'a>(definitions: impl IntoIterator<Item = &'a str>) -> Digest {
    Digest::of_parts(definitions.into_iter().map(str::as_bytes))
}

/// The page that begins at the cursor, or the first. A cursor holds the place and the first bytes of
/// the catalogue's digest: it opens nothing, since a page is cut out of the caller's own list.
///
/// # Errors
/// [`BadCursor`].
pub fn page<'a, T>(
    items: &'a [T],
    catalogue: &Digest,
    cursor: Option<&str>,
    page_size: usize,
) -> Result<Page<'a, T>, BadCursor> {
    let start = match cursor {
        None => 0,
        Some(cursor) => {
            place(catalogue, cursor).filter(|start| (1..items.len()).contains(start)).ok_or(BadCursor)?
        }
    };
    let end = start.saturating_add(page_size.max(1)).min(items.len());
    let next_cursor = (end < items.len()).then(|| cursor_at(catalogue, end)).flatten();
    Ok(Page { items: items.get(start..end).unwrap_or_default(), next_cursor })
}

pub(super) fn cursor_at(catalogue: &Digest, place: usize) -> Option<String> {
    let place = u32::try_from(place).ok()?;
    let digest = catalogue.as_bytes().first_chunk::<DIGEST_BYTES>()?;
    Some(URL_SAFE_NO_PAD.encode([digest.as_slice(), &place.to_be_bytes()].concat()))
}

fn place(catalogue: &Digest, cursor: &str) -> Option<usize> {
    // Longer than any cursor: not worth decoding.
    if cursor.len() > 64 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (digest, place) = bytes.split_first_chunk::<DIGEST_BYTES>()?;
    let belongs = catalogue.as_bytes().starts_with(digest);
    let place = u32::from_be_bytes(place.try_into().ok()?);
    belongs.then(|| usize::try_from(place).ok()).flatten()
}
