//! Every administrative operation, once: the running gate and the command line over a stopped gate
//! both call [`Admin::perform`].
//!
//! Invariants, for each change: its intent is in the journal before the store is touched; it holds for
//! the gate's next call and its completion is in the journal before it is acknowledged; changes are
//! made one after the other, so that what the journal says was before was before. A change that has
//! begun is carried to its end even if the asker goes away (see [`super::socket`]).

pub mod accounts;
pub mod agents;
mod connectors;
mod find;
mod first_run;
mod groups;
pub mod invites;
mod keys;
mod members;
pub mod policies;
mod questions;
mod seeds;
pub mod sessions;
mod simulate;
mod views;

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::live::{Change, Live, Phase};
use super::{AdminFault, AdminReply, AdminRequest, FaultKind, Operator};
use crate::keys::Pepper;
use crate::model::{AgentId, CallId, Timestamp};
use crate::store::{Store, StoreError};

use find::{found, known};
pub use first_run::FirstRun;

/// Where things lie, out of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    pub data_dir: PathBuf,
    /// Where the journal's segments are.
    pub journal_dir: PathBuf,
    pub connectors_dir: PathBuf,
    /// Where agents connect, as `http://127.0.0.1:7400/mcp`.
    pub agents_url: String,
    /// Where browsers reach the control port, without a slash at the end: links begin with it.
    pub public_url: String,
}

/// Every administrative operation.
pub struct Admin {
    store: Store,
    live: Arc<dyn Live>,
    pepper: Pepper,
    places: Places,
    /// Held for the length of a change.
    changing: tokio::sync::Mutex<()>,
}

impl Admin {
    /// Works on this store; `live` is the running gate, or a stopped one.
    pub fn new(store: Store, live: Arc<dyn Live>, pepper: Pepper, places: Places) -> Self {
        Self { store, live, pepper, places, changing: tokio::sync::Mutex::new(()) }
    }

    /// The rows beneath, for questions.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The gate that runs, or the stopped one.
    pub fn live(&self) -> &Arc<dyn Live> {
        &self.live
    }

    /// Where things lie.
    pub const fn places(&self) -> &Places {
        &self.places
    }

