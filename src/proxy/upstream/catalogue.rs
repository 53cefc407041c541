//! What an upstream offers, compared with what was accepted (decision 5).
//!
//! Invariants: a tool that is not in the connector's lock is never listed; one that differs from it
//! is listed only where the connector says so; a list is read whole, within caps on pages, tools and
//! bytes, or not at all; a stale list is marked as such.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::Instant;

use super::UpstreamFailure;
use crate::connector::{Connector, OnChange};
use crate::mcp::catalog::{Definition, RefusedDefinition, read_listing};
use crate::mcp::{ReplyBody, param_headers};
use crate::model::{Digest, Timestamp, ToolName};

/// Pages of one list.
pub(super) const PAGES_MAX: usize = 100;
/// Tools of one upstream.
const TOOLS_MAX: usize = 10_000;
/// Bytes of all pages of one list.
const LIST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A whole list, as the upstream gave it.
#[derive(Debug)]
pub(super) struct Listed {
    pub definitions: Vec<Definition>,
    pub refused: Vec<RefusedDefinition>,
    pub at: Timestamp,
    pub read: Instant,
    /// `Changed::count` before it was asked for.
    pub changes: u64,
}

/// A list while its pages come in.
#[derive(Debug)]
pub(super) struct Pages {
    definitions: Vec<Definition>,
    refused: Vec<RefusedDefinition>,
    names: HashSet<ToolName>,
    cursors: HashSet<String>,
    bytes: usize,
    pages: usize,
    changes: u64,
}

impl Pages {
    /// No page yet.
    pub fn new(changes: u64) -> Self {
        Self {
            definitions: Vec::new(),
            refused: Vec::new(),
            names: HashSet::new(),
            cursors: HashSet::new(),
            bytes: 0,
            pages: 0,
            changes,
        }
    }

    /// Takes a page; gives the cursor of the next one, if there is one.
    ///
    /// # Errors
    /// The list is no list, too long, or leads in a circle.
    pub fn take(&mut self, body: &ReplyBody) -> Result<Option<String>, UpstreamFailure> {
        let broken = |why: String| Err(UpstreamFailure::broken(why));
        let Some(result) = body.result() else {
            let (code, message) = body.error().unwrap_or_default();
            let message: String = message.chars().take(200).collect();
            return broken(format!("it refused `tools/list`: {code} `{}`", message.escape_default()));
        };
        self.bytes = self.bytes.saturating_add(result.len());
        self.pages += 1;
        if self.bytes > LIST_BYTES_MAX {
            return broken(format!("its list of tools is larger than {LIST_BYTES_MAX} bytes"));
        }
        let page = read_listing(result).map_err(|fault| UpstreamFailure::broken(fault.to_string()))?;
        self.refused.extend(page.refused);
        for definition in page.definitions {
            if self.names.insert(definition.name.clone()) {
                self.definitions.push(definition);
            } else {
                let why = "another tool of the list has the same name";
                self.refused.push(RefusedDefinition { name: definition.name.to_string(), why });
            }
        }
        if self.definitions.len() + self.refused.len() > TOOLS_MAX {
            return broken(format!("it lists more than {TOOLS_MAX} tools"));
        }
        let Some(cursor) = page.next_cursor else { return Ok(None) };
        if self.pages >= PAGES_MAX {
            return broken(format!("its list of tools has more than {PAGES_MAX} pages"));
        }
        if !self.cursors.insert(cursor.clone()) {
            return broken("its list of tools leads in a circle: it gave the same cursor twice".to_owned());
        }
        Ok(Some(cursor))
    }

    /// The whole list.
    pub fn finish(self) -> Listed {
        Listed {
            definitions: self.definitions,
            refused: self.refused,
            at: Timestamp::now(),
            read: Instant::now(),
            changes: self.changes,
        }
    }
}

