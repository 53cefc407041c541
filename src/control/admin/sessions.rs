//! Tool sessions: what agents are doing and have used up, and the reset that lets one start anew.
//!
//! Sessions that go on are read from the running gate's memory, which is ahead of the store; those that
//! ended from the store.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::json;

use super::{Admin, Changing, found};
use crate::control::reply::SessionView;
use crate::control::{AdminFault, AdminReply, FaultKind, Operator};
use crate::model::{AgentId, ClientInfo, ConversationId, CounterKey, MemberId, SessionId, Timestamp};
use crate::session::{self, SessionFilter, SessionOrder};
use crate::store::{EndReason, SessionQuery, SessionRow, SessionSort};

/// Sessions that one answer of the command line lists.
const SESSIONS_LISTED_MAX: usize = 1_000;

/// A tool session, wherever it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolSession {
    pub id: SessionId,
    pub agent_id: AgentId,
    pub member_id: MemberId,
    pub conversation: ConversationId,
    pub client: Option<ClientInfo>,
    pub created_at: Timestamp,
    pub last_activity_at: Timestamp,
    /// None while it goes on.
    pub ended: Option<(Timestamp, EndReason)>,
    pub counters: BTreeMap<CounterKey, i64>,
}

/// Which of an agent's sessions, in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionQuestion {
    pub agent: AgentId,
    pub member: Option<MemberId>,
    /// Those that go on, or those that ended; both where absent.
    pub active: Option<bool>,
    pub sort: SessionSort,
    pub descending: bool,
    pub limit: u32,
    pub offset: u64,
}

impl Admin {
    /// A page of an agent's sessions, and how many match in all.
    ///
    /// # Errors
    /// The store's.
    pub async fn tool_sessions(
        &self,
        question: &SessionQuestion,
    ) -> Result<(Vec<ToolSession>, u64), AdminFault> {
        // Both sources are in order: what stands on the page is among the first so many of each.
        let reach = question.offset.saturating_add(question.limit.into());
        let (mut all, mut total) = (Vec::new(), 0);
        if question.active != Some(false) {
            let (rows, count) = self.going_on(question, reach).await?;
            all.extend(rows);
            total += count;
        }
        if question.active != Some(true) {
            let (rows, count) = self.stored(question, true, reach).await?;
            all.extend(rows);
            total += count;
        }
        all.sort_by(|a, b| order(question, a, b));
        let offset = usize::try_from(question.offset).unwrap_or(usize::MAX);
        Ok((all.into_iter().skip(offset).take(question.limit as usize).collect(), total))
    }

    async fn going_on(
        &self,
        question: &SessionQuestion,
        reach: u64,
    ) -> Result<(Vec<ToolSession>, u64), AdminFault> {
        let filter = SessionFilter { agent: Some(question.agent), member: question.member };
        let order = SessionOrder {
            by_creation: question.sort == SessionSort::CreatedAt,
            descending: question.descending,
        };
        let limit = usize::try_from(reach).unwrap_or(usize::MAX);
        match self.live.session_page(filter, order, limit) {
            Some((views, total)) => Ok((views.into_iter().map(of_live).collect(), total as u64)),
            None => self.stored(question, false, reach).await,
        }
    }

    async fn stored(
        &self,
        question: &SessionQuestion,
        ended: bool,
        reach: u64,
    ) -> Result<(Vec<ToolSession>, u64), AdminFault> {
        let query = SessionQuery {
            agent: question.agent,
            member: question.member,
            ended,
            sort: question.sort,
            descending: question.descending,
            limit: reach,
            offset: 0,
        };
        let (rows, total) = self.store.sessions().page(&query).await?;
        Ok((rows.into_iter().map(of_row).collect(), total))
    }

