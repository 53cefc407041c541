//! What an upstream says of itself, in either era, and how it refuses what is not of its era.

use super::{EnvelopeFault, ReplyBody};
use crate::mcp::reply::code;
use crate::mcp::revision::{Era, Revision};
use crate::mcp::scan::{self, Document, Limits};
use crate::model::ClientInfo;

/// Where results of the stateless era name their server.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// Revisions that are looked at in one list of them.
const REVISIONS_MAX: usize = 64;
/// Characters of a server's name, and of its version, that are kept.
const TEXT_CHARS_MAX: usize = 200;

/// What a server offers, as it declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offers {
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
    pub completions: bool,
    pub logging: bool,
    /// It says when its tools change.
    pub tools_changed: bool,
    pub prompts_changed: bool,
    pub resources_changed: bool,
    /// It says when a resource changes.
    pub resources_subscribe: bool,
}

impl Offers {
    fn read(capabilities: Option<&str>) -> Self {
        let Some(Ok(document)) = capabilities.map(|raw| scan::scan_text(raw, Limits::REPLY)) else {
            return Self::default();
        };
        let has = |key: &str| document.get(key).is_some();
        let says = |key: &str, flag: &str| document.get_in(key, flag).is_some_and(|v| v.raw() == "true");
        Self {
            tools: has("tools"),
            prompts: has("prompts"),
            resources: has("resources"),
            completions: has("completions"),
            logging: has("logging"),
            tools_changed: says("tools", "listChanged"),
            prompts_changed: says("prompts", "listChanged"),
            resources_changed: says("resources", "listChanged"),
            resources_subscribe: says("resources", "subscribe"),
        }
    }
}

/// What an upstream says in its answer to `initialize` or to `server/discover`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamInfo {
    /// The one that both sides speak.
    pub revision: Revision,
    /// Informational; empty where it says nothing.
    pub server: ClientInfo,
    pub offers: Offers,
}

impl UpstreamInfo {
    /// An upstream of which only the revision is known.
    pub fn of(revision: Revision) -> Self {
        Self { revision, server: ClientInfo::default(), offers: Offers::default() }
    }
}

/// Reads the raw result of `initialize`.
///
/// # Errors
/// [`EnvelopeFault`] where it is malformed, or settles on a revision that the gate does not speak there.
pub fn read_initialize_result(result: &str) -> Result<UpstreamInfo, EnvelopeFault> {
    let document = scan::scan_text(result, Limits::REPLY)?;
    let version = document.get("protocolVersion").and_then(|value| value.string());
    let revision = version
        .and_then(|version| Revision::parse(&version))
        .filter(|revision| revision.era() == Era::Session)
        .ok_or(EnvelopeFault::Shape("`protocolVersion` is none that the gate speaks"))?;
    let server = client_info(&document, "serverInfo");
    let offers = Offers::read(document.get("capabilities").map(|value| value.raw()));
    Ok(UpstreamInfo { revision, server, offers })
}

/// Reads the raw result of `server/discover`: nothing where it names no revision of the stateless era
/// that the gate speaks, or is no such result.
pub fn read_discover_result(result: &str) -> Option<UpstreamInfo> {
    let document = scan::scan_text(result, Limits::REPLY).ok()?;
    let versions = document.get("supportedVersions")?;
    let versions: Vec<String> = serde_json::from_str(versions.raw()).ok()?;
    let revision = newest_stateless(&versions)?;
    let meta = document.get("_meta").and_then(|meta| scan::scan_text(meta.raw(), Limits::REPLY).ok());
    let server = meta.map(|meta| client_info(&meta, SERVER_INFO)).unwrap_or_default();
    let offers = Offers::read(document.get("capabilities").map(|value| value.raw()));
    Some(UpstreamInfo { revision, server, offers })
}

fn client_info(document: &Document<'_>, outer: &str) -> ClientInfo {
    let text = |key: &str| {
        let value = document.get_in(outer, key).and_then(|value| value.string());
        let kept = |text: &str| text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect();
        value.map(|text| kept(&text)).unwrap_or_default()
    };
    ClientInfo { name: text("name"), version: text("version") }
}

fn newest_stateless(versions: &[String]) -> Option<Revision> {
    let offered = versions.iter().take(REVISIONS_MAX).filter_map(|text| Revision::parse(text));
    offered.filter(|revision| revision.era() == Era::Stateless).max()
}

/// The errors that only servers of the stateless era give (MCP 2026-07-28, error codes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatelessFault {
    /// A header differs from the body.
    HeaderMismatch,
    /// The client did not declare what the request needs.
    MissingCapability,
    /// The revision is not offered; the error names those that are.
    UnsupportedVersion,
}

impl StatelessFault {
    fn of(given: i64) -> Option<Self> {
        let table = [
            (code::HEADER_MISMATCH, Self::HeaderMismatch),
            (code::MISSING_CAPABILITY, Self::MissingCapability),
            (code::UNSUPPORTED_VERSION, Self::UnsupportedVersion),
        ];
        table.into_iter().find(|(code, _)| i64::from(*code) == given).map(|(_, fault)| fault)
    }
}

/// A JSON-RPC error of an upstream, in a reply that may lack the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcRefusal {
    /// Nothing where the code is of both eras.
    pub fault: Option<StatelessFault>,
    /// `data.supported` of an unsupported revision.
    supported: Option<Vec<String>>,
}

/// What an error says of the era of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaysEra {
    /// It is of the stateless era, and speaks this revision.
    Stateless(Revision),
    /// It speaks no revision of the stateless era that the gate speaks, but one of the session era.
    Session,
    /// It is of the stateless era and shares no revision with the gate.
    Foreign,
    /// Nothing.
    Unknown,
}

impl RpcRefusal {
    /// The error of a body that came with a status other than 200.
    pub fn of_body(body: &[u8]) -> Option<Self> {
        let body: serde_json::Value = serde_json::from_slice(body).ok()?;
        Self::of_error(body.get("error")?)
    }

    /// The error of a response.
    pub fn of_reply(reply: &ReplyBody) -> Option<Self> {
        Self::of_error(&serde_json::from_str(reply.raw_error()?).ok()?)
    }

    fn of_error(error: &serde_json::Value) -> Option<Self> {
        let fault = StatelessFault::of(error.get("code")?.as_i64()?);
        let supported =
            error.get("data").and_then(|data| data.get("supported")).and_then(|list| list.as_array());
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let supported =
            supported.map(|list| list.iter().take(REVISIONS_MAX).filter_map(text).collect::<Vec<_>>());
        Some(Self { fault, supported })
    }

    /// What it says of its sender, who was asked in the newest revision.
    pub fn says_era(&self) -> SaysEra {
        match (self.fault, &self.supported) {
            (None, _) => SaysEra::Unknown,
            (Some(StatelessFault::UnsupportedVersion), Some(versions)) => match newest_stateless(versions) {
                Some(revision) => SaysEra::Stateless(revision),
                None if versions.iter().any(|text| Revision::parse(text).is_some()) => SaysEra::Session,
                None => SaysEra::Foreign,
            },
            (Some(StatelessFault::UnsupportedVersion), None) => SaysEra::Foreign,
            (Some(_), _) => SaysEra::Stateless(Revision::NEWEST),
        }
    }
}
