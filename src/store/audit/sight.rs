//! Which calls an account may see (specification 1.2): all of the agents that it owns, of others its own.

use sea_orm::entity::prelude::*;
use sea_orm::sea_query::{Expr, ExprTrait as _, JoinType, Query};

use crate::model::{AccountId, AgentId, MemberId, TrustMode};
use crate::store::column::{id_text, parse_id, parse_word};
use crate::store::{Store, StoreError};

/// A membership of an agent that somebody else owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnMembership {
    pub member: MemberId,
    pub agent: AgentId,
    /// Of a trusted agent: whose policies are the owner's alone to know.
    pub trust: TrustMode,
}

/// Whose calls may be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sight {
    /// All: the operator on the machine itself.
    #[default]
    Everything,
    /// What an account may see.
    Account {
        /// The agents that it owns: all their calls.
        owned: Vec<AgentId>,
        /// Its memberships of others: their own calls.
        own: Vec<OwnMembership>,
    },
}

impl Sight {
    /// Whether policies of this agent may be named.
    pub fn owns(&self, agent: AgentId) -> bool {
        match self {
            Self::Everything => true,
            Self::Account { owned, .. } => owned.contains(&agent),
        }
    }

    /// Whether a call of this member of this agent may be seen.
    pub fn sees(&self, agent: AgentId, member: MemberId) -> bool {
        match self {
            Self::Everything => true,
            Self::Account { owned, own } => {
                owned.contains(&agent) || own.iter().any(|one| one.member == member)
            }
        }
    }

    /// Whether the policies that determined a call of this member are to be told.
    pub fn names_policies(&self, agent: AgentId, member: MemberId) -> bool {
        self.owns(agent)
            || match self {
                Self::Everything => true,
                Self::Account { own, .. } => {
                    own.iter().any(|one| one.member == member && one.trust == TrustMode::Untrusted)
                }
            }
    }

    /// The same, of this agent alone.
    #[must_use]
    pub fn of_agent(self, agent: AgentId) -> Self {
        match self {
            Self::Everything => Self::Account { owned: vec![agent], own: Vec::new() },
            Self::Account { mut owned, mut own } => {
                owned.retain(|one| *one == agent);
                own.retain(|one| one.agent == agent);
                Self::Account { owned, own }
            }
        }
    }
}

/// What this account may see now.
pub(super) async fn of_account(store: &Store, account: AccountId) -> Result<Sight, StoreError> {
    let account = id_text(account.as_uuid());
    let owned = Query::select()
        .column("id")
        .from("agent")
        .and_where(Expr::col("owner_id").eq(account.as_str()))
        .order_by("id", sea_orm::Order::Asc)
        .to_owned();
    let others =
        Expr::col(("agent", "owner_id")).is_null().or(Expr::col(("agent", "owner_id")).ne(&*account));
    let own = Query::select()
        .expr_as(Expr::col(("member", "id")), "member")
        .expr_as(Expr::col(("agent", "id")), "agent")
        .expr_as(Expr::col(("agent", "trust")), "trust")
        .from("member")
        .join(JoinType::InnerJoin, "agent", Expr::col(("agent", "id")).equals(("member", "agent_id")))
        .and_where(Expr::col(("member", "account_id")).eq(account.as_str()))
        .and_where(Expr::col(("member", "status")).ne("rejected"))
        .and_where(others)
        .order_by(("member", "id"), sea_orm::Order::Asc)
        .to_owned();
    let mut sight = (Vec::new(), Vec::new());
    for row in store.connection.query_all(&owned).await? {
        sight.0.push(AgentId::from_uuid(parse_id("agent.id", &row.try_get::<String>("", "id")?)?));
    }
    for row in store.connection.query_all(&own).await? {
        let text = |name: &str| row.try_get::<String>("", name);
        sight.1.push(OwnMembership {
            member: MemberId::from_uuid(parse_id("member.id", &text("member")?)?),
            agent: AgentId::from_uuid(parse_id("member.agent_id", &text("agent")?)?),
            trust: parse_word("agent.trust", &text("trust")?)?,
        });
    }
    Ok(Sight::Account { owned: sight.0, own: sight.1 })
}
