//! Tool sessions: what agents are doing and have used up, and the reset that lets one start anew.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Admin, Recorder, find_agent, find_member};
use crate::control::reply::SessionView;
use crate::control::{AdminFault, AdminReply, FaultKind};
use crate::model::{AgentId, MemberId, SessionId};
use crate::session::SessionFilter;
use crate::store::{Directory, SessionRow};

/// Sessions that one answer lists.
const SESSIONS_LISTED_MAX: usize = 1_000;

impl Admin {
    pub(super) async fn list_sessions(
        &self,
        agent: Option<&str>,
        member: Option<&str>,
        ended: bool,
    ) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        let agent = agent.map(|given| find_agent(&directory, given)).transpose()?;
        let member = match (agent, member) {
            (Some(agent), Some(given)) => Some(find_member(&directory, agent, given)?.id),
            (None, Some(_)) => {
                return Err(AdminFault::invalid("a member is named, but no agent")
                    .with_help("a member belongs to one agent: name that too"));
            }
            (_, None) => None,
        };
        let filter = SessionFilter { agent: agent.map(|agent| agent.id), member };
        let mut views = match self.live.sessions(filter, SESSIONS_LISTED_MAX) {
            Some(live) => live.iter().map(|view| of_live(&directory, view)).collect(),
            None => self.stored(&directory, filter, false).await?,
        };
        if ended {
            views.extend(self.stored(&directory, filter, true).await?);
        }
        views.sort_by_key(|view| std::cmp::Reverse(view.last_activity_at));
        views.truncate(SESSIONS_LISTED_MAX);
        Ok(AdminReply::Sessions(views))
    }

    /// Sessions out of the store: those that go on, or those that ended.
    async fn stored(
        &self,
        directory: &Directory,
        filter: SessionFilter,
        ended: bool,
    ) -> Result<Vec<SessionView>, AdminFault> {
        let agents = directory.agents.iter().filter(|agent| filter.agent.is_none_or(|id| id == agent.id));
        let mut views = Vec::new();
        for agent in agents {
            let rows = self.store.sessions().list(agent.id, SESSIONS_LISTED_MAX as u64).await?;
            views.extend(
                rows.iter()
                    .filter(|row| row.ended.is_some() == ended)
                    .filter(|row| filter.member.is_none_or(|id| id == row.member_id))
                    .map(|row| of_row(directory, row)),
            );
        }
        Ok(views)
    }

    pub(super) async fn reset_session(
        &self,
        change: &Recorder<'_>,
        session: SessionId,
    ) -> Result<AdminReply, AdminFault> {
        let live = &self.live;
        let directory = self.directory().await?;
        let before = match self.live.sessions(SessionFilter::default(), usize::MAX) {
            Some(views) => views.iter().find(|view| view.id == session).map(|view| of_live(&directory, view)),
            None => {
                let row = self.store.sessions().get(session).await?;
                Some(of_row(&directory, &row)).filter(|view| view.is_active)
            }
        };
        let Some(before) = before else {
            return Err(AdminFault::not_found(format!("no session `{session}` is open")).with_help(
                "`wicket session list` shows the open ones; idle ones end after 30 minutes by themselves",
            ));
        };
        let act = Box::pin(async move {
            match live.reset_session(session).await {
                Ok(true) => Ok(()),
                Ok(false) => Err(AdminFault::not_found(format!("session `{session}` ended meanwhile"))),
                Err(reason) => Err(AdminFault::new(FaultKind::Unavailable, reason)),
            }
        });
        change.made(&session.to_string(), json!(before.counters), json!("manual_reset"), act).await?;
        Ok(AdminReply::Session(SessionView { is_active: false, ..before }))
    }
}

fn names(directory: &Directory, agent: AgentId, member: MemberId) -> (String, String) {
    let agent_name = directory.agents.iter().find(|row| row.id == agent).map(|row| row.name.clone());
    let member_name = directory.members.iter().find(|row| row.id == member).map(|row| row.name.clone());
    (agent_name.unwrap_or_else(|| agent.to_string()), member_name.unwrap_or_else(|| member.to_string()))
}

fn of_live(directory: &Directory, view: &crate::session::SessionView) -> SessionView {
    let (agent, member) = names(directory, view.agent_id, view.member_id);
    SessionView {
        id: view.id,
        agent_id: view.agent_id,
        agent,
        member_id: view.member_id,
        member,
        agent_type: view.client.as_ref().map(|client| client.name.clone()),
        is_active: view.is_active,
        created_at: view.created_at,
        last_activity_at: view.last_activity_at,
        terminated_at: view.terminated_at,
        terminated_reason: view.terminated_reason.map(|reason| reason.as_str().to_owned()),
        counters: written(&view.counters),
    }
}

fn of_row(directory: &Directory, row: &SessionRow) -> SessionView {
    let (agent, member) = names(directory, row.agent_id, row.member_id);
    SessionView {
        id: row.id,
        agent_id: row.agent_id,
        agent,
        member_id: row.member_id,
        member,
        agent_type: row.client.as_ref().map(|client| client.name.clone()),
        is_active: row.ended.is_none(),
        created_at: row.created_at,
        last_activity_at: row.last_activity_at,
        terminated_at: row.ended.map(|(at, _)| at),
        terminated_reason: row.ended.map(|(_, reason)| reason.as_str().to_owned()),
        counters: written(&row.counters),
    }
}

fn written(counters: &BTreeMap<crate::model::CounterKey, i64>) -> BTreeMap<String, i64> {
    counters.iter().map(|(key, value)| (key.to_string(), *value)).collect()
}
