//! Questions that change nothing: the audit's index, and why a call is or would be decided as it is.

mod withheld;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Admin, known, shown};
use crate::connector::{Connectors, ResolveFault, resource_of};
use crate::control::reply::{AuditPage, Explained};
use crate::control::request::{AUDIT_ROWS_MAX, AuditQuestion, ExplainQuestion};
use crate::control::{AdminFault, AdminReply};
use crate::model::{
    AgentStatus, CallId, Caller, CounterKey, History, KeyId, MemberStatus, PolicyKey, Timestamp,
};
use crate::policy::{self, Question};
use crate::store::{AuditFilter, AuditRow, Sight};

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
            // Whoever reads the data directory may see all of it.
            sight: Sight::Everything,
            session: None,
            place: None,
        };
        let found = self.store.audit().query(&filter).await?;
        let entries = found.rows.iter().map(|(_, row)| entry(row)).collect();
        Ok(AdminReply::Audit(AuditPage { entries, total: found.total.count }))
    }

    pub(super) async fn explain(&self, question: ExplainQuestion) -> Result<AdminReply, AdminFault> {
        let history =
            History { session: counters(&question.session)?, member: counters(&question.member_counters)? };
        let at = question.at.unwrap_or_else(Timestamp::now);
        let arguments = &question.arguments;
        let mut caveats = Vec::new();
        if !arguments.is_object() {
            return Err(AdminFault::invalid("the arguments are no JSON object")
                .with_help("as in --args '{\"path\": \"/tmp/a\"}'"));
        }
        let agent = self.find_agent(&question.agent).await?;
        let member = self.find_member(&agent, &question.member).await?;
        if agent.status == AgentStatus::Disabled {
            caveats.push(format!(
                "agent `{}` is disabled: its calls answer 403 before any policy is asked",
                agent.name
            ));
        }
        if member.status != MemberStatus::Approved {
            caveats.push(format!(
                "member `{}` is not approved: its calls answer 403 before any policy is asked",
                member.name
            ));
        }
        let bundle = self.live.bundle_for(agent.id).await.map_err(|diagnostics| {
            AdminFault::rejected("the policies do not load", diagnostics)
                .with_help("mend them first; `wicket check` names all faults")
        })?;
        let (connector, tool) = resolve(bundle.connectors(), &question.tool)?;
        let Some(tool) = connector.action(tool) else {
            let names = connector.tools.keys().map(|tool| tool.as_str());
            return Err(AdminFault::not_found(format!(
                "connector `{}` has no tool `{}` in its lock",
                connector.service,
                shown(tool)
            ))
            .with_help(known("tools", names)));
        };
        let key = self.store.keys().live_of(member.id).await?;
        let caller = Caller {
            agent: Arc::new(agent),
            member: Arc::new(member),
            key: key.map_or_else(|| KeyId::from_uuid(uuid::Uuid::nil()), |key| key.id),
            ip: question.ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            session: None,
        };
        let resource = resource_of(connector, tool, arguments);
        let mut explanation = policy::explain(
            &bundle,
            &Question {
                call: CallId::mint(at, super::random()?),
                caller: &caller,
                connector,
                tool,
                arguments,
                resource: &resource,
                history: &history,
                now: at,
            },
        );
        if question.recorded {
            withheld::told(arguments, &mut explanation, &mut caveats);
        }
        Ok(AdminReply::Explained(Explained {
            allowed: explanation.allowed,
            text: explanation.to_string(),
            detail: json!(explanation),
            caveats,
        }))
    }
}

fn resolve<'a>(
    connectors: &'a Connectors,
    prefixed: &'a str,
) -> Result<(&'a Arc<crate::connector::Connector>, &'a str), AdminFault> {
    connectors.resolve(prefixed).map_err(|fault| match fault {
        ResolveFault::NoPrefix => {
            AdminFault::invalid(format!("`{}` is not `service__tool`", shown(prefixed)))
                .with_help("as the agent calls it, for instance `files__read_file`")
        }
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
        "reason": row.said(),
        "matchedPolicyIds": row.policies.iter().map(|policy| policy.key.as_str()).collect::<Vec<_>>(),
        "matchedPolicyUuids": row.policies.iter().map(|policy| policy.id).collect::<Vec<_>>(),
        "matchedPolicyNames": row.policies.iter().map(|policy| &*policy.name).collect::<Vec<_>>(),
        "shadow": row.shadow,
        "bundle": row.bundle,
        "outcome": row.outcome.map(|outcome| outcome.kind.as_str()),
        "status": row.outcome.map(|outcome| outcome.status),
        "durationMs": row.outcome.map(|outcome| outcome.duration_ms),
        "node": row.node,
        "boot": row.boot,
        "seq": row.seq,
    })
}
