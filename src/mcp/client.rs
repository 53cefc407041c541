//! The client as it presents itself: once in `initialize` (session era), or with each request in
//! `_meta` (MCP 2026-07-28). Informational and unverified: it says what the client can be asked for,
//! never who it is.

use std::sync::Arc;

use super::revision::{Era, Revision};
use super::scan::{self, Kind, Limits};
use crate::model::{ClientInfo, Digest};

/// Bytes of the declared capabilities that are kept and passed on; what is longer counts as none.
pub const CAPABILITIES_BYTES_MAX: usize = 16 * 1024;

/// What a client can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct Capabilities {
    pub sampling: bool,
    /// `sampling.tools` (2025-11-25).
    pub sampling_tools: bool,
    /// Forms; also what a bare `elicitation: {}` means.
    pub elicitation: bool,
    /// `elicitation.url` (2025-11-25).
    pub elicitation_url: bool,
    pub roots: bool,
    /// `roots.listChanged`: it says when its roots change; session era only.
    pub roots_changed: bool,
}

impl Capabilities {
    /// Everything that the gate can pass on.
    pub const ALL: Self = Self {
        sampling: true,
        sampling_tools: true,
        elicitation: true,
        elicitation_url: true,
        roots: true,
        roots_changed: true,
    };

    /// Reads a `ClientCapabilities` object; what cannot be read is not declared.
    pub fn read(raw: &str) -> Self {
        if raw == "{}" {
            return Self::default();
        }
        let Ok(document) = scan::scan_text(raw, Limits::REQUEST) else { return Self::default() };
        let has = |key: &str| document.get(key).is_some_and(|value| value.kind() == Kind::Object);
        let within = |outer: &str, inner: &str| document.get_in(outer, inner).is_some();
        let elicitation = has("elicitation");
        let url = within("elicitation", "url");
        Self {
            sampling: has("sampling"),
            sampling_tools: within("sampling", "tools"),
            elicitation: elicitation && (within("elicitation", "form") || !url),
            elicitation_url: elicitation && url,
            roots: has("roots"),
            roots_changed: document.get_in("roots", "listChanged").is_some_and(|flag| flag.raw() == "true"),
        }
    }

    /// Whether a server may send this request to the client.
    pub fn allow(self, method: &str) -> bool {
        match method {
            "sampling/createMessage" => self.sampling,
            "elicitation/create" => self.elicitation || self.elicitation_url,
            "roots/list" => self.roots,
            _ => false,
        }
    }

    /// The same, with these parameters: a form and a page are declared apart (2025-11-25, elicitation).
    pub fn allow_request(self, method: &str, params: &str) -> bool {
        if method != "elicitation/create" {
            return self.allow(method);
        }
        let params = scan::scan_text(params, Limits::REPLY);
        let url = params.is_ok_and(|params| params.get("mode").is_some_and(|mode| mode.raw() == "\"url\""));
        if url { self.elicitation_url } else { self.elicitation }
    }

    /// The same in the stateless era, which has no word for roots that changed.
    #[must_use]
    pub const fn stateless(self) -> Self {
        Self { roots_changed: false, ..self }
    }

    /// The `ClientCapabilities` object that declares these.
    pub fn to_json(self) -> String {
        let mut members = Vec::new();
        if self.elicitation || self.elicitation_url {
            let form = self.elicitation.then_some(r#""form":{}"#);
            let url = self.elicitation_url.then_some(r#""url":{}"#);
            let modes: Vec<_> = [form, url].into_iter().flatten().collect();
            // A bare object means forms, in every revision.
            let modes = if modes == [r#""form":{}"#] { String::new() } else { modes.join(",") };
            members.push(format!(r#""elicitation":{{{modes}}}"#));
        }
        if self.roots {
            let changed = if self.roots_changed { r#""listChanged":true"# } else { "" };
            members.push(format!(r#""roots":{{{changed}}}"#));
        }
        if self.sampling {
            let tools = if self.sampling_tools { r#""tools":{}"# } else { "" };
            members.push(format!(r#""sampling":{{{tools}}}"#));
        }
        format!("{{{}}}", members.join(","))
    }
}

/// A client's own words about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientFace {
    pub revision: Revision,
    pub capabilities: Capabilities,
    pub info: ClientInfo,
    /// `io.modelcontextprotocol/logLevel` of the request, or what `logging/setLevel` said.
    pub log_level: Option<Arc<str>>,
    /// The digest of the `Mcp-Session-Id` that the gate gave it; session era only.
    pub mcp_session: Option<Digest>,
}

impl ClientFace {
    /// A client that never said anything of itself.
    pub fn unknown() -> Self {
        Self {
            revision: Revision::ASSUMED,
            capabilities: Capabilities::default(),
            info: ClientInfo::default(),
            log_level: None,
            mcp_session: None,
        }
    }

    /// The era that it speaks.
    pub const fn era(&self) -> Era {
        self.revision.era()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_and_written_back() {
        for (raw, expect) in [
            ("{}", "{}"),
            ("[]", "{}"),
            ("nonsense", "{}"),
            (r#"{"elicitation":{}}"#, r#"{"elicitation":{}}"#),
            (r#"{"elicitation":{"form":{}}}"#, r#"{"elicitation":{}}"#),
            (r#"{"elicitation":{"url":{}}}"#, r#"{"elicitation":{"url":{}}}"#),
            (r#"{"elicitation":{"url":{},"form":{}}}"#, r#"{"elicitation":{"form":{},"url":{}}}"#),
            (r#"{"roots":{"listChanged":true},"x":1}"#, r#"{"roots":{"listChanged":true}}"#),
            (r#"{"roots":{"listChanged":1}}"#, r#"{"roots":{}}"#),
            (r#"{"sampling":{"tools":{}}}"#, r#"{"sampling":{"tools":{}}}"#),
            (r#"{"sampling":true}"#, "{}"),
        ] {
            assert_eq!(Capabilities::read(raw).to_json(), expect, "{raw}");
        }
        let asks = Capabilities::read(r#"{"elicitation":{}}"#);
        assert!(asks.allow("elicitation/create"));
        for method in ["sampling/createMessage", "roots/list", "tools/call", ""] {
            assert!(!asks.allow(method), "{method}");
        }
    }
}
