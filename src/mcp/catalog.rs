//! `tools/list`: definitions kept as the upstream wrote them, recognised by a canonical digest, offered
//! under prefixed names, page by page.
//!
//! Invariants: a definition is relayed byte for byte but for its name; two definitions have one digest
//! exactly when they mean the same JSON; a cursor serves only the catalogue that it was made for.

mod entry;
mod page;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

pub use entry::{Entries, Entry, read_entries};
pub use page::{BadCursor, Page, catalogue_digest, page};

use super::scan::{self, JsonFault, Limits};
use super::splice::splice_into;
use crate::model::{Digest, SEPARATOR, ServiceKey, ToolName, canonical_json};

/// Definitions in one result of `tools/list`.
pub const DEFINITIONS_MAX: usize = 10_000;

/// Bytes of one definition.
pub const DEFINITION_BYTES_MAX: usize = 1 << 20;

/// One tool as its upstream defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Without prefix.
    pub name: ToolName,
    /// The JSON object as the upstream wrote it.
    pub raw: Arc<str>,
    /// Of its canonical JSON: order of keys and white space do not matter, everything else does.
    pub digest: Digest,
}

/// A definition that cannot be offered: it is not listed and cannot be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedDefinition {
    /// Its name as far as it has one, cut to 128 characters.
    pub name: String,
    pub why: &'static str,
}

/// One result of `tools/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub definitions: Vec<Definition>,
    /// For the operator's eyes: one bad definition does not take the others away.
    pub refused: Vec<RefusedDefinition>,
    pub next_cursor: Option<String>,
}

/// Why a result of `tools/list` cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingFault {
    /// No strict JSON.
    Json(JsonFault),
    /// No `tools` array, or a `nextCursor` that is no string.
    Shape,
    /// More than [`DEFINITIONS_MAX`].
    TooMany,
}

impl fmt::Display for ListingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(fault) => write!(f, "the list of tools is invalid JSON: {fault}"),
            Self::Shape => {
                f.write_str("the list of tools is not `{\"tools\": [..], \"nextCursor\"?: \"..\"}`")
            }
            Self::TooMany => write!(f, "the list of tools is longer than {DEFINITIONS_MAX}"),
        }
    }
}

impl std::error::Error for ListingFault {}

#[derive(Deserialize)]
struct ListResult<'a> {
    #[serde(borrow)]
    tools: Vec<&'a RawValue>,
    #[serde(rename = "nextCursor", default)]
    next_cursor: Option<String>,
}

/// Reads the raw result of `tools/list`, definition by definition.
///
/// # Errors
/// [`ListingFault`] where nothing of it can be used.
pub fn read_listing(result_json: &str) -> Result<Listing, ListingFault> {
    scan::scan_text(result_json, Limits::REPLY).map_err(ListingFault::Json)?;
    let list: ListResult<'_> = serde_json::from_str(result_json).map_err(|_| ListingFault::Shape)?;
    if list.tools.len() > DEFINITIONS_MAX {
        return Err(ListingFault::TooMany);
    }
    let mut listing = Listing { next_cursor: list.next_cursor, ..Listing::default() };
    let mut seen = HashSet::with_capacity(list.tools.len());
    for raw in list.tools {
        match Definition::read(raw.get()) {
            Ok(definition) if seen.insert(definition.name.clone()) => listing.definitions.push(definition),
            Ok(twice) => listing.refused.push(RefusedDefinition {
                name: twice.name.to_string(),
                why: "another tool of the list has the same name",
            }),
            Err(refused) => listing.refused.push(refused),
        }
    }
    Ok(listing)
}

impl Definition {
    /// Reads one definition.
    ///
    /// # Errors
    /// [`RefusedDefinition`] says why it cannot be offered.
    pub fn read(raw: &str) -> Result<Self, RefusedDefinition> {
        let refuse = |name: &str, why| {
            Err(RefusedDefinition { name: name.chars().filter(|c| !c.is_control()).take(128).collect(), why })
        };
        if raw.len() > DEFINITION_BYTES_MAX {
            return refuse("", "it is longer than 1 MiB");
        }
        let Ok(document) = scan::scan_text(raw, Limits::REPLY) else {
            return refuse("", "it is invalid JSON");
        };
        let Some(name) = document.get("name").and_then(|value| value.string()) else {
            return refuse("", "it has no name");
        };
        let Ok(tool) = ToolName::parse(&name) else {
            return refuse(&name, "its name is not 1 to 128 of A-Z, a-z, 0-9, `_`, `.`, `-` and `/`");
        };
        if document.get("inputSchema").is_none_or(|schema| schema.kind() != scan::Kind::Object) {
            return refuse(&name, "its `inputSchema` is not an object");
        }
        let Ok(value) = serde_json::from_str(raw) else {
            return refuse(&name, "it is invalid JSON");
        };
        let digest = Digest::of(canonical_json(&value).as_bytes());
        Ok(Self { name: tool, raw: Arc::from(raw), digest })
    }
}

/// The definition as it is offered: byte for byte, but under its prefixed name.
pub fn prefixed(service: &ServiceKey, definition: &Definition) -> String {
    renamed(definition, &format!("{service}{SEPARATOR}{}", definition.name))
}

/// The same under a name of which the grammar leaves nothing to escape.
pub fn renamed(definition: &Definition, name: &str) -> String {
    let raw = &*definition.raw;
    let mut out = String::with_capacity(raw.len() + name.len());
    let place = scan::scan_text(raw, Limits::REPLY).ok().and_then(|document| document.get("name"));
    if let Some(place) = place {
        splice_into(&mut out, raw, &[(place.range(), &format!("\"{name}\""))]);
    }
    out
}

#[cfg(test)]
mod tests;
