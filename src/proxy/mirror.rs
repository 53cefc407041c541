//! The headers that repeat a message of the stateless era (MCP 2026-07-28, transports, standard
//! headers), compared with the body.
//!
//! Invariant: the body alone is acted on; a header that is missing, malformed or different refuses the
//! request, so that whoever decided on headers before the gate decided on the same thing.

use http::HeaderMap;
use serde_json::Value;

use crate::connector::Tool;
use crate::mcp::{Era, Method, Refusal, Request, Revision, param_headers};

use super::head::PROTOCOL_VERSION;

const METHOD: &str = "mcp-method";
const NAME: &str = "mcp-name";

/// What the version header says of the era, before the body is read.
///
/// # Errors
/// A revision that is not offered, as the session era has it.
pub(super) fn revision(headers: &HeaderMap) -> Result<Option<Revision>, Refusal> {
    let Some(value) = headers.get(PROTOCOL_VERSION) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let revision = Revision::parse(text).ok_or_else(|| Refusal::UnsupportedVersion {
        era: Era::Session,
        requested: text.chars().take(40).collect(),
        supported: Revision::names_of(Era::Session),
    })?;
    Ok(Some(revision))
}

/// Compares the headers of a request with its body, in either era.
///
/// # Errors
/// The row of the table of refusals.
pub(super) fn check(headers: &HeaderMap, request: &Request) -> Result<(), Refusal> {
    let Some(face) = request.face() else {
        let said = revision(headers)?;
        return match said.map(Revision::era) {
            // The header says stateless, the body does not say it.
            Some(Era::Stateless) => Err(Refusal::InvalidParams {
                what: "`_meta` lacks `io.modelcontextprotocol/protocolVersion`, which MCP 2026-07-28 requires",
            }),
            Some(Era::Session) | None => Ok(()),
        };
    };
    same(headers, PROTOCOL_VERSION, "MCP-Protocol-Version", face.revision.as_str())?;
    same(headers, METHOD, "Mcp-Method", request.method())?;
    if let Request::Call(call) = request
        && matches!(call.method(), Method::ToolsCall | Method::PromptsGet | Method::ResourcesRead)
    {
        same(headers, NAME, "Mcp-Name", call.name())?;
    }
    Ok(())
}

/// The row for a request whose `_meta` names a revision that is not offered: where the header differs,
/// that is said first.
pub(super) fn unsupported(headers: &HeaderMap, refusal: Refusal) -> Refusal {
    let Refusal::UnsupportedVersion { requested, .. } = &refusal else { return refusal };
    match same(headers, PROTOCOL_VERSION, "MCP-Protocol-Version", requested) {
        Ok(()) => refusal,
        Err(differs) => differs,
    }
}

fn same(headers: &HeaderMap, name: &str, shown: &'static str, expected: &str) -> Result<(), Refusal> {
    let mut values = headers.get_all(name).iter();
    let mismatch = Refusal::HeaderMismatch { header: shown };
    let (Some(value), None) = (values.next(), values.next()) else { return Err(mismatch) };
    let value = value.to_str().ok().and_then(param_headers::decode);
    let value = value.as_deref().map(str::trim);
    if value == Some(expected) { Ok(()) } else { Err(mismatch) }
}

/// Compares the `Mcp-Param-…` headers with the arguments that the tool's accepted schema mirrors.
///
/// # Errors
/// One is missing, malformed or different.
pub(super) fn check_parameters(headers: &HeaderMap, tool: &Tool, arguments: &Value) -> Result<(), Refusal> {
    if !tool.may_mirror {
        return Ok(());
    }
    let pairs: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().ok())).collect();
    param_headers::check(&tool.input_schema, arguments, pairs.iter().copied()).map_err(|fault| {
        tracing::debug!(%fault, "a header differs from its argument");
        Refusal::HeaderMismatch { header: "Mcp-Param-*" }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;
    use crate::mcp::{self, Message};

    fn request(method: &str, params: &str) -> Request {
        let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{meta}}}}}"#);
        match mcp::read(Bytes::from(text), mcp::Limits::REQUEST).unwrap() {
            Message::Request(request) => request,
            other => panic!("{other:?}"),
        }
    }

    fn check_with(headers: &[(&'static str, &str)], request: &Request) -> Result<(), &'static str> {
        let pairs = headers.iter().map(|(name, value)| {
            (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        });
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, value);
        }
        check(&map, request).map_err(|refusal| match refusal {
            Refusal::HeaderMismatch { header } => header,
            _ => refusal.kind(),
        })
    }

    #[test]
    fn a_stateless_request_repeats_itself_in_its_head() {
        let version = ("mcp-protocol-version", "2026-07-28");
        let call = request("tools/call", r#""name":"a__b","#);
        let head = |name| [version, ("mcp-method", "tools/call"), ("mcp-name", name)];
        assert_eq!(check_with(&head("a__b"), &call), Ok(()));
        assert_eq!(check_with(&head("=?base64?YV9fYg==?="), &call), Ok(()));
        for name in ["A__b", "a__c", "", "=?base64?YV9fYw==?=", "=?base64?*?=", "=?BASE64?YV9fYg==?="] {
            assert_eq!(check_with(&head(name), &call), Err("Mcp-Name"), "{name}");
        }
        assert_eq!(check_with(&head("a__b")[..2], &call), Err("Mcp-Name"));
        assert_eq!(check_with(&head("a__b")[..1], &call), Err("Mcp-Method"));
        assert_eq!(check_with(&[], &call), Err("MCP-Protocol-Version"));
        let twice = [version, version, ("mcp-method", "tools/call"), ("mcp-name", "a__b")];
        assert_eq!(check_with(&twice, &call), Err("MCP-Protocol-Version"));
        let older = [("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/call")];
        assert_eq!(check_with(&older, &call), Err("MCP-Protocol-Version"));
        let list = request("tools/list", "");
        assert_eq!(check_with(&[version, ("mcp-method", "tools/list")], &list), Ok(()));
    }

    #[test]
    fn a_request_of_the_session_era_needs_no_mirror_but_no_other_revision_either() {
        let text = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
        let Message::Request(list) = mcp::read(Bytes::from(text), mcp::Limits::REQUEST).unwrap() else {
            panic!()
        };
        assert_eq!(check_with(&[], &list), Ok(()));
        assert_eq!(check_with(&[("mcp-protocol-version", "2025-06-18")], &list), Ok(()));
        assert_eq!(check_with(&[("mcp-protocol-version", "1999-01-01")], &list), Err("unsupported_version"));
        assert_eq!(check_with(&[("mcp-protocol-version", "2026-07-28")], &list), Err("invalid_params"));
    }
}
