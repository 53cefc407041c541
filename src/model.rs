//! The nouns of the gate: what agents, members, calls, resources and decisions are.
//!
//! Plain data without behaviour that needs I/O, time or randomness. Everything with an invariant
//! of shape (ids, names, keys) is parsed once and cannot be built otherwise.

mod account;
mod agent;
mod caller;
mod canonical;
mod checkpoint;
mod decision;
mod digest;
mod history;
mod ids;
mod outcome;
mod source;
mod stored_policy;
mod structured;
mod time;
mod tool;

pub use account::{Account, AccountStatus, EMAIL_BYTES_MAX, EmailAddress, Scope};
pub use agent::{Agent, AgentStatus, Member, MemberStatus, RateLimit, Role, TrustMode};
pub use caller::{Caller, ClientInfo};
pub use canonical::canonical_json;
pub use checkpoint::{CheckpointCause, SessionCheckpoint, WindowCheckpoint};
pub use decision::{Decision, EvaluationError, Lesson, LimitReached, PolicyRef, Reason, Shadowed};
pub use digest::Digest;
pub use history::{CounterKey, CounterScope, History};
pub use ids::{
    AccountId, AgentId, CallId, ConversationId, GroupName, InviteId, KeyId, MemberId, NameError, PolicyId,
    PolicyKey, ServiceKey, SessionId, TokenId, ToolName, WebSessionId,
};
pub use outcome::{Outcome, OutcomeKind};
pub use source::{Diagnostic, SourceFile};
pub use stored_policy::{PolicyMode, PolicyText, StoredPolicy};
pub use structured::{
    ArgumentCondition, ArgumentTest, Comparison, CounterCondition, CounterKind, IfUnknown, MatchMode,
    NetworkCondition, Over, PolicyEffect, PolicyPrincipal, RepositoryRestriction, ResourceCondition,
    ResourceConditions, Show, StructuredPolicy, TimeConstraints,
};
pub use time::Timestamp;
pub use tool::{SEPARATOR, Tier, split_prefixed};
