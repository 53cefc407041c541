//! Merged lists that are kept as long as the lists that they were merged of are the same.
//!
//! Invariants: a kept list answers only for exactly the lists of upstreams that it was made of, which it
//! holds on to, so that none of them can be mistaken for another; at most [`KEPT_MAX`] are kept, the one
//! longest unused goes first. The rights of a caller are in which lists are merged, not in here.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::mcp::catalog;
use crate::model::{Digest, ServiceKey};

use super::Catalogue;

/// Merged lists that are kept: one for each set of enabled connectors in use. 1,496 tools take a mebibyte.
const KEPT_MAX: usize = 32;

/// The tools of several upstreams under their prefixed names.
#[derive(Debug)]
pub(in crate::proxy) struct Merged {
    of: Vec<Arc<Catalogue>>,
    pub definitions: Vec<String>,
    /// What cursors are bound to.
    pub version: Digest,
}

impl Merged {
    fn new(parts: &[(&ServiceKey, Arc<Catalogue>)]) -> Self {
        let mut definitions = Vec::new();
        for (service, catalogue) in parts {
            definitions.extend(catalogue.definitions.iter().map(|tool| catalog::prefixed(service, tool)));
        }
        let version = catalog::catalogue_digest(definitions.iter().map(String::as_str));
        Self { of: parts.iter().map(|(_, catalogue)| Arc::clone(catalogue)).collect(), definitions, version }
    }

    /// A catalogue belongs to one connector, so that the same catalogues have the same prefixes.
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
    pub fn of(&self, parts: &[(&ServiceKey, Arc<Catalogue>)]) -> Arc<Merged> {
        if let Some(found) = self.take(parts) {
            return self.keep(found);
        }
        // Not under the lock: another caller may merge the same meanwhile, which costs time alone.
        self.keep(Arc::new(Merged::new(parts)))
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

    fn catalogue(names: &[&str]) -> Arc<Catalogue> {
        let tools: Vec<_> =
            names.iter().map(|name| serde_json::json!({"name": name, "inputSchema": {}})).collect();
        let definitions = tools.iter().map(|tool| Definition::read(&tool.to_string()).unwrap()).collect();
        Arc::new(Catalogue { definitions, ..Catalogue::default() })
    }

    #[test]
    fn a_list_is_kept_for_the_lists_it_was_made_of_and_for_no_others() {
        let lists = MergedLists::default();
        let (a, b) = (ServiceKey::parse("a").unwrap(), ServiceKey::parse("b").unwrap());
        let (one, two, same) = (catalogue(&["x"]), catalogue(&["y", "z"]), catalogue(&["x"]));
        let both = lists.of(&[(&a, Arc::clone(&one)), (&b, Arc::clone(&two))]);
        let names: Vec<bool> = ["a__x", "b__y", "b__z"]
            .iter()
            .zip(&both.definitions)
            .map(|(name, tool)| tool.contains(name))
            .collect();
        assert_eq!(names, [true; 3]);
        let again = lists.of(&[(&a, Arc::clone(&one)), (&b, Arc::clone(&two))]);
        assert!(Arc::ptr_eq(&both, &again));
        for others in [vec![(&a, Arc::clone(&one))], vec![(&a, same), (&b, two)], Vec::new()] {
            assert!(!Arc::ptr_eq(&both, &lists.of(&others)), "{}", others.len());
        }
        for n in 0..KEPT_MAX {
            lists.of(&[(&a, catalogue(&[&format!("t{n}")]))]);
        }
        assert_eq!(lists.0.lock().len(), KEPT_MAX);
        assert!(!Arc::ptr_eq(&both, &lists.of(&[(&a, one)])));
    }
}
