//! The state of the gate in one reading: what `wicket status` prints and `/v1/status` answers.
//!
//! Plain data that the composition root fills; a part that is not known is absent, never made up.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Diagnostic, Digest, PolicyId, PolicyKey, ServiceKey, Timestamp};

/// The gate, now.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// False when the command line read the data directory of a stopped gate.
    pub running: bool,
    /// Package version of the answering process.
    pub version: String,
    pub pid: Option<u32>,
    pub started_at: Option<Timestamp>,
    pub now: Option<Timestamp>,
    pub data_dir: String,
    pub draining: bool,
    pub listeners: Vec<ListenerStatus>,
    pub bundle: Option<BundleStatus>,
    /// The last attempt to load that failed, while the files are still those: the old bundle is in force.
    pub rejected: Option<RejectedBundle>,
    /// Stored policies that are not in force as they were saved.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unsound: Vec<UnsoundPolicy>,
    pub journal: Option<JournalStatus>,
    pub store: StoreStatus,
    pub calls: Option<CallStatus>,
    pub upstreams: Vec<UpstreamStatus>,
}

/// An address that the gate listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// `agents`, `control`.
    pub name: String,
    pub address: String,
}

/// The bundle in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleStatus {
    pub digest: Digest,
    pub loaded_at: Option<Timestamp>,
    pub policies: usize,
    pub connectors: usize,
    pub tools: usize,
    pub warnings: Vec<Diagnostic>,
}

/// Files that did not load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectedBundle {
    pub at: Timestamp,
    pub diagnostics: Vec<Diagnostic>,
}

/// A stored policy that no longer loads, or all of an agent whose set cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnsoundPolicy {
    /// By its name.
    pub agent: String,
    /// None where it is all of the agent's.
    pub policy: Option<PolicyKey>,
    pub id: Option<PolicyId>,
    /// What is in force in its place.
    pub instead: String,
    pub faults: Vec<String>,
}

impl UnsoundPolicy {
    fn problem(&self, say: &mut impl FnMut(String, &str)) {
        let Self { agent, policy, instead, faults, .. } = self;
        let faults = faults.join("; ");
        match policy {
            Some(policy) => say(
                format!("agent `{agent}`: the policy `{policy}` does not load, so {instead}: {faults}"),
                "save it again without what is gone, or accept the tool that it names",
            ),
            None => say(
                format!("agent `{agent}`: its policies cannot be built, so {instead}: {faults}"),
                "the gate tries again every second; the log has more",
            ),
        }
    }
}

/// The journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JournalStatus {
    /// Whether the next call can be recorded; if not, calls answer 503.
    pub healthy: bool,
    /// `process` or `durable`.
    pub mode: String,
    pub entries: u64,
    pub bytes: u64,
    pub bytes_max: u64,
    #[serde(default)]
    pub segments: u64,
    /// How long segments are kept, and what was dropped last.
    #[serde(default)]
    pub retention: Option<String>,
    /// Entries that `wicket audit query` does not know yet.
    #[serde(default)]
    pub index_lag: Option<u64>,
    /// What will refuse calls soon, or does.
    #[serde(default)]
    pub alarm: Option<String>,
    /// What the start found missing or unreadable.
    #[serde(default)]
    pub damaged: Option<String>,
    pub open_intents: u64,
    pub last_checkpoint_at: Option<Timestamp>,
    pub last_error: Option<String>,
}

/// The store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StoreStatus {
    pub healthy: bool,
    pub error: Option<String>,
    /// Grows with each change.
    pub generation: u64,
    pub agents: usize,
    pub members: usize,
    /// Keys that work.
    pub keys: usize,
    /// Of these, keys whose rate limit is not their agent's.
    pub keys_with_own_rate: usize,
    /// Whether other gates may use the same database.
    pub shared: bool,
    /// Whether calls are refused because a shared database could not be asked for too long.
    pub stale: bool,
    /// The gates of a shared database, this one too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeStatus>,
}