    /// Begins a change of this name by this operator; others wait until it is dropped.
    async fn change(&self, operator: Operator, what: &'static str) -> Changing<'_> {
        let one_at_a_time = self.changing.lock().await;
        Changing {
            recorder: Recorder { admin: self, operator, what, agent: None },
            _one_at_a_time: one_at_a_time,
        }
    }

    /// Carries out one request.
    ///
    /// # Errors
    /// [`AdminFault`]: unless it is [`FaultKind::Partial`], nothing was changed.
    pub async fn perform(&self, operator: Operator, request: AdminRequest) -> Result<AdminReply, AdminFault> {
        use AdminRequest as R;
        let name = request.name();
        // Boxed: what the store's queries need of the stack would else add up over all arms.
        match request {
            R::AccountCreate { .. }
            | R::AccountList {}
            | R::AccountShow { .. }
            | R::AccountStatus { .. }
            | R::AccountLink { .. }
            | R::AccountAdopt { .. }
            | R::TokenCreate { .. }
            | R::TokenList { .. }
            | R::TokenRevoke { .. } => Box::pin(self.on_accounts(operator, request)).await,
            R::AgentCreate { .. }
            | R::AgentList {}
            | R::AgentShow { .. }
            | R::AgentStatus { .. }
            | R::AgentServices { .. }
            | R::AgentRate { .. }
            | R::AgentDelete { .. } => Box::pin(self.on_agents(operator, request)).await,
            R::MemberAdd { .. } | R::MemberList { .. } | R::MemberStatus { .. } | R::MemberRemove { .. } => {
                Box::pin(self.on_members(operator, request)).await
            }
            R::GroupCreate { .. }
            | R::GroupList { .. }
            | R::GroupAdd { .. }
            | R::GroupRemove { .. }
            | R::GroupDelete { .. } => Box::pin(self.on_groups(operator, request)).await,
            R::PolicyList { .. }
            | R::PolicyShow { .. }
            | R::PolicyVersions { .. }
            | R::PolicyCreate { .. }
            | R::PolicyUpdate { .. }
            | R::PolicyToggle { .. }
            | R::PolicyRollback { .. }
            | R::PolicyDelete { .. } => Box::pin(self.on_policies(operator, request)).await,
            R::KeyCreate { agent, member } => Box::pin(self.mint_key(operator, &agent, &member, false)).await,
            R::KeyRotate { agent, member } => Box::pin(self.mint_key(operator, &agent, &member, true)).await,
            R::KeyRevoke { key } => {
                Box::pin(self.revoke_key(operator, "key.revoke", key)).await.map(AdminReply::Key)
            }
            R::KeyRate { key, rate } => Box::pin(self.set_key_rate(operator, key, rate)).await,
            R::KeyShow { key } => Box::pin(self.show_key(key)).await,
            R::KeyList { agent, member } => Box::pin(self.list_keys(&agent, member.as_deref())).await,
            R::SessionList { agent, member, ended } => {
                Box::pin(self.list_sessions(agent.as_deref(), member.as_deref(), ended)).await
            }
            R::SessionReset { session } => Box::pin(self.reset_named_session(operator, session)).await,
            R::Status {} => Ok(AdminReply::Status(Box::new(Box::pin(self.status()).await))),
            R::AuditQuery { filter } => Box::pin(self.query_audit(filter)).await,
            R::Explain { question } => Box::pin(self.explain(question)).await,
            R::SimulationGround { agent } => Box::pin(self.grounds(agent.as_deref())).await,
            R::ConnectorList {} => self.list_connectors(),
            R::ConnectorDiff { service } => Box::pin(self.diff_connector(&service)).await,
            R::Reload {} | R::ConnectorSync { .. } | R::ConnectorAccept { .. } => {
                let Changing { recorder, _one_at_a_time } = self.change(operator, name).await;
                Box::pin(self.on_files(&recorder, request)).await
            }
        }
    }

    /// Requests that change files or read them anew.
    async fn on_files(&self, change: &Recorder<'_>, request: AdminRequest) -> Result<AdminReply, AdminFault> {
        match request {
            AdminRequest::ConnectorSync { service } => self.sync_connector(change, &service).await,
            AdminRequest::ConnectorAccept { service, tools, tiers, anyway } => {
                self.accept_connector(change, &service, &tools, &tiers, anyway).await
            }
            _ => self.reload(change).await,
        }
    }

    /// The gate's state, with the store's part read now.
    pub async fn status(&self) -> super::status::Status {
        let mut status = self.live.status().await;
        status.now = Some(Timestamp::now());
        match self.store.census().await {
            Ok(census) => {
                let number = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
                status.store = super::status::StoreStatus {
                    healthy: true,
                    error: None,
                    generation: census.generation.get(),
                    agents: number(census.agents),
                    members: number(census.members),
                    keys: number(census.keys),
                    keys_with_own_rate: number(census.keys_with_own_rate),
                    shared: self.store.is_shared(),
                    nodes: self.nodes().await,
                    ..status.store
                };
            }
            Err(error) => {
                status.store.healthy = false;
                status.store.error = Some(error.to_string());
            }
        }
        status
    }

    /// The gates of a shared database.
    async fn nodes(&self) -> Vec<super::status::NodeStatus> {
        let rows = if self.store.is_shared() { self.store.nodes().list().await } else { Ok(Vec::new()) };
        let status_of = |row: crate::store::NodeRow| super::status::NodeStatus {
            this: row.id == self.store.node_id(),
            id: row.id.to_string(),
            version: row.version,
            started_at: row.started_at,
            seen_at: row.seen_at,
            generation: row.generation,
        };
        // Where they cannot be read, neither could the directory a moment ago.
        rows.unwrap_or_default().into_iter().map(status_of).collect()
    }

    async fn reload(&self, change: &Recorder<'_>) -> Result<AdminReply, AdminFault> {
        let before = self.live.bundle().map(|bundle| bundle.digest().to_string()).ok();
        let live = &self.live;
        let act = Box::pin(async move {
            let reloaded = live.reload().await.map_err(|diagnostics| {
                AdminFault::rejected("the files do not load; what was in force stays in force", diagnostics)
                    .with_help("mend the files and say `wicket reload` again; `wicket check` tries them without the gate")
            })?;
            let after = serde_json::json!(reloaded.digest);
            Ok((reloaded, after))
        });
        change.made_by("bundle", serde_json::json!(before), act).await.map(AdminReply::Reloaded)
    }
}

/// One change that others wait for.
struct Changing<'a> {
    recorder: Recorder<'a>,
    _one_at_a_time: tokio::sync::MutexGuard<'a, ()>,
}

