//! Who may: the doors of the API, as extractors in the handlers' own signatures.
//!
//! A handler gets its caller, agent and member from here and from nowhere else, so that what it may do
//! is what its signature says (house rule 1). A door names the scope that a token must have.
//!
//! In the order of what they ask for: [`Open`], anybody; [`Whoever`], anybody, but not where
//! nobody can tell who it is; [`Signed`], any account; [`Person`], an account by
//! its browser's session and no token, whatever its scopes; [`AgentSeen`], the agent of the path for its
//! owner and its members, pending ones too; [`AgentUsed`], for its owner and its approved members;
//! [`AgentOwned`], for its owner alone; [`MemberSeen`], the member of the path for the agent's owner and for
//! that member.
//!
//! Invariants: whoever has no part in an agent, or was rejected, hears 404 as if there were none; who
//! has a part, but not the role, hears 403.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;

use super::ApiState;
use super::caller::{Asked, Caller, Via, unauthenticated};
use super::problem::{Code, Problem};
use crate::model::{Agent, AgentId, Member, MemberId, MemberStatus, Scope};
use crate::store::StoreError;

/// A scope, as a type.
pub trait Need: Send + Sync + 'static {
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident),* $(,)?) => {
        /// The scopes, as types.
        pub mod need {
            $(
                #[doc = concat!("[`Scope::", stringify!($name), "`](crate::model::Scope).")]
                #[derive(Debug, Clone, Copy)]
                pub enum $name {}
                impl super::Need for $name {
                    const SCOPE: crate::model::Scope = crate::model::Scope::$name;
                }
            )*
        }
    };
}

needs!(
    AgentsRead,
    AgentsWrite,
    MembersRead,
    MembersWrite,
    KeysWrite,
    SessionsRead,
    SessionsWrite,
    AuditRead,
    PoliciesRead,
    PoliciesWrite,
    CredentialsRead,
    CredentialsWrite,
    AccountRead,
);

/// Anybody; who it is, where it is an account.
pub struct Open(pub Option<Caller>);

/// Anybody; who it is, where it is an account. What cannot be told now is not answered as nobody.
pub struct Whoever<N: Need> {
    pub caller: Option<Caller>,
    need: PhantomData<N>,
}

/// Any account.
pub struct Signed<N: Need> {
    pub caller: Caller,
    need: PhantomData<N>,
}

/// A person at a browser.
pub struct Person {
    pub caller: Caller,
}

/// What the caller is to an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// Its owner, with the owner's own membership where there is one.
    Owner(Option<Member>),
    /// A member, approved or pending.
    Member(Member),
}

impl Standing {
    /// The caller's own membership.
    pub const fn member(&self) -> Option<&Member> {
        match self {
            Self::Owner(member) => member.as_ref(),
            Self::Member(member) => Some(member),
        }
    }

    /// Whether this is the agent's owner.
    pub const fn is_owner(&self) -> bool {
        matches!(self, Self::Owner(_))
    }
}

/// The agent of the path, for whoever has a part in it.
pub struct AgentSeen<N: Need> {
    pub caller: Caller,
    pub agent: Agent,
    pub standing: Standing,
    need: PhantomData<N>,
}

/// The agent of the path, for its owner and its approved members.
pub struct AgentUsed<N: Need> {
    pub caller: Caller,
    pub agent: Agent,
    pub standing: Standing,
    need: PhantomData<N>,
}

/// The agent of the path, for its owner.
pub struct AgentOwned<N: Need> {
    pub caller: Caller,
    pub agent: Agent,
    /// The owner's own membership.
    pub member: Option<Member>,
    need: PhantomData<N>,
}

/// The member of the path, for the agent's owner and for the member.
pub struct MemberSeen<N: Need> {
    pub caller: Caller,
    pub agent: Agent,
    pub standing: Standing,
    pub member: Member,
    need: PhantomData<N>,
}

impl<N: Need> MemberSeen<N> {
    /// Goes on only where the member of the path is the caller.
    ///
    /// # Errors
    /// 403.
    pub fn own(self) -> Result<Self, Problem> {
        if self.standing.member().map(|member| member.id) == Some(self.member.id) {
            return Ok(self);
        }
        Err(Problem::new(Code::Forbidden, "only the member alone may do this, not even the agent's owner"))
    }

    /// Goes on only for the agent's owner.
    ///
    /// # Errors
    /// 403.
    pub fn owned(self) -> Result<Self, Problem> {
        if self.standing.is_owner() { Ok(self) } else { Err(owner_only()) }
    }
}

fn owner_only() -> Problem {
    Problem::new(Code::Forbidden, "only the agent's owner may do this")
}