    /// The session of this id, going on or ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn tool_session(&self, id: SessionId) -> Result<Option<ToolSession>, AdminFault> {
        if let Some(view) = self.live.session(id) {
            return Ok(Some(of_live(view)));
        }
        Ok(found(self.store.sessions().get(id).await)?.map(of_row))
    }

    /// Ends a session at once: its next call opens a new one with counters at 0. The member's 24 hours go
    /// on as they are.
    ///
    /// # Errors
    /// `NotFound` where there is none, `Conflict` where it ended already.
    pub async fn reset_session(&self, operator: Operator, id: SessionId) -> Result<ToolSession, AdminFault> {
        let Changing { recorder, _one_at_a_time } = self.change(operator, "session.reset").await;
        let before = self.tool_session(id).await?;
        let before = before.ok_or_else(|| AdminFault::not_found(format!("no session `{id}`")))?;
        let ended = || {
            AdminFault::new(FaultKind::Conflict, format!("session `{id}` has ended already"))
                .with_help("nothing is left to reset: the next call opens a new one")
        };
        if before.ended.is_some() {
            return Err(ended());
        }
        let live = &self.live;
        let act = Box::pin(async move {
            match live.reset_session(id).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(ended()),
                Err(reason) => Err(AdminFault::new(FaultKind::Unavailable, reason)),
            }
        });
        let counters = json!(written(&before.counters));
        recorder.about(before.agent_id).made(&id.to_string(), counters, json!("manual_reset"), act).await?;
        Ok(ToolSession { ended: Some((Timestamp::now(), EndReason::ManualReset)), ..before })
    }

    pub(super) async fn list_sessions(
        &self,
        agent: Option<&str>,
        member: Option<&str>,
        ended: bool,
    ) -> Result<AdminReply, AdminFault> {
        if agent.is_none() && member.is_some() {
            return Err(AdminFault::invalid("a member is named, but no agent")
                .with_help("a member belongs to one agent: name that too"));
        }
        let agents = match agent {
            Some(given) => vec![self.find_agent(given).await?],
            None => self.store.agents().list().await?,
        };
        let mut sessions = Vec::new();
        for agent in &agents {
            let member = match member {
                Some(given) => Some(self.find_member(agent, given).await?.id),
                None => None,
            };
            let question = SessionQuestion {
                agent: agent.id,
                member,
                active: if ended { None } else { Some(true) },
                sort: SessionSort::LastActivityAt,
                descending: true,
                limit: SESSIONS_LISTED_MAX as u32,
                offset: 0,
            };
            sessions.extend(self.tool_sessions(&question).await?.0);
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.last_activity_at));
        sessions.truncate(SESSIONS_LISTED_MAX);
        let mut views = Vec::with_capacity(sessions.len());
        for session in sessions {
            let agent = agents.iter().find(|agent| agent.id == session.agent_id);
            views.push(self.named(session, agent.map(|agent| agent.name.clone())).await?);
        }
        Ok(AdminReply::Sessions(views))
    }

    pub(super) async fn reset_named_session(
        &self,
        operator: Operator,
        id: SessionId,
    ) -> Result<AdminReply, AdminFault> {
        let open = self.tool_session(id).await?.filter(|session| session.ended.is_none());
        let Some(session) = open else {
            return Err(AdminFault::not_found(format!("no session `{id}` is open")).with_help(
                "`wicket session list` shows the open ones; idle ones end after 30 minutes by themselves",
            ));
        };
        self.reset_session(operator, id).await?;
        let view = self.named(session, None).await?;
        Ok(AdminReply::Session(SessionView { is_active: false, ..view }))
    }

    /// The session with names instead of ids, where there still are names.
    async fn named(&self, session: ToolSession, agent: Option<String>) -> Result<SessionView, AdminFault> {
        let agent = match agent {
            Some(name) => Some(name),
            None => found(self.store.agents().get(session.agent_id).await)?.map(|agent| agent.name),
        };
        let member = found(self.store.members().get(session.member_id).await)?.map(|member| member.name);
        Ok(SessionView {
            id: session.id,
            agent_id: session.agent_id,
            agent: agent.unwrap_or_else(|| session.agent_id.to_string()),
            member_id: session.member_id,
            member: member.unwrap_or_else(|| session.member_id.to_string()),
            agent_type: session.client.map(|client| client.name),
            is_active: session.ended.is_none(),
            created_at: session.created_at,
            last_activity_at: session.last_activity_at,
            terminated_at: session.ended.map(|(at, _)| at),
            terminated_reason: session.ended.map(|(_, reason)| reason.as_str().to_owned()),
            counters: written(&session.counters),
        })
    }
}

/// What is alike in time stands by id, whichever way the list goes, as the store has it.
fn order(question: &SessionQuestion, a: &ToolSession, b: &ToolSession) -> Ordering {
    let time = |session: &ToolSession| match question.sort {
        SessionSort::LastActivityAt => session.last_activity_at,
        SessionSort::CreatedAt => session.created_at,
    };
    let by_time = time(a).cmp(&time(b));
    let by_time = if question.descending { by_time.reverse() } else { by_time };
    by_time.then_with(|| a.id.cmp(&b.id))
}

fn of_live(view: session::SessionView) -> ToolSession {
    ToolSession {
        id: view.id,
        agent_id: view.agent_id,
        member_id: view.member_id,
        conversation: view.conversation,
        client: view.client,
        created_at: view.created_at,
        last_activity_at: view.last_activity_at,
        ended: view.terminated_at.zip(view.terminated_reason),
        counters: view.counters,
    }
}

fn of_row(row: SessionRow) -> ToolSession {
    ToolSession {
        id: row.id,
        agent_id: row.agent_id,
        member_id: row.member_id,
        conversation: row.conversation,
        client: row.client,
        created_at: row.created_at,
        last_activity_at: row.last_activity_at,
        ended: row.ended,
        counters: row.counters,
    }
}

fn written(counters: &BTreeMap<CounterKey, i64>) -> BTreeMap<String, i64> {
    counters.iter().map(|(key, value)| (key.to_string(), *value)).collect()
}
