//! What goes into the index and comes out of it.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Sight;
use crate::model::{
    AgentId, CallId, Digest, EmailAddress, EvaluationError, KeyId, MemberId, Outcome, PolicyId, PolicyKey,
    PolicyRef, ServiceKey, SessionId, Timestamp,
};

/// Rows that one query returns at most: a page of specification 7.2 is 500, one of an export is this.
pub const QUERY_ROWS_MAX: u32 = 1_000;

/// One decided call (specification 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// The journal that holds the entry: node, boot, and the entry's number in that boot's chain.
    pub node: Uuid,
    pub boot: u64,
    pub seq: u64,
    pub call: CallId,
    pub at: Timestamp,
    pub agent_id: AgentId,
    pub agent_name: String,
    pub member_id: MemberId,
    pub member_name: String,
    pub key_id: KeyId,
    pub session: Option<SessionId>,
    pub service: String,
    /// As the call named it, without prefix.
    pub tool: String,
    pub action: String,
    pub resource: String,
    pub principal: String,
    pub caller_ip: IpAddr,
    /// JSON text, redacted.
    pub arguments: String,
    pub allowed: bool,
    /// The word: `forbidden`, `no_permit` …
    pub reason: String,
    /// What the policy says to whom it denies.
    pub deny_message: Option<String>,
    /// The determining policies.
    pub policies: Vec<PolicyRef>,
    /// What policies in shadow mode would have made of it, where that is anything else.
    pub shadow: Option<ShadowRow>,
    /// The bundle that decided.
    pub bundle: Digest,
    /// `None` until the completion is indexed, and for denied calls.
    pub outcome: Option<Outcome>,
}

/// What would have been decided if policies in shadow mode were enforced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowRow {
    /// `ALLOW` or `DENY`.
    pub decision: String,
    pub reason: String,
    /// Those in shadow mode that would have determined it.
    pub policies: Vec<PolicyRef>,
    /// How many of these could not be evaluated, by their names and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<EvaluationError>,
}

impl AuditRow {
    /// The row as every database can keep it: PostgreSQL has no NUL in a text. Who calls may name a tool
    /// with one, and must not stop the index: the journal has what was said, here a mark stands for it.
    pub(super) fn storable(&self) -> Cow<'_, Self> {
        let has = |text: &String| text.contains('\0');
        let texts = [
            &self.agent_name,
            &self.member_name,
            &self.service,
            &self.tool,
            &self.action,
            &self.resource,
            &self.principal,
            &self.arguments,
            &self.reason,
        ];
        if !texts.into_iter().chain(&self.deny_message).any(has) {
            return Cow::Borrowed(self);
        }
        let mut row = self.clone();
        let texts = [
            &mut row.agent_name,
            &mut row.member_name,
            &mut row.service,
            &mut row.tool,
            &mut row.action,
            &mut row.resource,
            &mut row.principal,
            &mut row.arguments,
            &mut row.reason,
        ];
        for text in texts.into_iter().chain(&mut row.deny_message) {
            *text = text.replace('\0', "\u{FFFD}");
        }
        Cow::Owned(row)
    }

    /// For people: what the policy says, else the word (specification 7.1 `reason`).
    pub fn said(&self) -> &str {
        self.deny_message.as_deref().unwrap_or(&self.reason)
    }

    /// The same for those who may not know the policies: a message that names one gives way to the word.
    pub fn said_without_policies(&self) -> &str {
        let message = self.said();
        let folded = message.to_lowercase();
        let named = |name: &str| !name.is_empty() && folded.contains(&name.to_lowercase());
        let names_one = self.policies.iter().any(|policy| named(policy.key.as_str()) || named(&policy.name));
        if names_one { &self.reason } else { message }
    }
}

/// How far an administrative change has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangePhase {
    /// About to be made; if nothing follows, the gate stopped before it knew.
    Intent,
    /// Made.
    Completed,
    /// Not made.
    Failed,
}

/// An administrative change; its entries of the journal are one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRow {
    pub node: Uuid,
    pub boot: u64,
    pub seq: u64,
    pub change: CallId,
    /// Of the entry that is written; a stored row holds the first and the last.
    pub at: Timestamp,
    pub phase: ChangePhase,
    /// When it was made, or was not; `None` on the way in.
    pub ended_at: Option<Timestamp>,
    /// As the journal names who made it.
    pub who: String,
    /// The account, where it was one.
    pub account: Option<EmailAddress>,
    /// `agent.create`, `key.revoke` …
    pub what: String,
    pub target: String,
    /// The agent that it concerns, where it concerns one.
    pub agent: Option<AgentId>,
    /// JSON text, redacted.
    pub before: Option<String>,
    pub after: Option<String>,
}

