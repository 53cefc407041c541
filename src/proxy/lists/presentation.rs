//! How many definitions a list puts into a model's context: all that the caller may use, or a way to
//! search them.
//!
//! Invariant: what is not listed for the sake of brevity can be found, and called, as before.

use serde::{Deserialize, Serialize};

use super::merged::Entry;
use crate::connector::{Connectors, builtin};

/// The gate's tool that searches the others.
pub(super) const SEARCH_TOOL: &str = "search_tools";
/// Where everything is listed, the search is listed beside more tools than these.
const UNSEARCHED_MAX: usize = 50;

/// What `tools/list` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presentation {
    /// Every tool that the caller could be permitted to call.
    #[default]
    All,
    /// The gate's own tools, among them the search, and those that are pinned.
    Search,
}

/// How lists are presented.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolLists {
    pub presentation: Presentation,
    /// Services (`github`), groups of tools (`github:issues`) and tools (`github__create_issue`) that are
    /// listed also where the rest is searched for.
    pub pinned: Vec<String>,
}

impl ToolLists {
    /// Which of the visible entries are listed, in their order.
    pub(super) fn listed(&self, entries: &[Entry], visible: &[u32], connectors: &Connectors) -> Vec<u32> {
        let entry = |number: &u32| usize::try_from(*number).ok().and_then(|number| entries.get(number));
        let can_search = visible.iter().filter_map(entry).any(is_search);
        let listed = |number: &&u32| {
            entry(number).is_some_and(|entry| match self.presentation {
                Presentation::Search if can_search => is_own(entry) || self.pins(entry, connectors),
                // Who may not search would find nothing.
                Presentation::Search | Presentation::All => {
                    !is_search(entry) || visible.len() > UNSEARCHED_MAX
                }
            })
        };
        visible.iter().filter(listed).copied().collect()
    }

    fn pins(&self, entry: &Entry, connectors: &Connectors) -> bool {
        let service = entry.service.as_str();
        self.pinned.iter().any(|pinned| match pinned.split_once(':') {
            Some((pinned, group)) => {
                let connector = connectors.get(service).filter(|_| pinned == service);
                let tools = connector.and_then(|connector| connector.groups.get(group));
                tools.is_some_and(|tools| tools.contains(&entry.tool))
            }
            None => pinned == service || *pinned == entry.name,
        })
    }
}

fn is_own(entry: &Entry) -> bool {
    entry.service.as_str() == builtin::SERVICE
}

fn is_search(entry: &Entry) -> bool {
    is_own(entry) && entry.tool.as_str() == SEARCH_TOOL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ServiceKey, ToolName};
    use crate::policy::fixtures::connectors;

    fn entry(service: &str, tool: &str) -> Entry {
        let name = format!("{service}__{tool}");
        let (service, tool) = (ServiceKey::parse(service).unwrap(), ToolName::parse(tool).unwrap());
        Entry { service, tool, name, definition: String::new() }
    }

    #[test]
    fn what_is_listed_is_the_gates_own_and_what_is_pinned() {
        let connectors = connectors();
        let mut entries: Vec<Entry> =
            ["get_file", "put_file", "search", "pay"].map(|tool| entry("depot", tool)).into();
        entries.extend([entry("notes", "add"), entry("wicket", "search_tools"), entry("wicket", "whoami")]);
        let list = |presentation: Presentation, pinned: &[&str], visible: &[u32]| {
            let pinned = pinned.iter().map(|name| (*name).to_owned()).collect();
            let listed = ToolLists { presentation, pinned }.listed(&entries, visible, &connectors);
            listed.iter().map(|n| entries[*n as usize].tool.as_str()).collect::<Vec<_>>().join(" ")
        };
        let all: Vec<u32> = (0..7).collect();
        let search = Presentation::Search;
        assert_eq!(list(Presentation::All, &[], &all), "get_file put_file search pay add whoami");
        assert_eq!(list(search, &[], &all), "search_tools whoami");
        assert_eq!(
            list(search, &["depot:files", "notes"], &all),
            "get_file put_file add search_tools whoami"
        );
        assert_eq!(list(search, &["depot__pay", "depot:none", "other"], &all), "pay search_tools whoami");
        // What is hidden stays so; without the search there is nothing to search with.
        assert_eq!(list(search, &["depot"], &[1, 5]), "put_file search_tools");
        assert_eq!(list(search, &[], &[0, 4, 6]), "get_file add whoami");
    }

    #[test]
    fn a_long_list_has_the_search_beside_it() {
        let mut entries: Vec<Entry> = (0..50).map(|n| entry("depot", &format!("t{n}"))).collect();
        entries.push(entry("wicket", "search_tools"));
        let visible: Vec<u32> = (0..51).collect();
        let listed = |visible: &[u32]| ToolLists::default().listed(&entries, visible, &connectors()).len();
        assert_eq!((listed(&visible), listed(&visible[1..])), (51, 49));
    }
}
