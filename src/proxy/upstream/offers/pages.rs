//! A list of prompts, resources or templates while its pages come in.
//!
//! Invariant: what is too long, or leads in a circle, ends the reading.

use std::collections::HashSet;
use std::sync::Arc;

use crate::mcp::catalog::{Entry, RefusedDefinition, read_entries};
use crate::mcp::{Primitive, ReplyBody};
use crate::proxy::upstream::UpstreamFailure;

/// Pages of one list.
const PAGES_MAX: usize = 100;
/// Entries of one list.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of all pages of one list.
const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;
/// JSON-RPC: the method is unknown.
const METHOD_NOT_FOUND: i64 = -32601;

/// The pages so far.
#[derive(Debug)]
pub struct EntryPages {
    of: Primitive,
    entries: Vec<Entry>,
    refused: Vec<RefusedDefinition>,
    names: HashSet<Arc<str>>,
    cursors: HashSet<String>,
    ttl_ms: Option<u64>,
    bytes: usize,
}

impl EntryPages {
    /// No page yet.
    pub fn new(of: Primitive) -> Self {
        Self {
            of,
            entries: Vec::new(),
            refused: Vec::new(),
            names: HashSet::new(),
            cursors: HashSet::new(),
            ttl_ms: None,
            bytes: 0,
        }
    }

    /// Takes a page; gives the cursor of the next one, if there is one. A server that declares resources
    /// need not know of templates: a list that it does not know is empty.
    ///
    /// # Errors
    /// The list is no list, too long, or leads in a circle.
    pub fn take(&mut self, body: &ReplyBody) -> Result<Option<String>, UpstreamFailure> {
        let list = self.of.method();
        let broken = |why: String| Err(UpstreamFailure::broken(why));
        let Some(result) = body.result() else {
            let (code, message) = body.error().unwrap_or_default();
            if code == METHOD_NOT_FOUND {
                return Ok(None);
            }
            let message: String = message.chars().take(200).collect();
            return broken(format!("it refused `{list}`: {code} `{}`", message.escape_default()));
        };
        self.bytes = self.bytes.saturating_add(result.len());
        if self.bytes > LIST_BYTES_MAX {
            return broken(format!("its `{list}` is larger than {LIST_BYTES_MAX} bytes"));
        }
        let page = read_entries(self.of, result)
            .map_err(|fault| UpstreamFailure::broken(format!("`{list}`: {fault}")))?;
        self.refused.extend(page.refused);
        self.ttl_ms = match (self.ttl_ms, page.ttl_ms) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        for entry in page.entries {
            if self.names.insert(Arc::clone(&entry.name)) {
                self.entries.push(entry);
            } else {
                let why = "another entry of the list has the same name";
                self.refused.push(RefusedDefinition { name: entry.name.to_string(), why });
            }
        }
        if self.entries.len() + self.refused.len() > ENTRIES_MAX {
            return broken(format!("its `{list}` has more than {ENTRIES_MAX} entries"));
        }
        let Some(cursor) = page.next_cursor else { return Ok(None) };
        if self.cursors.len() + 1 >= PAGES_MAX {
            return broken(format!("its `{list}` has more than {PAGES_MAX} pages"));
        }
        if !self.cursors.insert(cursor.clone()) {
            return broken(format!("its `{list}` leads in a circle: it gave the same cursor twice"));
        }
        Ok(Some(cursor))
    }

    /// The whole list, what is left out of it, and how long it may be kept.
    pub fn finish(self) -> (Vec<Entry>, Vec<RefusedDefinition>, Option<u64>) {
        (self.entries, self.refused, self.ttl_ms)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::mcp::{self, FromUpstream};

    fn body(result: &str) -> ReplyBody {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,{result}}}"#);
        match mcp::read_upstream(Bytes::from(text), mcp::Limits::REPLY) {
            Ok(FromUpstream::Response { body, .. }) => body,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn pages_are_joined_within_their_caps() {
        let mut pages = EntryPages::new(Primitive::Prompts);
        let first = r#""result":{"prompts":[{"name":"a"},{"name":"b"}],"nextCursor":"2","ttlMs":50}"#;
        assert_eq!(pages.take(&body(first)), Ok(Some("2".to_owned())));
        let circle = pages.take(&body(first)).unwrap_err().to_string();
        assert!(circle.contains("circle"), "{circle}");
        let last = r#""result":{"prompts":[{"name":"c"},{"name":"a"}],"ttlMs":10}"#;
        assert_eq!(pages.take(&body(last)), Ok(None));
        let (entries, refused, ttl_ms) = pages.finish();
        let names: Vec<_> = entries.iter().map(|entry| &*entry.name).collect();
        assert_eq!((names, refused.len(), ttl_ms), (vec!["a", "b", "c"], 3, Some(10)));

        let mut pages = EntryPages::new(Primitive::Templates);
        assert_eq!(pages.take(&body(r#""error":{"code":-32601,"message":"no"}"#)), Ok(None));
        assert!(pages.take(&body(r#""error":{"code":-32603,"message":"no"}"#)).is_err());
        for n in 0..PAGES_MAX - 1 {
            let page = format!(r#""result":{{"resourceTemplates":[],"nextCursor":"{n}"}}"#);
            assert!(pages.take(&body(&page)).is_ok(), "{n}");
        }
        let page = r#""result":{"resourceTemplates":[],"nextCursor":"x"}"#;
        assert!(pages.take(&body(page)).unwrap_err().to_string().contains("pages"));
    }
}
