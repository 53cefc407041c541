//! Questions that change nothing: the audit's index, and why a call is or would be decided as it is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Admin, find_agent, find_member, known, shown};
use crate::connector::{Connectors, ResolveFault, resource_of};
use crate::control::reply::{AuditPage, Explained};
use crate::control::request::{AUDIT_ROWS_MAX, AuditQuestion, ExplainQuestion};
use crate::control::{AdminFault, AdminReply};
use crate::model::{
    AgentStatus, CallId, Caller, CounterKey, History, KeyId, MemberStatus, PolicyKey, Timestamp,
};
use crate::control::standin::{self as policy, Question};
use crate::store::{AuditFilter, AuditRow, Directory};

/// How far a call's recorded time may lie from the time within its id: both are read within one
/// exchange, which lives 10 minutes at most (decision 14).
const CALL_TIME_TOLERANCE_MS: i64 = 600_000;
/// Pages of the index that are searched for one call.
const CALL_PAGES_MAX: u64 = 200;

/// A call to explain, with everything that it was or would be decided on.
struct Supposed<'a> {
    agent: &'a str,
    member: &'a str,
    tool: &'a str,
    arguments: Value,
    at: Timestamp,
    history: History,
    call: CallId,
    caveats: Vec<String>,
}

impl Admin {
    pub(super) async fn query_audit(&self, question: AuditQuestion) -> Result<AdminReply, AdminFault> {
        let limit = question.limit.unwrap_or(AUDIT_ROWS_MAX);
        if limit == 0 || limit > AUDIT_ROWS_MAX {
            return Err(AdminFault::invalid(format!("a limit of {limit} rows"))
                .with_help(format!("1 to {AUDIT_ROWS_MAX}; page with an offset")));
        }
        let filter = AuditFilter {
            from: question.from,
            to: question.to,
            agent: question.agent,
            service: question.service,
            tool: question.tool,
            allowed: question.allowed,
            member: question.member,
            policy: question.policy.as_deref().map(PolicyKey::parse).transpose()?,
            limit,
            offset: question.offset,
        };
        let (rows, total) = self.store.audit().query(&filter).await?;
        Ok(AdminReply::Audit(AuditPage { entries: rows.iter().map(entry).collect(), total }))
    }

    pub(super) async fn explain(&self, question: ExplainQuestion) -> Result<AdminReply, AdminFault> {
        let directory = self.directory().await?;
        match question {
            ExplainQuestion::Supposed { agent, member, tool, arguments, at, session, member_counters } => {
                let history = History { session: counters(&session)?, member: counters(&member_counters)? };
                let at = at.unwrap_or_else(Timestamp::now);
                let call = CallId::mint(at, super::random()?);
                let (agent, member, tool) = (agent.as_str(), member.as_str(), tool.as_str());
                let caveats = Vec::new();
                self.decide(
                    &directory,
                    Supposed { agent, member, tool, arguments, at, history, call, caveats },
                )
            }
            ExplainQuestion::Recorded { call } => {
                let row = self.recorded(call).await?;
                let caveats = vec![
                    "arguments are as recorded: what was redacted counts as its mask".to_owned(),
                    "counters are not in the index and count as 0: give them with --session-counter, as the journal's entry shows them".to_owned(),
                ];
                let arguments = serde_json::from_str(&row.arguments).unwrap_or_else(|_| json!({}));
                let tool = format!("{}__{}", row.service, row.tool);
                let (agent, member) = (row.agent_id.to_string(), row.member_id.to_string());
                let (history, at) = (History::default(), row.at);
                self.decide(
                    &directory,
                    Supposed { agent: &agent, member: &member, tool: &tool, arguments, at, history, call, caveats },
                )
            }
        }
    }

