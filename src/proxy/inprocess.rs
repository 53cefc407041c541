//! The connector that is the gate itself: `wicket__whoami`, `wicket__session`, `wicket__explain`.
//! An agent can ask before it tries. Calls to it take the same way as all others: they are decided,
//! counted and recorded.
//!
//! Invariants: an answer tells the caller of itself alone; policies are named only where they are
//! actionable; explaining a call decides nothing, counts nothing and opens nothing.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::connector::{Connector, Tool, resource_of};
use crate::mcp::reply::tool_text_result;
use crate::model::{Caller, CounterKey, Reason, Timestamp, ToolName};
use crate::policy::Question;
use crate::session::Sessions;

use super::snapshot::{Live, Snapshot};
use super::upstream::{InProcess, Outbound};

/// Counters of one answer at most.
const COUNTERS_MAX: usize = 200;

/// Answers the tools of the `wicket` connector.
pub struct Itself {
    pub live: Arc<Live>,
    pub sessions: Arc<Sessions>,
}

#[async_trait]
impl InProcess for Itself {
    async fn call(&self, outbound: &Outbound) -> Bytes {
        let now = Timestamp::now();
        let answer = match outbound.tool.as_str() {
            "whoami" => Ok(self.whoami(&outbound.caller)),
            "session" => Ok(self.session(&outbound.caller, now)),
            "explain" => self.explain(&outbound.caller, outbound.call.arguments_value(), now),
            other => Err(format!("the gate has no tool `{other}`")),
        };
        let id = outbound.call.id();
        match answer {
            Ok(value) => tool_text_result(id, &value, false),
            Err(message) => tool_text_result(id, &json!({ "error": message }), true),
        }
    }
}

impl Itself {
    fn whoami(&self, caller: &Caller) -> Value {
        json!({
            "agent": { "id": caller.agent.id, "name": caller.agent.name, "type": caller.agent.trust },
            "member": {
                "id": caller.member.id,
                "name": caller.member.name,
                "role": caller.member.role,
                "groups": caller.member.groups,
            },
            "memberKeyId": caller.key,
            "callerIp": caller.ip,
            "sessionId": caller.session,
            "services": caller.agent.services,
        })
    }

    /// The caller's own counters, and for each tool it can call whether one more call would pass
    /// with empty arguments.
    fn session(&self, caller: &Caller, now: Timestamp) -> Value {
        let snapshot = self.live.load();
        let view = caller.session.and_then(|id| self.sessions.view(id));
        let counters = view.as_ref().map(|view| &view.counters);
        let shown: Vec<Value> = counters
            .into_iter()
            .flatten()
            .filter(|(key, _)| !names_a_policy(key))
            .take(COUNTERS_MAX)
            .map(|(key, value)| json!({ "counter": key.to_string(), "count": value }))
            .collect();
        let member: Vec<Value> = self
            .sessions
            .member_counters(caller.member.id, now)
            .iter()
            .filter(|(key, _)| !names_a_policy(key))
            .take(COUNTERS_MAX)
            .map(|(key, value)| json!({ "counter": key.to_string(), "count": value }))
            .collect();
        json!({
            "sessionId": caller.session,
            "createdAt": view.as_ref().map(|view| view.created_at),
            "session": shown,
            "member24h": member,
            "stillAllowed": self.still_allowed(&snapshot, caller, now),
        })
    }

    /// Tools that one more call without arguments would be permitted for, now.
    fn still_allowed(&self, snapshot: &Snapshot, caller: &Caller, now: Timestamp) -> Vec<String> {
        let nothing = json!({});
        let enabled = snapshot.bundle.connectors().iter().filter(|c| caller.agent.services.contains(&c.service));
        enabled
            .flat_map(|connector| connector.tools.values().map(move |tool| (connector, tool)))
            .filter(|(connector, tool)| self.would(snapshot, caller, connector, tool, &nothing, now).0)
            .map(|(connector, tool)| format!("{}__{}", connector.service, tool.name))
            .collect()
    }

    fn explain(&self, caller: &Caller, arguments: &Value, now: Timestamp) -> Result<Value, String> {
        let name = arguments.get("tool").and_then(Value::as_str).ok_or("`tool` is missing: a name as in `tools/list`")?;
        let empty = json!({});
        let of_call = match arguments.get("arguments") {
            None => &empty,
            Some(given @ Value::Object(_)) => given,
            Some(_) => return Err("`arguments` is not an object".to_owned()),
        };
        let snapshot = self.live.load();
        let (connector, tool_name) = snapshot
            .bundle
            .connectors()
            .resolve(name)
            .map_err(|_| format!("there is no tool `{}`", name.escape_default()))?;
        if !caller.agent.services.contains(&connector.service) {
            return Ok(told(name, false, Reason::ServiceNotEnabled, None, Vec::new()));
        }
        let tool = ToolName::parse(tool_name).ok().and_then(|name| connector.tools.get(&name));
        let Some(tool) = tool else { return Err(format!("there is no tool `{}`", name.escape_default())) };
        let (_, decision) = self.would(&snapshot, caller, connector, tool, of_call, now);
        let named = if decision.actionable { decision.determining } else { Vec::new() };
        let named = named.into_iter().map(|policy| policy.name.to_string()).collect();
        Ok(told(name, decision.allowed, decision.reason, decision.deny_message.as_deref(), named))
    }

    /// What would be decided, with the counters as they stand. Opens nothing.
    fn would(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        connector: &Connector,
        tool: &Tool,
        arguments: &Value,
        now: Timestamp,
    ) -> (bool, crate::model::Decision) {
        let resource = resource_of(connector, tool, arguments);
        let needs = snapshot.bundle.needs(caller, connector, tool, &resource);
        let session = caller.session.and_then(|id| self.sessions.get(id));
        let history = session.map(|session| session.read(&needs.session, &needs.member, now).0).unwrap_or_default();
        let decision = snapshot.bundle.decide(&Question {
            call: crate::model::CallId::from_uuid(uuid::Uuid::nil()),
            caller,
            connector,
            tool,
            arguments,
            resource: &resource,
            history: &history,
            now,
        });
        (decision.allowed, decision)
    }
}

/// Policy keys in counters would name policies that hide themselves.
const fn names_a_policy(key: &CounterKey) -> bool {
    matches!(key, CounterKey::PolicyAllow(_) | CounterKey::PolicyDeny(_))
}

fn told(tool: &str, allowed: bool, reason: Reason, deny_message: Option<&str>, policies: Vec<String>) -> Value {
    let advice = match reason {
        Reason::Permitted => "call it",
        Reason::Forbidden => "a policy forbids it; change the arguments, wait, or ask the owner of this agent",
        Reason::NoPermit => "no policy permits it; ask the owner of this agent",
        Reason::ServiceNotEnabled => "the owner of this agent has not enabled the service",
        Reason::EvaluationError => "a policy could not be evaluated for these arguments; tell the owner of this agent",
        Reason::NoPoliciesForMember => "no policy exists for you yet; ask the owner of this agent",
        Reason::Quarantined => "the tool changed at its server and waits for the operator's acceptance",
        Reason::UnknownTool => "no such tool",
    };
    json!({
        "tool": tool,
        "allowed": allowed,
        "reason": reason,
        "denyMessage": deny_message,
        "policies": policies,
        "advice": advice,
    })
}
