//! How each operation is called in the journal and in logs, and which of them change something.

use super::AdminRequest;

impl AdminRequest {
    /// Whether the request changes something, and so is recorded.
    pub const fn is_change(&self) -> bool {
        !matches!(
            self,
            Self::AccountList {}
                | Self::AccountShow { .. }
                | Self::TokenList { .. }
                | Self::AgentList {}
                | Self::AgentShow { .. }
                | Self::MemberList { .. }
                | Self::GroupList { .. }
                | Self::KeyShow { .. }
                | Self::KeyList { .. }
                | Self::SessionList { .. }
                | Self::PolicyList { .. }
                | Self::PolicyShow { .. }
                | Self::PolicyVersions { .. }
                | Self::Status {}
                | Self::AuditQuery { .. }
                | Self::Explain { .. }
                | Self::SimulationGround { .. }
                | Self::ConnectorList {}
                | Self::ConnectorDiff { .. }
        )
    }

    /// The name of the operation in the journal and in logs.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AccountCreate { .. } => "account.create",
            Self::AccountList {} => "account.list",
            Self::AccountShow { .. } => "account.show",
            Self::AccountStatus { .. } => "account.status",
            Self::AccountLink { .. } => "account.link",
            Self::AccountAdopt { .. } => "agent.adopt",
            Self::TokenCreate { .. } => "token.create",
            Self::TokenList { .. } => "token.list",
            Self::TokenRevoke { .. } => "token.revoke",
            Self::AgentCreate { .. } => "agent.create",
            Self::AgentList {} => "agent.list",
            Self::AgentShow { .. } => "agent.show",
            Self::AgentStatus { .. } => "agent.status",
            Self::AgentServices { .. } => "agent.services",
            Self::AgentRate { .. } => "agent.rate",
            Self::AgentDelete { .. } => "agent.delete",
            Self::MemberAdd { .. } => "member.add",
            Self::MemberList { .. } => "member.list",
            Self::MemberStatus { .. } => "member.status",
            Self::MemberRemove { .. } => "member.remove",
            Self::GroupCreate { .. } => "group.create",
            Self::GroupList { .. } => "group.list",
            Self::GroupAdd { .. } => "group.add",
            Self::GroupRemove { .. } => "group.remove",
            Self::GroupDelete { .. } => "group.delete",
            Self::KeyCreate { .. } => "key.create",
            Self::KeyRotate { .. } => "key.rotate",
            Self::KeyRevoke { .. } => "key.revoke",
            Self::KeyRate { .. } => "key.rate",
            Self::KeyShow { .. } => "key.show",
            Self::KeyList { .. } => "key.list",
            Self::SessionList { .. } => "session.list",
            Self::SessionReset { .. } => "session.reset",
            Self::PolicyList { .. } => "policy.list",
            Self::PolicyShow { .. } => "policy.show",
            Self::PolicyVersions { .. } => "policy.versions",
            Self::PolicyCreate { .. } => "policy.create",
            Self::PolicyUpdate { .. } => "policy.update",
            Self::PolicyToggle { .. } => "policy.toggle",
            Self::PolicyRollback { .. } => "policy.rollback",
            Self::PolicyDelete { .. } => "policy.delete",
            Self::Status {} => "status",
            Self::Reload {} => "reload",
            Self::AuditQuery { .. } => "audit.query",
            Self::Explain { .. } => "policy.explain",
            Self::SimulationGround { .. } => "policy.simulate",
            Self::ConnectorList {} => "connector.list",
            Self::ConnectorDiff { .. } => "connector.diff",
            Self::ConnectorSync { .. } => "connector.sync",
            Self::ConnectorAccept { .. } => "connector.accept",
        }
    }
}