/// Writes the journal's entries around one change.
struct Recorder<'a> {
    admin: &'a Admin,
    operator: Operator,
    what: &'static str,
    /// The agent that the change concerns, whose owner may read of it. Told by its id, never found by the
    /// target's words: names are given by people, and one may be another's with a slash in it.
    agent: Option<AgentId>,
}

impl Recorder<'_> {
    /// The same, of a change that concerns this agent.
    fn about(&self, agent: AgentId) -> Self {
        Self { operator: self.operator.clone(), agent: Some(agent), ..*self }
    }

    /// A change whose effect is known beforehand.
    async fn made<T>(
        &self,
        target: &str,
        before: Value,
        after: Value,
        act: impl Future<Output = Result<T, AdminFault>>,
    ) -> Result<T, AdminFault> {
        self.carry_out(target, before, Some(after), async move { Ok((act.await?, Value::Null)) }).await
    }

    /// A change whose effect is known once it is made: `act` returns it beside its value.
    async fn made_by<T>(
        &self,
        target: &str,
        before: Value,
        act: impl Future<Output = Result<(T, Value), AdminFault>>,
    ) -> Result<T, AdminFault> {
        self.carry_out(target, before, None, act).await
    }

    async fn carry_out<T>(
        &self,
        target: &str,
        before: Value,
        after: Option<Value>,
        act: impl Future<Output = Result<(T, Value), AdminFault>>,
    ) -> Result<T, AdminFault> {
        let mut entry = Change {
            id: CallId::mint(Timestamp::now(), random()?),
            operator: self.operator.clone(),
            what: self.what.to_owned(),
            target: target.to_owned(),
            agent: self.agent,
            phase: Phase::Intended,
            at: Timestamp::now(),
            before,
            after: after.clone().unwrap_or(Value::Null),
        };
        let live = &self.admin.live;
        live.record(&entry).await.map_err(|reason| {
            AdminFault::unavailable(format!("the journal cannot record the change, so it was not made: {reason}"))
                .with_help("`wicket status` shows the journal; free disk space or mend the data directory's permissions, then try again")
        })?;
        let made = act.await;
        entry.at = Timestamp::now();
        let (value, effect) = match made {
            Ok(made) => made,
            Err(mut fault) => {
                // A commit that was given up on may have come through: what the store says holds.
                drop(live.refresh().await);
                entry.phase = Phase::Failed;
                if let Err(reason) = live.record(&entry).await {
                    let help = fault.help.take().unwrap_or_default();
                    fault.help = Some(format!("{help} (nor could the failure be recorded: {reason})"));
                }
                return Err(fault);
            }
        };
        // The change must hold before anybody hears of it, and even if its completion cannot be recorded.
        let refreshed = live.refresh().await;
        entry.phase = Phase::Committed;
        entry.after = after.unwrap_or(effect);
        let recorded = live.record(&entry).await;
        let partial = |what: &str, reason: String| {
            AdminFault::new(FaultKind::Partial, format!("the change is stored, but {what}: {reason}"))
        };
        if let Err(reason) = refreshed {
            return Err(partial("the gate does not apply it yet", reason).with_help(
                "the gate tries again by itself; if the change must hold now, stop the gate: it reads the store when it starts",
            ));
        }
        recorded.map_err(|reason| {
            partial("its completion could not be recorded", reason)
                .with_help("its intent is in the journal; look at `wicket status`")
        })?;
        Ok(value)
    }
}

impl From<StoreError> for AdminFault {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NotFound { .. } => FaultKind::NotFound,
            StoreError::Conflict { .. } => FaultKind::Conflict,
            StoreError::Outdated { .. } => FaultKind::Outdated,
            _ => FaultKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

/// User input, fit for a line of a terminal.
fn shown(text: &str) -> String {
    text.chars().take(100).collect::<String>().escape_debug().to_string()
}

/// A display name: not empty, not longer than the limit, nothing that disturbs a terminal or a log.
fn checked_name(noun: &str, name: &str, characters_max: usize) -> Result<(), AdminFault> {
    let fits = !name.trim().is_empty() && name.chars().count() <= characters_max;
    if fits && name.trim() == name && !name.chars().any(char::is_control) {
        return Ok(());
    }
    Err(AdminFault::invalid(format!("`{}` is no name for {noun}", shown(name))).with_help(format!(
        "1 to {characters_max} characters, no control characters, no space at either end"
    )))
}

fn random<const N: usize>() -> Result<[u8; N], AdminFault> {
    let mut bytes = [0u8; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| AdminFault::unavailable(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes)
}

#[cfg(test)]
#[path = "admin/tests.rs"]
pub(crate) mod tests;
