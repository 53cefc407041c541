//! `_meta` of a request: what MCP 2026-07-28 puts there, read from clients and written to upstreams.
//!
//! Invariants: of a client's `_meta` everything goes on that is not the protocol's own; what is the
//! protocol's own is written afresh for the era of the upstream, once.

use super::{TEXT_CHARS_MAX, clip};
use crate::mcp::client::{CAPABILITIES_BYTES_MAX, Capabilities, ClientFace};
use crate::mcp::reply::Refusal;
use crate::mcp::revision::{Era, Revision};
use crate::mcp::scan::{self, Document, Kind, Limits};
use crate::model::ClientInfo;

/// Names that a request of the stateless era must or may carry (MCP 2026-07-28, basic, `_meta`).
const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Written afresh for each upstream.
const OWN: [&str; 5] = [PROTOCOL_VERSION, CLIENT_CAPABILITIES, CLIENT_INFO, LOG_LEVEL, "progressToken"];

/// Whether it holds more than what is written afresh.
pub(super) fn holds_more(meta: &Document<'_>) -> bool {
    meta.members().any(|member| !OWN.contains(&member.key))
}

/// Whether it names a revision.
pub(super) fn is_stateless(meta: &Document<'_>) -> bool {
    meta.get(PROTOCOL_VERSION).is_some()
}

/// The client that a request of the stateless era describes; nothing where it is of the session era.
///
/// # Errors
/// A revision that is not offered, or a member that is missing or of the wrong shape.
pub(super) fn face(meta: &Document<'_>) -> Result<Option<ClientFace>, Refusal> {
    let Some(version) = meta.get(PROTOCOL_VERSION) else { return Ok(None) };
    let shape = |what| Refusal::InvalidParams { what };
    let version = version
        .string()
        .ok_or(shape("`_meta[\"io.modelcontextprotocol/protocolVersion\"]` is not a string"))?;
    let revision = Revision::parse(&version).filter(|revision| revision.era() == Era::Stateless);
    let revision = revision.ok_or_else(|| Refusal::UnsupportedVersion {
        era: Era::Stateless,
        requested: version.chars().take(TEXT_CHARS_MAX).collect(),
        supported: Revision::names_of(Era::Stateless),
    })?;
    let capabilities = meta.get(CLIENT_CAPABILITIES).filter(|value| value.kind() == Kind::Object).ok_or(
        shape("`_meta[\"io.modelcontextprotocol/clientCapabilities\"]` is missing or not an object"),
    )?;
    let capabilities = Some(capabilities.raw()).filter(|raw| raw.len() <= CAPABILITIES_BYTES_MAX);
    let log_level = match meta.get(LOG_LEVEL) {
        None => None,
        Some(value) => Some(
            value
                .string()
                .ok_or(shape("`_meta[\"io.modelcontextprotocol/logLevel\"]` is not a string"))?
                .as_ref()
                .into(),
        ),
    };
    // What a client says of itself is never a gate: whatever is missing or odd reads as empty.
    let info = meta.get(CLIENT_INFO);
    let info = info.as_ref().and_then(|value| scan::scan_text(value.raw(), Limits::REQUEST).ok());
    let text = |key: &str| {
        let value = info.as_ref().and_then(|info| info.get(key));
        value.and_then(|value| value.string()).map(|text| clip(&text)).unwrap_or_default()
    };
    Ok(Some(ClientFace {
        revision,
        capabilities: capabilities.map(Capabilities::read).unwrap_or_default().stateless(),
        info: ClientInfo { name: text("name"), version: text("version") },
        log_level,
        mcp_session: None,
    }))
}

/// The client's `_meta` for an upstream of this revision; `{}` where nothing is to be said.
pub fn for_upstream(
    meta: Option<&str>,
    token: Option<u64>,
    client: &ClientFace,
    revision: Revision,
) -> String {
    let mut out = String::from("{");
    let mut put = |key: &str, value: &str| {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str(key);
        out.push_str(value);
    };
    if let Some(token) = token {
        put(r#""progressToken":"#, &token.to_string());
    }
    if revision.era() == Era::Stateless {
        put(&format!("\"{PROTOCOL_VERSION}\":"), &format!("\"{revision}\""));
        put(&format!("\"{CLIENT_CAPABILITIES}\":"), &client.capabilities.stateless().to_json());
        put(&format!("\"{CLIENT_INFO}\":"), &info(&client.info));
        if let Some(level) = &client.log_level {
            put(&format!("\"{LOG_LEVEL}\":"), &serde_json::Value::from(&**level).to_string());
        }
    }
    let scanned =
        meta.and_then(|text| scan::scan_text(text, Limits::REQUEST).ok().map(|inner| (text, inner)));
    if let Some((text, inner)) = scanned {
        for member in inner.members().filter(|member| !OWN.contains(&member.key)) {
            put(text.get(member.range).unwrap_or_default(), "");
        }
    }
    out.push('}');
    out
}

fn info(client: &ClientInfo) -> String {
    let (name, version) = match client.name.is_empty() {
        true => ("wicket", env!("CARGO_PKG_VERSION")),
        false => (client.name.as_str(), client.version.as_str()),
    };
    serde_json::json!({"name": name, "version": version}).to_string()
}
