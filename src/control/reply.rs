//! What an administrative operation answers, as data that the command line prints or hands on as JSON.
//!
//! A member key appears in exactly one reply, [`MintedKey`], and in no `Debug` output.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::policies::{Policies, PolicyVersions, PolicyView};
use super::status::Status;
use crate::model::{
    Account, Agent, AgentId, Digest, EmailAddress, GroupName, KeyId, Member, MemberId, RateLimit, Scope,
    ServiceKey, SessionId, Tier, Timestamp, TokenId, ToolName,
};

/// The answer to one [`super::AdminRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", content = "value", rename_all = "snake_case")]
pub enum AdminReply {
    Account(Account),
    Accounts(Vec<Account>),
    AccountShown(Box<AccountView>),
    SignInLink(SignInLink),
    Token(TokenView),
    TokenMinted(Box<MintedToken>),
    Tokens(Vec<TokenView>),
    Agent(Box<AgentView>),
    Agents(Vec<AgentView>),
    Member(Member),
    Members(Vec<MemberView>),
    Group(GroupView),
    Groups(Vec<GroupView>),
    Minted(Box<MintedKey>),
    Key(KeyView),
    Keys(Vec<KeyView>),
    Session(SessionView),
    Sessions(Vec<SessionView>),
    Policy(Box<PolicyView>),
    Policies(Policies),
    PolicyVersions(PolicyVersions),
    Status(Box<Status>),
    Reloaded(Reloaded),
    Audit(AuditPage),
    Explained(Explained),
    SimulationGround(Vec<crate::control::simulate::AgentFacts>),
    Connectors(Vec<ConnectorView>),
    Drift(Drift),
    /// Something was deleted; the text says what, for a person.
    Gone(String),
}

/// An agent with what hangs on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentView {
    #[serde(flatten)]
    pub agent: Agent,
    pub members: Vec<MemberView>,
    pub groups: Vec<GroupName>,
}

/// A member with its keys that work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberView {
    #[serde(flatten)]
    pub member: Member,
    pub keys: Vec<KeyView>,
}

/// A group and who is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    pub name: GroupName,
    /// Names of members, in order.
    pub members: Vec<String>,
}

/// A key's record. The key itself is nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyView {
    pub id: KeyId,
    pub member_id: MemberId,
    pub member: String,
    pub display_suffix: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub rate: Option<RateLimit>,
}

/// A secret that a reply shows once. `Debug` hides it; the JSON form is the secret itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ShownOnce(String);

impl ShownOnce {
    /// Wraps a secret that is about to be shown.
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret, for printing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ShownOnce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(shown once)")
    }
}

/// A key that was just minted: the only time that it is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MintedKey {
    pub agent: String,
    pub member: String,
    pub record: KeyView,
    pub key: ShownOnce,
    /// Where agents connect, as `http://127.0.0.1:7400/mcp`.
    pub url: String,
    /// Keys of the member that stopped working through this.
    pub revoked: Vec<KeyId>,
    /// Why calls with the key would be refused as things stand, if so.
    pub hindrances: Vec<String>,
}

/// An account with what hangs on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AccountView {
    #[serde(flatten)]
    pub account: Account,
    /// Names of the agents that it owns.
    pub agents: Vec<String>,
    /// Browsers that are signed in.
    pub sessions: usize,
    /// Tokens that open.
    pub tokens: Vec<TokenView>,
}

/// A one-time link that was just made: the only time that it is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SignInLink {
    pub email: EmailAddress,
    pub url: ShownOnce,
    pub expires_at: Timestamp,
}

