//! Prompts, resources and templates of resources: lists of them, read as the upstream wrote them.
//!
//! Invariants: an entry is relayed byte for byte, but for the prefix of a prompt's name; an entry that no
//! request could name is left out, and takes no other with it.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::{DEFINITION_BYTES_MAX, DEFINITIONS_MAX, ListingFault, RefusedDefinition};
use crate::mcp::primitive::Primitive;
use crate::mcp::scan::{self, Kind, Limits};
use crate::mcp::splice::splice_into;
use crate::model::{SEPARATOR, ServiceKey};

/// Bytes of a name or a URI: what a request that names it may hold (`message::operation`).
const NAME_BYTES_MAX: usize = 8 * 1024;

/// One prompt, resource or template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A prompt's name without prefix, a resource's URI, the text of a template.
    pub name: Arc<str>,
    /// The JSON object as the upstream wrote it.
    pub raw: Arc<str>,
}

/// One result of `prompts/list`, `resources/list` or `resources/templates/list`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    pub entries: Vec<Entry>,
    /// For the operator's eyes.
    pub refused: Vec<RefusedDefinition>,
    pub next_cursor: Option<String>,
    /// How long the upstream lets it be kept, in milliseconds, where it says so.
    pub ttl_ms: Option<u64>,
}

/// The member that names an entry.
const fn name_key(of: Primitive) -> &'static str {
    match of {
        Primitive::Tools | Primitive::Prompts => "name",
        Primitive::Resources => "uri",
        Primitive::Templates => "uriTemplate",
    }
}

/// Reads the raw result of a list, entry by entry.
///
/// # Errors
/// [`ListingFault`] where nothing of it can be used.
pub fn read_entries(of: Primitive, result: &str) -> Result<Entries, ListingFault> {
    let document = scan::scan_text(result, Limits::REPLY).map_err(ListingFault::Json)?;
    let list = document.get(of.key()).filter(|value| value.kind() == Kind::Array);
    let list = list.ok_or(ListingFault::Shape)?;
    let raws: Vec<&RawValue> = serde_json::from_str(list.raw()).map_err(|_| ListingFault::Shape)?;
    if raws.len() > DEFINITIONS_MAX {
        return Err(ListingFault::TooMany);
    }
    let next_cursor = match document.get("nextCursor") {
        None => None,
        Some(value) if value.kind() == Kind::Null => None,
        Some(value) => Some(value.string().ok_or(ListingFault::Shape)?.into_owned()),
    };
    let ttl_ms = document.get("ttlMs").filter(super::scan::Value::is_integer);
    let ttl_ms = ttl_ms.and_then(|value| value.raw().parse().ok());
    let mut page = Entries { next_cursor, ttl_ms, ..Entries::default() };
    for raw in raws {
        match Entry::read(of, raw.get()) {
            Ok(entry) => page.entries.push(entry),
            Err(refused) => page.refused.push(refused),
        }
    }
    Ok(page)
}

impl Entry {
    /// Reads one entry.
    ///
    /// # Errors
    /// [`RefusedDefinition`] says why it cannot be offered.
    pub fn read(of: Primitive, raw: &str) -> Result<Self, RefusedDefinition> {
        let refuse = |name: &str, why| {
            Err(RefusedDefinition { name: name.chars().filter(|c| !c.is_control()).take(128).collect(), why })
        };
        if raw.len() > DEFINITION_BYTES_MAX {
            return refuse("", "it is longer than 1 MiB");
        }
        let Ok(document) = scan::scan_text(raw, Limits::REPLY) else {
            return refuse("", "it is invalid JSON");
        };
        let Some(name) = document.get(name_key(of)).and_then(|value| value.string()) else {
            return refuse("", "it has no name");
        };
        if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            return refuse(&name, "its name is empty, longer than 8 KiB, or holds control characters");
        }
        Ok(Self { name: Arc::from(&*name), raw: Arc::from(raw) })
    }

    /// The entry as it is offered: a prompt under its prefixed name, all else as it came.
    pub fn offered(&self, of: Primitive, service: &ServiceKey) -> String {
        if of != Primitive::Prompts {
            return String::from(&*self.raw);
        }
        let raw = &*self.raw;
        let mut out = String::with_capacity(raw.len() + service.as_str().len() + SEPARATOR.len());
        let name = scan::scan_text(raw, Limits::REPLY).ok().and_then(|document| document.get("name"));
        if let Some(name) = name {
            // After the opening quote, so that the name itself stays as it was escaped.
            let place = name.range().start + 1;
            splice_into(&mut out, raw, &[(place..place, &format!("{service}{SEPARATOR}"))]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: Primitive, result: &str) -> Vec<String> {
        let page = read_entries(of, result).unwrap();
        page.entries.iter().map(|entry| entry.name.to_string()).collect()
    }

    #[test]
    fn entries_are_read_by_their_kind_and_bad_ones_left_out() {
        let check = |of, result: &str, expect: &[&str], refused: usize| {
            assert_eq!(names(of, result), expect, "{result}");
            assert_eq!(read_entries(of, result).unwrap().refused.len(), refused, "{result}");
        };
        check(Primitive::Prompts, r#"{"prompts":[{"name":"a b"},{"title":"x"},{"name":""}]}"#, &["a b"], 2);
        check(
            Primitive::Resources,
            r#"{"resources":[{"uri":"x://1","name":"n"}],"nextCursor":null}"#,
            &["x://1"],
            0,
        );
        check(
            Primitive::Templates,
            r#"{"resourceTemplates":[{"uriTemplate":"x://{id}"},7]}"#,
            &["x://{id}"],
            1,
        );
        check(Primitive::Resources, r#"{"resources":[{"uri":"a\u0007"}]}"#, &[], 1);
        for (of, result) in [
            (Primitive::Prompts, r#"{"tools":[]}"#),
            (Primitive::Prompts, r#"{"prompts":{}}"#),
            (Primitive::Prompts, r#"{"prompts":[],"nextCursor":1}"#),
        ] {
            assert_eq!(read_entries(of, result), Err(ListingFault::Shape), "{result}");
        }
        let cursor = read_entries(Primitive::Prompts, r#"{"prompts":[],"nextCursor":"n\"x"}"#).unwrap();
        assert_eq!(cursor.next_cursor.as_deref(), Some("n\"x"));
    }

    #[test]
    fn only_a_prompts_name_is_touched() {
        let service = ServiceKey::parse("every").unwrap();
        let raw = r#"{ "description":"\u00e9 1.0", "name" : "a\"b", "arguments":[ {"name":"x"} ] }"#;
        let prompt = Entry::read(Primitive::Prompts, raw).unwrap();
        assert_eq!(
            prompt.offered(Primitive::Prompts, &service),
            r#"{ "description":"\u00e9 1.0", "name" : "every__a\"b", "arguments":[ {"name":"x"} ] }"#
        );
        let raw = r#"{"name":"n", "uri":"x://a"}"#;
        let resource = Entry::read(Primitive::Resources, raw).unwrap();
        assert_eq!(resource.offered(Primitive::Resources, &service), raw);
    }
}