/// Why a tool of the lock is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The upstream defines it otherwise than it was accepted.
    Changed { accepted: Digest, offered: Digest },
    /// The upstream's definition cannot be offered.
    Refused(&'static str),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed { accepted, offered } => write!(
                f,
                "its definition is {} and {} was accepted (see `wicket connector sync`)",
                offered.short(),
                accepted.short()
            ),
            Self::Refused(why) => write!(f, "its definition cannot be offered: {why}"),
        }
    }
}

/// How a tool stands at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// As accepted, or changed where the connector lets that pass.
    Served,
    /// Refused until a person accepts it.
    Quarantined(Why),
    /// Accepted once, but the upstream does not offer it any more, or it was never accepted.
    NotOffered,
}

/// An upstream's tools as they may be shown and called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Catalogue {
    /// Tools that may be listed, in the upstream's order.
    pub definitions: Vec<Definition>,
    /// Tools of the lock that are not served.
    pub quarantined: BTreeMap<ToolName, Why>,
    /// Tools that differ from the lock and are served all the same (`on_change = "report"`).
    pub reported: BTreeMap<ToolName, Why>,
    /// Names that the upstream offers and nobody accepted; never listed.
    pub unknown: Vec<ToolName>,
    /// Tools of the lock that the upstream does not offer.
    pub missing: Vec<ToolName>,
    /// When the list was read.
    pub fetched_at: Timestamp,
    /// The upstream could not be asked again when it should have been.
    pub stale: bool,
}

impl Catalogue {
    /// Compares a list with the connector's lock.
    pub(super) fn compare(listed: &Listed, connector: &Connector, stale: bool) -> Self {
        let mut catalogue = Self {
            definitions: Vec::new(),
            quarantined: BTreeMap::new(),
            reported: BTreeMap::new(),
            unknown: Vec::new(),
            missing: Vec::new(),
            fetched_at: listed.at,
            stale,
        };
        // A name with a refused definition is ambiguous at best, even if another one reads well.
        for refused in &listed.refused {
            if let Some(tool) = connector.tools.get(refused.name.as_str()) {
                catalogue.quarantined.insert(tool.name.clone(), Why::Refused(refused.why));
            }
        }
        for definition in &listed.definitions {
            let name = &definition.name;
            let Some(tool) = connector.tools.get(name) else {
                catalogue.unknown.push(name.clone());
                continue;
            };
            if catalogue.quarantined.contains_key(name) {
                continue;
            }
            // A client over HTTP must drop such a tool (MCP 2026-07-28), the gate included.
            if param_headers::lint(&tool.input_schema).is_err() {
                let why = "an `x-mcp-header` of its input schema breaks the rules of MCP 2026-07-28";
                catalogue.quarantined.insert(name.clone(), Why::Refused(why));
                continue;
            }
            if definition.digest != tool.digest {
                let why = Why::Changed { accepted: tool.digest, offered: definition.digest };
                match connector.on_change {
                    OnChange::Quarantine => {
                        catalogue.quarantined.insert(name.clone(), why);
                        continue;
                    }
                    OnChange::Report => {
                        catalogue.reported.insert(name.clone(), why);
                    }
                    OnChange::Allow => {}
                }
            }
            catalogue.definitions.push(definition.clone());
        }
        let offered: HashSet<&ToolName> =
            listed.definitions.iter().map(|definition| &definition.name).collect();
        let quarantined = &catalogue.quarantined;
        let missing = connector.tools.keys();
        let missing = missing.filter(|name| !offered.contains(name) && !quarantined.contains_key(*name));
        catalogue.missing = missing.cloned().collect();
        catalogue
    }

    /// How this tool stands.
    pub fn standing(&self, tool: &ToolName) -> Standing {
        if let Some(why) = self.quarantined.get(tool) {
            return Standing::Quarantined(why.clone());
        }
        match self.definitions.iter().any(|definition| &definition.name == tool) {
            true => Standing::Served,
            false => Standing::NotOffered,
        }
    }
}

#[cfg(test)]
mod tests;
