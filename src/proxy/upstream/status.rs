//! How each upstream stands, for `wicket status`.

use std::sync::Arc;

use serde::Serialize;

use super::Upstream;
use super::link::{Link, Way};
use crate::mcp::Era;
use crate::model::{ServiceKey, Timestamp, ToolName};

/// Refused subscriptions of one upstream that the status names at most.
const UNHEARD_MAX: usize = 20;

/// A tool that is not served as it was accepted, and why.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ToolNote {
    pub tool: ToolName,
    pub why: String,
}

/// How one upstream stands.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStatus {
    pub service: ServiceKey,
    /// `in-process`, `http` or `stdio`.
    pub transport: &'static str,
    /// `up`, `starting`, `down`, `stopped`, `unusable`, `skipped` (optional, and its program is not
    /// on this machine), or `unknown` before the first contact.
    pub state: &'static str,
    /// What it speaks: `session` or `stateless`, and the revision; absent while it was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub era: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<&'static str>,
    pub since: Timestamp,
    /// Of the child process; 0 for other transports.
    pub restarts: u32,
    pub in_flight: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Tools that are listed.
    pub tools: usize,
    /// When the list of tools was read; absent where it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Timestamp>,
    /// The list should have been read again and could not be yet.
    pub stale: bool,
    /// Refused until accepted.
    pub quarantined: Vec<ToolNote>,
    /// Changed, and served all the same.
    pub reported: Vec<ToolNote>,
    /// Offered by the upstream, in no lock.
    pub unknown: Vec<ToolName>,
    /// In the lock, not offered.
    pub missing: Vec<ToolName>,
    /// URIs that it lists and another connector owns, which lists them too and comes first.
    pub shadowed: Vec<Shadowed>,
    /// Resources that clients subscribed to and that the upstream refuses to tell of.
    pub unheard: Vec<Unheard>,
}

/// A subscription that the upstream refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Unheard {
    pub uri: String,
    pub why: String,
}

/// A URI of one upstream that belongs to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Shadowed {
    pub uri: String,
    pub owner: ServiceKey,
}

impl Unheard {
    fn of((uri, why): (Arc<str>, Arc<str>)) -> Self {
        Self { uri: uri.to_string(), why: why.to_string() }
    }
}

impl UpstreamStatus {
    pub(super) fn of(upstream: &Upstream) -> Self {
        let link: &Link = &upstream.link;
        let (sick, last_error) = link.gate.health();
        let mut last_error = last_error.map(|error| error.to_string());
        let catalogue = upstream.known();
        let http_state = match (sick, &catalogue, &last_error) {
            (true, _, _) => "down",
            (false, None, None) => "unknown",
            (false, None, Some(_)) => "down",
            (false, Some(_), _) => "up",
        };
        let (transport, state, since, restarts) = match &link.way {
            Way::InProcess(_) => ("in-process", "up", link.since, 0),
            Way::Http(_) => ("http", http_state, link.since, 0),
            Way::Stdio(child) => {
                let (state, why, since, restarts) = child.status();
                last_error = why.or(last_error);
                ("stdio", state, since, restarts)
            }
            Way::Unusable(why) => {
                last_error = Some(why.to_string());
                ("http", "unusable", link.since, 0)
            }
        };
        let info = link.info();
        let mut status = Self {
            service: link.service.clone(),
            transport,
            state,
            era: info.as_ref().map(|info| match info.revision.era() {
                Era::Session => "session",
                Era::Stateless => "stateless",
            }),
            revision: info.as_ref().map(|info| info.revision.as_str()),
            since,
            restarts,
            in_flight: link.gate.in_flight(),
            last_error,
            tools: 0,
            listed_at: None,
            stale: false,
            quarantined: Vec::new(),
            reported: Vec::new(),
            unknown: Vec::new(),
            missing: Vec::new(),
            shadowed: Vec::new(),
            unheard: link.watches.unheard(UNHEARD_MAX).into_iter().map(Unheard::of).collect(),
        };
        if let Some(catalogue) = catalogue {
            let note =
                |(tool, why): (&ToolName, &super::Why)| ToolNote { tool: tool.clone(), why: why.to_string() };
            status.tools = catalogue.definitions.len();
            status.listed_at = Some(catalogue.fetched_at);
            status.stale = catalogue.stale;
            status.quarantined = catalogue.quarantined.iter().map(note).collect();
            status.reported = catalogue.reported.iter().map(note).collect();
            status.unknown.clone_from(&catalogue.unknown);
            status.missing.clone_from(&catalogue.missing);
        }
        status
    }
}