/// An API token's record. The token itself is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Token)]
pub struct TokenView {
    #[schema(value_type = String, format = Uuid)]
    pub id: TokenId,
    pub name: String,
    pub scopes: Vec<Scope>,
    /// Its last characters.
    pub display_suffix: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_used_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

impl TokenView {
    /// What is shown of a row.
    pub fn of(row: &crate::store::TokenRow) -> Self {
        Self {
            id: row.id,
            name: row.name.clone(),
            scopes: row.scopes.clone(),
            display_suffix: row.display_suffix.clone(),
            created_at: row.created_at,
            expires_at: row.expires_at,
            last_used_at: row.last_used_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// An API token that was just minted: the only time that it is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MintedToken {
    pub token: ShownOnce,
    #[serde(flatten)]
    pub record: TokenView,
}

/// One tool session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    pub id: SessionId,
    pub agent_id: AgentId,
    pub agent: String,
    pub member_id: MemberId,
    pub member: String,
    pub agent_type: Option<String>,
    pub is_active: bool,
    pub created_at: Timestamp,
    pub last_activity_at: Timestamp,
    pub terminated_at: Option<Timestamp>,
    pub terminated_reason: Option<String>,
    /// Written forms of the counters (`calls`, `tool/files:read_file` …) and their values.
    pub counters: BTreeMap<String, i64>,
}

/// A bundle that is in force from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    pub digest: Digest,
    /// False where the files were as before.
    pub changed: bool,
    pub policies: usize,
    pub connectors: usize,
    pub warnings: Vec<crate::model::Diagnostic>,
}

/// A page of the audit, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditPage {
    /// Entries with the fields of specification 7.1.
    pub entries: Vec<serde_json::Value>,
    pub total: u64,
}

/// An explained decision, for a person and for a program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explained {
    pub allowed: bool,
    pub text: String,
    pub detail: serde_json::Value,
    /// What keeps the explanation from being exact, such as redacted arguments.
    pub caveats: Vec<String>,
}

/// A connector as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectorView {
    pub service: ServiceKey,
    pub display_name: String,
    /// `http`, `stdio` or `in process`.
    pub transport: String,
    /// Where it leads: a URL or a command, without credentials.
    pub target: String,
    pub tools: usize,
    /// Tools in each tier.
    pub tiers: BTreeMap<Tier, usize>,
    pub on_change: String,
}

/// How what an upstream serves differs from its lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    pub service: ServiceKey,
    /// The lock's file, relative to the working directory.
    pub lock_file: String,
    /// Tools that the upstream serves.
    pub served: usize,
    pub changes: Vec<DriftChange>,
    /// Whether the lock was written.
    pub written: bool,
    /// The digest of the bundle in force after writing; none where the lock was written although the
    /// files do not load with it.
    pub bundle: Option<Digest>,
    /// What would not load, or does not, once all of it is accepted: above all the policies that name
    /// what is no longer there.
    #[serde(default)]
    pub breaks: Vec<crate::model::Diagnostic>,
    /// Tools that the upstream serves and clients leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<crate::model::Diagnostic>,
}

/// Why clients of MCP 2026-07-28 leave a tool of this lock out: its `x-mcp-header` break the rules.
pub fn left_out_by_clients(
    lock_file: &str,
    tool: &ToolName,
    schema: &serde_json::Value,
) -> Option<crate::model::Diagnostic> {
    let fault = crate::mcp::param_headers::lint(schema).err()?;
    let message = format!("clients of MCP 2026-07-28 leave `{tool}` out: {fault}");
    let diagnostic = crate::model::Diagnostic::of_file(lock_file, message);
    Some(diagnostic.with_help("its server has to correct `x-mcp-header`"))
}

/// One tool that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftChange {
    /// None where the server as a whole changed.
    pub tool: Option<ToolName>,
    /// `added`, `removed`, `changed`, `server`.
    pub kind: String,
    /// The tier in the lock, or the one proposed for a tool that is new.
    pub tier: Option<Tier>,
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_in_the_json_and_in_no_debug_output() {
        let shown = ShownOnce::new("s3cret".into());
        assert_eq!(serde_json::to_string(&shown).unwrap(), "\"s3cret\"");
        assert!(!format!("{shown:?}").contains("s3cret"));
    }
}
