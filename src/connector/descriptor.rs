//! Descriptors: `config/connectors/<service>.toml`, read strictly.
//!
//! Invariants: unknown keys are faults; every name that a descriptor says of a tool is a tool of the
//! lock, so that a rename upstream cannot leave a tier or a mapping hanging in the air; faults are
//! told together, not one a run.

mod raw;
mod resources;
mod transport;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;

use self::raw::{RawDescriptor, RawLimits, RawOnChange, RawTiers};
use super::lock::{Lock, LockedTool};
use super::{ArgumentPath, Connector, Limits, OnChange, ShortNames, Tool, operation};
use crate::model::{Diagnostic, Digest, GroupName, ServiceKey, SourceFile, Tier, ToolName};

/// Namespaces that no connector may take.
pub(super) const RESERVED_NAMESPACES: [&str; 1] = ["Wicket"];

/// Bytes of one descriptor.
const DESCRIPTOR_BYTES_MAX: usize = 1024 * 1024;

/// Faults of one file, collected while it is read.
struct Faults<'a> {
    source: &'a SourceFile,
    found: Vec<Diagnostic>,
}

impl Faults<'_> {
    fn at(&mut self, span: Range<usize>, message: impl Into<String>, help: &str) {
        self.found.push(Diagnostic::at(self.source, span.start, message).with_help(help));
    }

    /// The value, or its fault noted.
    fn take<T>(&mut self, span: Range<usize>, read: Result<T, String>, help: &str) -> Option<T> {
        read.map_err(|message| self.at(span, message, help)).ok()
    }
}

/// Reads a descriptor alone, without a lock: enough to reach the server and ask for its tools
/// (`wicket connector sync`). The connector has no tools and must not be served.
///
/// # Errors
/// Every fault, with file, line, column and what to do.
pub fn read_descriptor(source: &SourceFile) -> Result<Connector, Vec<Diagnostic>> {
    read(source, None)
}

/// Reads a descriptor together with its lock.
pub(super) fn read_with_lock(source: &SourceFile, lock: &Lock) -> Result<Connector, Vec<Diagnostic>> {
    read(source, Some(lock))
}

fn read(source: &SourceFile, lock: Option<&Lock>) -> Result<Connector, Vec<Diagnostic>> {
    let stem = source.name.rsplit(['/', '\\']).next().and_then(|name| name.strip_suffix(".toml"));
    let service = ServiceKey::parse(stem.unwrap_or_default()).map_err(|error| {
        let fault = Diagnostic::of_file(&source.name, error.to_string());
        vec![fault.with_help("name the file `<service>.toml`")]
    })?;
    let raw = parse(source)?;
    let mut faults = Faults { source, found: Vec::new() };
    let namespace = match &raw.namespace {
        None => derived_namespace(&service),
        Some(given) => {
            let checked = cedar_name(given.as_ref());
            faults.take(given.span(), checked, "such as `GitHubMCP`").unwrap_or_default()
        }
    };
    let transport = transport::read(&raw.transport, &mut faults);
    let limits = read_limits(&raw.limits, &mut faults);
    let redact = read_paths(&raw.redact, &mut faults);
    let resource_types = resources::read_types(&raw.resource, &mut faults);
    let known = Known { lock };
    let tiers = read_tiers(&raw.tiers, &known, &mut faults);
    let groups = read_groups(&raw.groups, &known, &mut faults);
    let mut mappings = resources::read_mappings(&raw.resource, &resource_types, &known, &mut faults);
    let tools = lock.into_iter().flat_map(|lock| &lock.tools).cloned().map(|mut locked| {
        let name = locked.name.clone();
        locked.tier = tiers.get(&name).copied().unwrap_or(locked.tier);
        let mapping = mappings.remove(&name);
        (name, Arc::new(Tool::from_locked(locked, &namespace, mapping)))
    });
    let tools = tools.collect();
    let (true, Some(transport)) = (faults.found.is_empty(), transport) else {
        return Err(faults.found);
    };
    Ok(Connector {
        display_name: raw.display_name.unwrap_or_else(|| service.to_string()),
        description: raw.description,
        service,
        optional: raw.optional,
        requires: raw.requires,
        transport,
        limits,
        on_change: match raw.on_change {
            RawOnChange::Quarantine => OnChange::Quarantine,
            RawOnChange::Report => OnChange::Report,
            RawOnChange::Allow => OnChange::Allow,
        },
        operations: operation::of(&namespace),
        namespace,
        tools,
        resource_types,
        redact,
        groups,
        short_names: ShortNames::default(),
        digest: Digest::of(source.text.as_bytes()),
    })
}

fn parse(source: &SourceFile) -> Result<RawDescriptor, Vec<Diagnostic>> {
    if source.text.len() > DESCRIPTOR_BYTES_MAX {
        let fault = Diagnostic::of_file(&source.name, format!("longer than {DESCRIPTOR_BYTES_MAX} bytes"));
        return Err(vec![fault]);
    }
    toml::from_str(&source.text).map_err(|error| {
        // The parser explains over several lines; a diagnostic is one.
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let offset = error.span().map_or(0, |span| span.start);
        let help = "docs/guide/connectors.md lists every key";
        vec![Diagnostic::at(source, offset, message).with_help(help)]
    })
}

/// `github` gives `GithubMCP`, `my-crm` gives `MyCrmMCP`.
fn derived_namespace(service: &ServiceKey) -> String {
    let words = service.as_str().split(['-', '_']).map(|word| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    });
    words.chain(["MCP".to_owned()]).collect()
}

