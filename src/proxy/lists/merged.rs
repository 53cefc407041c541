//! Merged lists that are kept as long as the lists that they were merged of are the same.
//!
//! Invariants: a kept list answers only for exactly the lists of upstreams that it was made of, which it
//! holds on to, so that none of them can be mistaken for another; at most [`KEPT_MAX`] are kept, the one
//! longest unused goes first. What of it a caller may see is not in here.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use crate::connector::Connectors;
use crate::mcp::catalog;
use crate::model::{Digest, ServiceKey, ToolName};

use super::Catalogue;
use super::search::SearchIndex;

/// Merged lists that are kept: one for each set of enabled connectors in use. 1,496 tools take a mebibyte.
const KEPT_MAX: usize = 32;

/// One tool as it is offered.
#[derive(Debug)]
pub(in crate::proxy) struct Entry {
    pub service: ServiceKey,
    pub tool: ToolName,
    /// The name that it is offered under.
    pub name: String,
    /// The upstream's, under that name.
    pub definition: String,
}

/// The tools of several upstreams under their prefixed names.
#[derive(Debug)]
pub(in crate::proxy) struct Merged {
    of: Vec<Arc<Catalogue>>,
    pub entries: Vec<Entry>,
    /// Over all definitions.
    pub version: Digest,
    /// Made when somebody searches for the first time.
    index: OnceLock<SearchIndex>,
}

impl Merged {
    fn new(parts: &[(&ServiceKey, Arc<Catalogue>)], connectors: &Connectors) -> Self {
        let mut entries = Vec::new();
        for (service, catalogue) in parts {
            entries.extend(catalogue.definitions.iter().map(|tool| {
                let name = connectors.listed_name(service, &tool.name);
                let definition = catalog::renamed(tool, &name);
                Entry { service: (*service).clone(), tool: tool.name.clone(), name, definition }
            }));
        }
        let version = catalog::catalogue_digest(entries.iter().map(|entry| entry.definition.as_str()));
        let of = parts.iter().map(|(_, catalogue)| Arc::clone(catalogue)).collect();
        Self { of, entries, version, index: OnceLock::new() }
    }

    /// The entry at a place; places come out of a sight of this very list.
    pub fn entry(&self, place: u32) -> Option<&Entry> {
        self.entries.get(usize::try_from(place).ok()?)
    }

    /// The definitions at these places.
    pub fn texts(&self, places: &[u32]) -> impl Iterator<Item = &str> {
        places.iter().filter_map(|place| self.entry(*place)).map(|entry| entry.definition.as_str())
    }

    /// The index of all definitions.
    pub fn index(&self) -> &SearchIndex {
        self.index.get_or_init(|| SearchIndex::new(&self.entries))
    }

    /// A catalogue belongs to one connector under one lock, so that the same catalogues have the same
    /// names.
    fn is_of(&self, parts: &[(&ServiceKey, Arc<Catalogue>)]) -> bool {
        self.of.len() == parts.len()
            && self.of.iter().zip(parts).all(|(kept, (_, part))| Arc::ptr_eq(kept, part))
    }
}

/// The lists that are kept, last used first.
#[derive(Debug, Default)]
pub(in crate::proxy) struct MergedLists(Mutex<VecDeque<Arc<Merged>>>);

impl MergedLists {
    /// The merged list of these, in their order.
    pub fn of(&self, parts: &[(&ServiceKey, Arc<Catalogue>)], connectors: &Connectors) -> Arc<Merged> {
        if let Some(found) = self.take(parts) {
            return self.keep(found);
        }
        // Not under the lock: another caller may merge the same meanwhile, which costs time alone.
        self.keep(Arc::new(Merged::new(parts, connectors)))
    }

    fn take(&self, parts: &[(&ServiceKey, Arc<Catalogue>)]) -> Option<Arc<Merged>> {
        let mut kept = self.0.lock();
        let place = kept.iter().position(|merged| merged.is_of(parts))?;
        kept.remove(place)
    }

    fn keep(&self, merged: Arc<Merged>) -> Arc<Merged> {
        let mut kept = self.0.lock();
        kept.push_front(Arc::clone(&merged));
        kept.truncate(KEPT_MAX);
        merged
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::catalog::Definition;
    use crate::policy::fixtures::connectors;

    fn catalogue(names: &[&str]) -> Arc<Catalogue> {
        let tools: Vec<_> =
            names.iter().map(|name| serde_json::json!({"name": name, "inputSchema": {}})).collect();
        let definitions = tools.iter().map(|tool| Definition::read(&tool.to_string()).unwrap()).collect();
        Arc::new(Catalogue { definitions, ..Catalogue::default() })
    }

    #[test]
    fn a_list_is_kept_for_the_lists_it_was_made_of_and_for_no_others() {
        let (kept, connectors) = (MergedLists::default(), connectors());
        let of = |parts: &[(&ServiceKey, Arc<Catalogue>)]| kept.of(parts, &connectors);
        let (a, b) = (ServiceKey::parse("a").unwrap(), ServiceKey::parse("b").unwrap());
        let (one, two, same) = (catalogue(&["x"]), catalogue(&["y", "z"]), catalogue(&["x"]));
        let both = of(&[(&a, Arc::clone(&one)), (&b, Arc::clone(&two))]);
        let names: Vec<bool> = ["a__x", "b__y", "b__z"]
            .iter()
            .zip(&both.entries)
            .map(|(name, tool)| tool.definition.contains(name))
            .collect();
        assert_eq!(names, [true; 3]);
        let again = of(&[(&a, Arc::clone(&one)), (&b, Arc::clone(&two))]);
        assert!(Arc::ptr_eq(&both, &again));
        for others in [vec![(&a, Arc::clone(&one))], vec![(&a, same), (&b, two)], Vec::new()] {
            assert!(!Arc::ptr_eq(&both, &of(&others)), "{}", others.len());
        }
        for n in 0..KEPT_MAX {
            of(&[(&a, catalogue(&[&format!("t{n}")]))]);
        }
        assert_eq!(kept.0.lock().len(), KEPT_MAX);
        assert!(!Arc::ptr_eq(&both, &of(&[(&a, one)])));
    }
}