fn asked(parts: &Parts) -> Result<&Caller, Problem> {
    let asked = parts.extensions.get::<Asked>().ok_or_else(unauthenticated)?;
    (*asked.0).as_ref().map_err(Clone::clone)
}

fn holding<N: Need>(parts: &Parts) -> Result<Caller, Problem> {
    let caller = asked(parts)?;
    if caller.holds(N::SCOPE) {
        return Ok(caller.clone());
    }
    Err(Problem::new(Code::ScopeMissing, format!("the token does not have the scope `{}`", N::SCOPE))
        .with_help("create a token with this scope; a token's scopes are never changed"))
}

/// A part of the path, read as what it names.
pub(super) async fn of_path<T: std::str::FromStr>(
    parts: &mut Parts,
    state: &ApiState,
    name: &str,
    noun: &str,
) -> Result<T, Problem> {
    let given = Path::<Vec<(String, String)>>::from_request_parts(parts, state).await;
    let Ok(Path(given)) = given else { return Err(Problem::not_found(noun)) };
    let text = given.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    text.and_then(|text| text.parse().ok()).ok_or_else(|| Problem::not_found(noun))
}

/// The agent of the path and what the caller is to it.
async fn seen<N: Need>(parts: &mut Parts, state: &ApiState) -> Result<(Caller, Agent, Standing), Problem> {
    let caller = holding::<N>(parts)?;
    let id: AgentId = of_path(parts, state, "id", "agent").await?;
    let store = state.admin.store();
    let agent = match store.agents().get(id).await {
        Err(StoreError::NotFound { .. }) => return Err(Problem::not_found("agent")),
        found => found?,
    };
    let member = store.members().of_account(id, caller.account.id).await?;
    if agent.owner == Some(caller.account.id) {
        return Ok((caller, agent, Standing::Owner(member)));
    }
    match member {
        Some(member) if member.status != MemberStatus::Rejected => {
            Ok((caller, agent, Standing::Member(member)))
        }
        _ => Err(Problem::not_found("agent")),
    }
}

impl FromRequestParts<ApiState> for Open {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, Problem> {
        Ok(Self(asked(parts).ok().cloned()))
    }
}

impl<N: Need> FromRequestParts<ApiState> for Whoever<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, Problem> {
        let caller = match holding::<N>(parts) {
            Ok(caller) => Some(caller),
            Err(problem) if problem.code() == Code::Unauthenticated => None,
            Err(problem) => return Err(problem),
        };
        Ok(Self { caller, need: PhantomData })
    }
}

impl<N: Need> FromRequestParts<ApiState> for Signed<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, Problem> {
        Ok(Self { caller: holding::<N>(parts)?, need: PhantomData })
    }
}

impl FromRequestParts<ApiState> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &ApiState) -> Result<Self, Problem> {
        let caller = asked(parts)?;
        match caller.via {
            Via::Session(_) => Ok(Self { caller: caller.clone() }),
            Via::Token { .. } => Err(Problem::new(
                Code::Forbidden,
                "no token opens this, whatever its scopes: it takes a person",
            )
            .with_help("sign in with a browser")),
        }
    }
}

impl<N: Need> FromRequestParts<ApiState> for AgentSeen<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let (caller, agent, standing) = seen::<N>(parts, state).await?;
        Ok(Self { caller, agent, standing, need: PhantomData })
    }
}

impl<N: Need> FromRequestParts<ApiState> for AgentUsed<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let (caller, agent, standing) = seen::<N>(parts, state).await?;
        let approved = standing.member().is_some_and(|member| member.status == MemberStatus::Approved);
        if !standing.is_owner() && !approved {
            return Err(Problem::new(Code::Forbidden, "this takes an approved membership of the agent")
                .with_help("ask the agent's owner to approve yours"));
        }
        Ok(Self { caller, agent, standing, need: PhantomData })
    }
}

impl<N: Need> FromRequestParts<ApiState> for AgentOwned<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        match seen::<N>(parts, state).await? {
            (caller, agent, Standing::Owner(member)) => Ok(Self { caller, agent, member, need: PhantomData }),
            _ => Err(owner_only()),
        }
    }
}

impl<N: Need> FromRequestParts<ApiState> for MemberSeen<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        let (caller, agent, standing) = seen::<N>(parts, state).await?;
        let id: MemberId = of_path(parts, state, "memberId", "member").await?;
        let own = standing.member().is_some_and(|member| member.id == id);
        if !own && !standing.is_owner() {
            return Err(Problem::not_found("member"));
        }
        let member = match state.admin.store().members().get(id).await {
            Err(StoreError::NotFound { .. }) => return Err(Problem::not_found("member")),
            found => found?,
        };
        if member.agent_id != agent.id {
            return Err(Problem::not_found("member"));
        }
        Ok(Self { caller, agent, standing, member, need: PhantomData })
    }
}