/// A gate of a shared database, as it said itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    pub id: String,
    /// Whether it is the one that answers.
    pub this: bool,
    pub version: String,
    pub started_at: Timestamp,
    /// When it last said that it lives: every five seconds.
    pub seen_at: Timestamp,
    /// The generation that was in force there then.
    pub generation: u64,
}

/// Traffic since the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallStatus {
    pub in_flight: u64,
    pub allowed: u64,
    pub denied: u64,
    pub sessions: u64,
}

/// One upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStatus {
    pub service: ServiceKey,
    /// `http`, `stdio` or `in process`.
    pub transport: String,
    /// `session` or `stateless`, once it was asked.
    #[serde(default)]
    pub era: Option<String>,
    /// The revision of MCP that it speaks.
    #[serde(default)]
    pub revision: Option<String>,
    /// `ready`, `starting`, `down`, `idle` …
    pub state: String,
    /// Whether a call to it would be tried now.
    pub usable: bool,
    pub since: Option<Timestamp>,
    pub restarts: u64,
    pub in_flight: u64,
    pub tools: usize,
    /// Tools that are refused because they differ from the lock.
    pub quarantined: Vec<String>,
    /// Tools that it offers and that were never accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub new_tools: Vec<String>,
    /// Resources that clients subscribed to and that it refuses to tell of, each with why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unheard: BTreeMap<String, String>,
    /// URIs that it lists and another connector, which comes first, lists too: by URI, its owner.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shadowed: BTreeMap<String, ServiceKey>,
    pub last_error: Option<String>,
}

impl UpstreamStatus {
    /// What is left out of it, and stays so until somebody wants it.
    fn left_out(&self, say: &mut impl FnMut(String, &str)) {
        let service = &self.service;
        if self.state == "skipped" {
            let why = self.last_error.as_deref().unwrap_or("no reason given");
            say(
                format!("connector `{service}` is left out: {why}"),
                "put it there and say `wicket reload`, or take the connector's files away",
            );
        }
        if !self.new_tools.is_empty() {
            say(
                format!(
                    "connector `{service}` offers tools that were never accepted: {}",
                    some(&self.new_tools)
                ),
                &format!(
                    "nobody sees them; to have them, `wicket connector diff {service}`, then `wicket connector accept {service}`"
                ),
            );
        }
        if let Some((uri, why)) = self.unheard.first_key_value() {
            let more = more(self.unheard.len());
            say(
                format!("connector `{service}` refuses a subscription to `{uri}`{more}: {why}"),
                "clients are not told when it changes; the server says why in its own log, and is asked again by and by",
            );
        }
    }

    /// That it cannot be used, and why.
    fn out_of_use(&self, say: &mut impl FnMut(String, &str)) {
        let why = self.last_error.as_deref().unwrap_or("no reason given");
        say(
            format!("connector `{}` is {}: {why}", self.service, self.state),
            "calls to it answer 502 until it is back; the others are not concerned",
        );
    }

    /// What it offers otherwise than it was accepted.
    fn changed(&self, say: &mut impl FnMut(String, &str)) {
        let (service, changed) = (&self.service, &self.quarantined);
        say(
            format!(
                "connector `{service}` changed {} of its tools, they are refused: {}",
                changed.len(),
                changed.join(", ")
            ),
            &format!("look at `wicket connector diff {service}`, then `wicket connector accept {service}`"),
        );
    }

    /// What it lists that another owns.
    fn collisions(&self, say: &mut impl FnMut(String, &str)) {
        let Some((uri, owner)) = self.shadowed.first_key_value() else { return };
        let more = more(self.shadowed.len());
        say(
            format!("connectors `{owner}` and `{}` both list `{uri}`{more}", self.service),
            &format!(
                "it is `{owner}`'s, which comes first; an agent that needs the other's must not have both"
            ),
        );
    }
}