    fn decide(&self, directory: &Directory, supposed: Supposed<'_>) -> Result<AdminReply, AdminFault> {
        let Supposed { tool: prefixed, arguments, at, history, call, mut caveats, .. } = supposed;
        if !arguments.is_object() {
            return Err(AdminFault::invalid("the arguments are no JSON object").with_help("as in --args '{\"path\": \"/tmp/a\"}'"));
        }
        let agent = find_agent(directory, supposed.agent)?;
        let member = find_member(directory, agent, supposed.member)?;
        if agent.status == AgentStatus::Disabled {
            caveats.push(format!("agent `{}` is disabled: its calls answer 403 before any policy is asked", agent.name));
        }
        if member.status != MemberStatus::Approved {
            caveats.push(format!("member `{}` is not approved: its calls answer 403 before any policy is asked", member.name));
        }
        let bundle = self.live.bundle().map_err(|diagnostics| {
            AdminFault::rejected("the policies do not load", diagnostics).with_help("mend them first; `wicket check` names all faults")
        })?;
        let (connector, tool) = resolve(bundle.connectors(), prefixed)?;
        let Some(tool) = connector.tools.get(tool) else {
            let names = connector.tools.keys().map(|tool| tool.as_str());
            return Err(AdminFault::not_found(format!("connector `{}` has no tool `{}` in its lock", connector.service, shown(tool)))
                .with_help(known("tools", names)));
        };
        let key = directory.keys.iter().find(|key| key.member_id == member.id);
        let caller = Caller {
            agent: Arc::new(agent.clone()),
            member: Arc::new(member.clone()),
            key: key.map_or_else(|| KeyId::from_uuid(uuid::Uuid::nil()), |key| key.id),
            ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            session: None,
        };
        let resource = resource_of(connector, tool, &arguments);
        let explanation = policy::explain(
            &bundle,
            &Question {
                call,
                caller: &caller,
                connector,
                tool,
                arguments: &arguments,
                resource: &resource,
                history: &history,
                now: at,
            },
        );
        Ok(AdminReply::Explained(Explained {
            allowed: explanation.allowed,
            text: explanation.to_string(),
            detail: json!(explanation),
            caveats,
        }))
    }

    /// The indexed row of a call, found by the time within its id.
    async fn recorded(&self, call: CallId) -> Result<AuditRow, AdminFault> {
        let minted = call.as_uuid().get_timestamp().map_or(0, |time| {
            let (seconds, nanos) = time.to_unix();
            i64::try_from(seconds).unwrap_or(0) * 1_000 + i64::from(nanos / 1_000_000)
        });
        let minted = Timestamp::from_millis(minted);
        let mut filter = AuditFilter {
            from: Some(minted.plus_millis(-1_000)),
            to: Some(minted.plus_millis(CALL_TIME_TOLERANCE_MS)),
            limit: AUDIT_ROWS_MAX,
            ..AuditFilter::default()
        };
        for page in 0..CALL_PAGES_MAX {
            filter.offset = page * u64::from(AUDIT_ROWS_MAX);
            let (rows, total) = self.store.audit().query(&filter).await?;
            if let Some(row) = rows.into_iter().find(|row| row.call == call) {
                return Ok(row);
            }
            if filter.offset.saturating_add(AUDIT_ROWS_MAX.into()) >= total {
                break;
            }
        }
        Err(AdminFault::not_found(format!("no call `{call}` in the audit's index"))
            .with_help("the index follows the journal within a second while the gate runs; `wicket audit query` lists calls with their ids"))
    }
}

fn resolve<'a>(
    connectors: &'a Connectors,
    prefixed: &'a str,
) -> Result<(&'a Arc<crate::connector::Connector>, &'a str), AdminFault> {
    connectors.resolve(prefixed).map_err(|fault| match fault {
        ResolveFault::NoPrefix => AdminFault::invalid(format!("`{}` is not `service__tool`", shown(prefixed)))
            .with_help("as the agent calls it, for instance `files__read_file`"),
        ResolveFault::UnknownService(service) => {
            let names = connectors.iter().map(|connector| connector.service.as_str());
            AdminFault::not_found(format!("no connector `{}`", shown(&service)))
                .with_help(known("connectors", names))
        }
    })
}

fn counters(written: &BTreeMap<String, i64>) -> Result<BTreeMap<CounterKey, i64>, AdminFault> {
    written
        .iter()
        .map(|(key, value)| Ok((key.parse::<CounterKey>().map_err(AdminFault::invalid)?, *value)))
        .collect()
}

/// A row with the fields of specification 7.1.
fn entry(row: &AuditRow) -> Value {
    let arguments: Value =
        serde_json::from_str(&row.arguments).unwrap_or_else(|_| Value::String(row.arguments.clone()));
    json!({
        "id": row.call,
        "timestamp": row.at,
        "agentId": row.agent_id,
        "agentName": row.agent_name,
        "memberId": row.member_id,
        "memberName": row.member_name,
        "memberKeyId": row.key_id,
        "sessionId": row.session,
        "service": row.service,
        "tool": row.tool,
        "action": row.action,
        "resource": row.resource,
        "principal": row.principal,
        "callerIp": row.caller_ip,
        "toolArgs": arguments,
        "decision": if row.allowed { "ALLOW" } else { "DENY" },
        "reason": row.reason,
        "matchedPolicyIds": row.policies.iter().map(|policy| policy.key.as_str()).collect::<Vec<_>>(),
        "matchedPolicyNames": row.policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>(),
        "bundle": row.bundle,
        "outcome": row.outcome.map(|outcome| outcome.kind.as_str()),
        "status": row.outcome.map(|outcome| outcome.status),
        "durationMs": row.outcome.map(|outcome| outcome.duration_ms),
        "node": row.node,
        "boot": row.boot,
        "seq": row.seq,
    })
}