/// Names that Cedar keeps for its own types.
const CEDAR_TYPES: [&str; 9] =
    ["Action", "Bool", "Boolean", "Entity", "Extension", "Long", "Record", "Set", "String"];

/// A namespace or an entity type: capitalised, as policies write them.
fn cedar_name(text: &str) -> Result<String, String> {
    let fits = text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let shown = text.chars().take(80).collect::<String>();
    match (fits, CEDAR_TYPES.contains(&text)) {
        (false, _) => Err(format!(
            "`{}` is not a name for policies: a capital, then up to 63 letters, digits and `_`",
            shown.escape_default()
        )),
        (true, true) => Err(format!("`{text}` is a name of Cedar's own")),
        (true, false) => Ok(text.to_owned()),
    }
}

fn read_limits(raw: &RawLimits, faults: &mut Faults<'_>) -> Limits {
    let default = Limits::default();
    let mut read = |given: &Option<Spanned<u32>>, default: u32, least: u32, most: u32| match given {
        None => default,
        Some(value) if (least..=most).contains(value.as_ref()) => *value.as_ref(),
        Some(value) => {
            let message = format!("{} is out of range", value.as_ref());
            faults.at(value.span(), message, &format!("from {least} to {most}; left out: {default}"));
            default
        }
    };
    const DAY_MS: u32 = 86_400_000;
    const MIB: u32 = 1024 * 1024;
    Limits {
        silence_ms_max: read(&raw.silence_ms_max, default.silence_ms_max, 100, 3_600_000),
        call_ms_max: read(&raw.call_ms_max, default.call_ms_max, 100, DAY_MS),
        in_flight_max: read(&raw.in_flight_max, default.in_flight_max, 1, 65_536),
        reply_bytes_max: read(&raw.reply_bytes_max, default.reply_bytes_max, 1_024, 1_024 * MIB),
        event_bytes_max: read(&raw.event_bytes_max, default.event_bytes_max, 1_024, 256 * MIB),
        dial_ms_max: read(&raw.dial_ms_max, default.dial_ms_max, 10, 600_000),
        catalogue_ttl_ms: read(&raw.catalogue_ttl_ms, default.catalogue_ttl_ms, 1_000, DAY_MS),
        catalogue_wait_ms_max: read(&raw.catalogue_wait_ms_max, default.catalogue_wait_ms_max, 10, 60_000),
        catalogue_waiters_max: read(&raw.catalogue_waiters_max, default.catalogue_waiters_max, 1, 65_536),
    }
}

fn read_paths(raw: &[Spanned<String>], faults: &mut Faults<'_>) -> Vec<ArgumentPath> {
    let read = |text: &Spanned<String>| {
        faults.take(text.span(), ArgumentPath::parse(text.as_ref()), "such as `content` or `edits.*.newText`")
    };
    raw.iter().filter_map(read).collect()
}

/// What is known of the server's tools: nothing yet while a lock is being made.
struct Known<'a> {
    lock: Option<&'a Lock>,
}

impl<'a> Known<'a> {
    /// The locked tool, where a lock is there; a fault where it has no such tool.
    fn tool(&self, name: &str, span: Range<usize>, faults: &mut Faults<'_>) -> Option<&'a LockedTool> {
        let lock = self.lock?;
        let found = lock.tool(name);
        if found.is_none() {
            let shown: String = name.chars().take(128).collect();
            let message = format!("`{}` is not a tool of the lock", shown.escape_default());
            faults.at(
                span,
                message,
                "correct the name, or run `wicket connector sync` if the server is newer",
            );
        }
        found
    }
}

fn read_tiers(raw: &RawTiers, known: &Known<'_>, faults: &mut Faults<'_>) -> BTreeMap<ToolName, Tier> {
    let mut tiers = BTreeMap::new();
    let rows = [(Tier::Read, &raw.read), (Tier::Write, &raw.write), (Tier::Destructive, &raw.destructive)];
    for (tier, names) in rows {
        for name in names {
            let Some(tool) = known.tool(name.as_ref(), name.span(), faults) else { continue };
            if let Some(before) = tiers.insert(tool.name.clone(), tier) {
                let message = format!("`{}` already stands under `{before}`", tool.name);
                faults.at(name.span(), message, "name each tool once");
            }
        }
    }
    tiers
}

fn read_groups(
    raw: &BTreeMap<String, Spanned<Vec<Spanned<String>>>>,
    known: &Known<'_>,
    faults: &mut Faults<'_>,
) -> BTreeMap<String, BTreeSet<ToolName>> {
    let mut groups = BTreeMap::new();
    for (name, members) in raw {
        let is_tool = known.lock.is_some_and(|lock| lock.tool(name).is_some());
        if let Err(error) = GroupName::parse(name) {
            faults.at(members.span(), error.to_string(), "rename the group");
        } else if is_tool || name.parse::<Tier>().is_ok() {
            let message = format!("group `{name}` has the name of a tool or a tier");
            faults.at(members.span(), message, "rename the group");
        }
        let tool = |member: &Spanned<String>| {
            known.tool(member.as_ref(), member.span(), faults).map(|tool| tool.name.clone())
        };
        groups.insert(name.clone(), members.as_ref().iter().filter_map(tool).collect());
    }
    groups
}

#[cfg(test)]
mod tests;