/// How many there are beside the one that is named.
fn more(all: usize) -> String {
    match all {
        0 | 1 => String::new(),
        several => format!(" (and {} more)", several - 1),
    }
}

/// The first few of these.
fn some(names: &[String]) -> String {
    const SHOWN_MAX: usize = 6;
    let shown: Vec<&str> = names.iter().take(SHOWN_MAX).map(String::as_str).collect();
    let rest = names.len().saturating_sub(SHOWN_MAX);
    let rest = if rest == 0 { String::new() } else { format!(" and {rest} more") };
    format!("{}{rest}", shown.join(", "))
}

impl Status {
    /// What is left out and needs nobody, each with how to have it: no problem.
    pub fn notes(&self) -> Vec<Problem> {
        let mut notes = Vec::new();
        for upstream in &self.upstreams {
            upstream.left_out(&mut |what: String, next: &str| {
                notes.push(Problem { what, next: next.to_owned() })
            });
        }
        notes
    }

    /// What a person should look at, most urgent first; empty where all is well.
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut say = |what: String, next: &str| problems.push(Problem { what, next: next.to_owned() });
        if let Some(journal) = &self.journal {
            journal.problems(&mut say);
        }
        if self.running && self.bundle.is_none() {
            say(
                "no policies are loaded, so every call is refused".into(),
                "`wicket check` names the fault; mend it, then `wicket reload`",
            );
        }
        if let Some(rejected) = &self.rejected {
            let first = rejected.diagnostics.first().map(ToString::to_string).unwrap_or_default();
            say(
                format!(
                    "the files in `policies/` or `connectors/` do not load, the old set is in force: {first}"
                ),
                "mend the file; it loads by itself, or say `wicket reload`",
            );
        }
        self.unsound.iter().for_each(|unsound| unsound.problem(&mut say));
        if !self.store.healthy {
            let why = self.store.error.as_deref().unwrap_or("no reason given");
            let next = match (self.store.shared, self.store.stale) {
                (false, _) => "callers known so far are still served; look at the data directory",
                (true, false) => {
                    "callers known so far are served for `store.stale_ms_max` yet; look at the database"
                }
                (true, true) => {
                    "every call is refused, for nobody knows who was revoked since; look at the database"
                }
            };
            say(format!("the store cannot be read: {why}"), next);
        }
        // A skipped one was said to be optional: it is a note, and needs nobody.
        let unusable = |upstream: &&UpstreamStatus| !upstream.usable && upstream.state != "skipped";
        for upstream in self.upstreams.iter().filter(unusable) {
            upstream.out_of_use(&mut say);
        }
        for upstream in self.upstreams.iter().filter(|upstream| !upstream.quarantined.is_empty()) {
            upstream.changed(&mut say);
        }
        for upstream in &self.upstreams {
            upstream.collisions(&mut say);
        }
        if self.draining {
            say(
                "the gate is draining: it finishes its calls and takes no new ones".into(),
                "it stops by itself",
            );
        }
        problems
    }
}

/// Something that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    pub what: String,
    pub next: String,
}

impl JournalStatus {
    fn problems(&self, say: &mut impl FnMut(String, &str)) {
        if !self.healthy {
            let why = self.alarm.as_deref().or(self.last_error.as_deref()).unwrap_or("no reason given");
            say(
                format!("the journal cannot record, so every call is refused: {why}"),
                "free disk space or mend the permissions of the data directory; the gate tries again by itself",
            );
        }
        if let Some(damaged) = &self.damaged {
            say(
                format!("the journal is not what it was before this start: {damaged}"),
                "keep a copy of the journal and its witness as they are, then find out who or what took it; new calls are recorded",
            );
        }
        if let Some(alarm) = self.alarm.as_ref().filter(|_| self.healthy) {
            say(
                format!("the journal will refuse calls soon: {alarm}"),
                "free space, raise `journal_bytes_max`, or let retention drop more",
            );
        }
    }
}