/// What the journal hands to the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditWrite {
    /// An intent or a denial.
    Entry(Box<AuditRow>),
    /// How an allowed call ended.
    Completion { call: CallId, outcome: Outcome },
    /// One phase of an administrative change.
    Change(Box<ChangeRow>),
}

/// How far a journal has been indexed; the journal alone gives it a meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditPosition {
    /// The segment's file name.
    pub segment: String,
    /// Byte offset of the first entry that is not indexed.
    pub offset: u64,
}

/// A row's place in every list; the same whatever is asked. Its written form says nothing to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditCursor {
    pub at: Timestamp,
    pub seq: i64,
    /// The number under which it arrived in the index.
    pub id: i64,
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0u8; 24];
        let numbers = [self.at.as_millis(), self.seq, self.id];
        for (place, number) in bytes.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_be_bytes());
        }
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for AuditCursor {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl FromStr for AuditCursor {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "a cursor that an earlier answer gave is expected";
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| RULE)?;
        let bytes: [u8; 24] = bytes.try_into().map_err(|_| RULE)?;
        let [at, seq, id] = [0, 8, 16].map(|from| {
            let mut number = [0u8; 8];
            number.copy_from_slice(bytes.get(from..from + 8).unwrap_or(&[0; 8]));
            i64::from_be_bytes(number)
        });
        Ok(Self { at: Timestamp::from_millis(at), seq, id })
    }
}

/// Where a page begins, other than at the newest row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditPlace {
    /// Behind this row: what is older.
    Before(AuditCursor),
    /// The rows next to this one that are newer.
    After(AuditCursor),
}

/// The filters of specification 7.2; all of them must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Whose calls may be seen.
    pub sight: Sight,
    /// Inclusive.
    pub from: Option<Timestamp>,
    /// Inclusive.
    pub to: Option<Timestamp>,
    /// Part of the agent's name, in any case.
    pub agent: Option<String>,
    pub service: Option<ServiceKey>,
    /// Part of the tool's name, in any case.
    pub tool: Option<String>,
    /// Allowed, or denied.
    pub allowed: Option<bool>,
    pub member: Option<MemberId>,
    /// A determining policy: its key, or the id of a stored one.
    pub policy: Option<PolicyKey>,
    pub session: Option<SessionId>,
    /// At most [`QUERY_ROWS_MAX`]; 0 means that.
    pub limit: u32,
    pub offset: u64,
    pub place: Option<AuditPlace>,
}

impl AuditFilter {
    /// Whether the filter lets this row through, as the store's query would decide it; the sight counts,
    /// the place in the list does not.
    pub fn lets_through(&self, row: &AuditRow) -> bool {
        let part = |wanted: &Option<String>, text: &str| {
            wanted.as_ref().is_none_or(|w| text.to_lowercase().contains(&w.to_lowercase()))
        };
        let (agent, member) = (row.agent_id, row.member_id);
        let policy = |key: &PolicyKey| {
            let id = key.as_str().parse::<PolicyId>().ok();
            let is = |used: &PolicyRef| used.key == *key || id.is_some() && used.id == id;
            self.sight.names_policies(agent, member) && row.policies.iter().any(is)
        };
        self.sight.sees(agent, member)
            && self.from.is_none_or(|from| row.at >= from)
            && self.to.is_none_or(|to| row.at <= to)
            && part(&self.agent, &row.agent_name)
            && self.service.as_ref().is_none_or(|service| service.as_str() == row.service)
            && part(&self.tool, &row.tool)
            && self.allowed.is_none_or(|allowed| allowed == row.allowed)
            && self.member.is_none_or(|asked| asked == member)
            && self.session.is_none_or(|session| row.session == Some(session))
            && self.policy.as_ref().is_none_or(policy)
    }
}

/// How many rows match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditTotal {
    pub count: u64,
    /// There are more than [`super::EXACT_TOTAL_MAX`], and nobody counted on.
    pub estimated: bool,
}

impl AuditTotal {
    pub(super) const fn add(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        self.estimated = self.estimated || other.estimated;
    }
}

/// A page of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditFound {
    /// Newest first.
    pub rows: Vec<(AuditCursor, AuditRow)>,
    /// Where the next page goes on, in the direction that was asked for; `None` at the end.
    pub next: Option<AuditCursor>,
    pub total: AuditTotal,
}
