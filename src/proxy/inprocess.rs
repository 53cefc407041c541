//! The connector that is the gate itself: `wicket__whoami`, `wicket__session`, `wicket__explain` and
//! `wicket__search_tools`. An agent can ask before it tries. Calls to it take the same way as all others: they are decided,
//! counted and recorded.
//!
//! Invariants: an answer tells the caller of itself alone; policies are named only where they let
//! themselves be; explaining a call decides nothing, counts nothing and opens nothing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::connector::{Connector, Tool, resource_of};
use crate::mcp::reply::{tool_raw_result, tool_text_result};
use crate::model::{CallId, Caller, CounterKey, Decision, History, OutcomeKind, Reason, Timestamp};
use crate::policy::{Bundle, Needs, Question};
use crate::session::Session;

use super::lists::{Lists, Viewer};
use super::snapshot::Live;
use super::upstream::{InProcess, Outbound, Standing, Upstreams};

/// Counters of one scope in one answer at most.
const COUNTERS_MAX: usize = 500;
/// Tools that are tried out at most.
const TOOLS_MAX: usize = 50;
/// Tools that a search gives where it says nothing else, and at most.
const FOUND_DEFAULT: usize = 10;
const FOUND_MAX: usize = 50;
/// How many further calls are looked ahead.
const LOOK_AHEAD_MAX: i64 = 1_000;

/// Answers the tools of the `wicket` connector.
pub struct Itself {
    pub live: Arc<Live>,
    pub lists: Arc<Lists>,
}

impl fmt::Debug for Itself {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Itself")
    }
}

#[async_trait]
impl InProcess for Itself {
    async fn call(&self, outbound: &Outbound, upstreams: &Upstreams) -> (Bytes, OutcomeKind) {
        let bundle = Arc::clone(self.live.load().bundle_for(&outbound.caller.agent.id));
        let asker = Asker {
            bundle: &bundle,
            caller: &outbound.caller,
            session: &outbound.session,
            now: Timestamp::now(),
        };
        let era = outbound.client.era();
        let id = outbound.call.id();
        let answer = match outbound.tool.as_str() {
            "search_tools" => {
                match asker.search(outbound.call.arguments_value(), &self.lists, upstreams).await {
                    Ok(found) => return (tool_raw_result(id, &found, era), OutcomeKind::Result),
                    Err(message) => Err(message),
                }
            }
            "whoami" => Ok(asker.whoami()),
            "session" => Ok(asker.session()),
            "explain" => asker.explain(outbound.call.arguments_value(), upstreams).await,
            other => Err(format!("the gate has no tool `{}`", other.escape_default())),
        };
        match answer {
            Ok(value) => (tool_text_result(id, &value, false, era), OutcomeKind::Result),
            Err(message) => {
                (tool_text_result(id, &json!({ "error": message }), true, era), OutcomeKind::ToolError)
            }
        }
    }
}

/// Who asks, of what set of policies, when.
struct Asker<'a> {
    bundle: &'a Bundle,
    caller: &'a Caller,
    session: &'a Session,
    now: Timestamp,
}

impl Asker<'_> {
    fn whoami(&self) -> Value {
        let Caller { agent, member, .. } = self.caller;
        json!({
            "agent": agent.name,
            "agentId": agent.id,
            "member": member.name,
            "memberId": member.id,
            "role": member.role,
            "groups": member.groups,
            "services": agent.services,
        })
    }

    fn session(&self) -> Value {
        let own = self.session.view().counters;
        let member = self.session.member_counters(self.now);
        let scoped = [("session", own), ("member", member)];
        let counters = scoped.into_iter().flat_map(|(scope, counters)| {
            let shown =
                counters.into_iter().filter_map(move |(key, value)| Some((name_in_policies(&key)?, value)));
            shown
                .take(COUNTERS_MAX)
                .map(move |(key, value)| json!({ "scope": scope, "key": key, "value": value }))
        });
        json!({
            "session": self.session.id(),
            "counters": counters.collect::<Vec<_>>(),
            "limits": self.limits(),
        })
    }

    /// For each tool that policies limit by counters: how many more calls they allow.
    fn limits(&self) -> Vec<Value> {
        let counts_calls = |counter: &CounterKey| {
            !matches!(counter, CounterKey::Denials | CounterKey::PolicyAllow(_) | CounterKey::PolicyDeny(_))
        };
        if !self.bundle.limits().iter().any(|limit| counts_calls(&limit.counter)) {
            return Vec::new();
        }
        let nothing = json!({});
        let enabled =
            self.bundle.connectors().iter().filter(|c| self.caller.agent.services.contains(&c.service));
        let tools = enabled.flat_map(|connector| connector.tools.values().map(move |tool| (connector, tool)));
        let limited = tools.take(TOOLS_MAX).filter_map(|(connector, tool)| {
            let remaining = self.remaining(connector, tool, &nothing)?;
            let name = self.bundle.connectors().listed_name(&connector.service, &tool.name);
            Some(json!({ "tool": name, "remaining": remaining }))
        });
        limited.collect()
    }

    /// The first further call that would be denied, found by trying; `None` where no counter is read
    /// or none of the calls looked ahead at would be denied.
    fn remaining(&self, connector: &Connector, tool: &Tool, arguments: &Value) -> Option<i64> {
        let (needs_session, needs_member) = self.counters_read(connector, tool, arguments)?;
        let (now, _) = self.session.read(&needs_session, &needs_member, self.now);
        let allowed_after = |calls: i64| {
            let history = after(&now, calls, connector, tool);
            self.decide(connector, tool, arguments, &history).allowed
        };
        if allowed_after(LOOK_AHEAD_MAX) {
            return None;
        }
        // Counters only rise, so what is denied stays denied for the limits that people write.
        let (mut allowed, mut denied) = (-1, LOOK_AHEAD_MAX);
        while denied - allowed > 1 {
            let middle = allowed + (denied - allowed) / 2;
            if allowed_after(middle) { allowed = middle } else { denied = middle }
        }
        Some(denied)
    }

    fn counters_read(
        &self,
        connector: &Connector,
        tool: &Tool,
        arguments: &Value,
    ) -> Option<(Vec<CounterKey>, Vec<CounterKey>)> {
        let resource = resource_of(connector, tool, arguments);
        let needs = self.bundle.needs(self.caller, connector, tool, &resource);
        needs.reads_counters().then(|| (needs.session.clone(), needs.member.clone()))
    }

    /// The definitions of the tools that a query means, as an object that is already written: each byte for
    /// byte as a list would give it.
    async fn search(&self, asked: &Value, lists: &Lists, upstreams: &Upstreams) -> Result<String, String> {
        let query = asked.get("query").and_then(Value::as_str).ok_or("`query` is missing: a few words")?;
        let limit = match asked.get("limit") {
            None => FOUND_DEFAULT,
            Some(limit) => {
                let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok());
                let within = limit.filter(|limit| (1..=FOUND_MAX).contains(limit));
                within.ok_or_else(|| format!("`limit` is not a number from 1 to {FOUND_MAX}"))?
            }
        };
        let service = match asked.get("service") {
            None => None,
            Some(service) => Some(service.as_str().ok_or("`service` is not a string")?),
        };
        let counters = |needs: &Needs| self.session.read(&needs.session, &needs.member, self.now).0;
        let viewer = Viewer { bundle: self.bundle, caller: self.caller, counters: &counters, now: self.now };
        let (merged, sight) = lists.of(upstreams, &viewer).await;
        let of_service = |place: u32| {
            let entry = merged.entry(place);
            service.is_none_or(|service| entry.is_some_and(|entry| entry.service.as_str() == service))
        };
        let seen = |place: u32| sight.visible.binary_search(&place).is_ok() && of_service(place);
        let found = merged.index().find(query, seen);
        let shown: Vec<&str> = merged.texts(found.get(..limit).unwrap_or(&found)).collect();
        let more = found.len() - shown.len();
        Ok(format!(r#"{{"tools":[{}],"more":{more}}}"#, shown.join(",")))
    }

    async fn explain(&self, asked: &Value, upstreams: &Upstreams) -> Result<Value, String> {
        let name =
            asked.get("tool").and_then(Value::as_str).ok_or("`tool` is missing: a name as in tools/list")?;
        let nothing = json!({});
        let arguments = match asked.get("arguments") {
            None => &nothing,
            Some(given @ Value::Object(_)) => given,
            Some(_) => return Err("`arguments` is not an object".to_owned()),
        };
        let unknown = || format!("there is no tool `{}`", name.escape_default());
        let (connector, tool_name) = self.bundle.connectors().resolve(name).map_err(|_| unknown())?;
        if !self.caller.agent.services.contains(&connector.service) {
            return Ok(refused(Reason::ServiceNotEnabled));
        }
        let tool = connector.action(tool_name).ok_or_else(unknown)?;
        // What is not as it was accepted is refused before any policy is asked. Operations are never
        // otherwise.
        if connector.tools.contains_key(&tool.name) {
            match upstreams.standing(&connector.service, &tool.name).await {
                Ok(Standing::Served) => {}
                Ok(Standing::Quarantined(_)) => return Ok(refused(Reason::Quarantined)),
                Ok(Standing::NotOffered) => return Err(unknown()),
                Err(_) => return Ok(refused(Reason::Unverified)),
            }
        }
        let resource = resource_of(connector, tool, arguments);
        let needs = self.bundle.needs(self.caller, connector, tool, &resource);
        let (history, _) = self.session.read(&needs.session, &needs.member, self.now);
        let decision = self.decide(connector, tool, arguments, &history);
        let policies: Vec<_> = match decision.actionable {
            true => decision.determining.iter().map(|policy| policy.name.to_string()).collect(),
            false => Vec::new(),
        };
        Ok(json!({
            "allowed": decision.allowed,
            "reason": sentence(decision.reason),
            "denyMessage": decision.deny_message,
            "policies": policies,
            "action": format!("{}::Action::\"{}\"", connector.namespace, tool.name),
            "resource": resource.uid(),
            "tier": tool.tier,
        }))
    }

    fn decide(&self, connector: &Connector, tool: &Tool, arguments: &Value, history: &History) -> Decision {
        let resource = resource_of(connector, tool, arguments);
        self.bundle.decide(&Question {
            call: CallId::from_uuid(uuid::Uuid::nil()),
            caller: self.caller,
            connector,
            tool,
            arguments,
            resource: &resource,
            history,
            now: self.now,
        })
    }
}

/// The answer where no policy is asked.
fn refused(reason: Reason) -> Value {
    json!({ "allowed": false, "reason": sentence(reason), "policies": [] })
}

/// The counters after so many further calls of the tool.
fn after(history: &History, calls: i64, connector: &Connector, tool: &Tool) -> History {
    let mut later = history.clone();
    for counters in [&mut later.session, &mut later.member] {
        for (key, count) in counters.iter_mut() {
            let counts = match key {
                CounterKey::Calls => true,
                CounterKey::Tool(service, name) => *service == connector.service && *name == tool.name,
                CounterKey::Tier(tier) => *tier == tool.tier,
                CounterKey::Service(service) => *service == connector.service,
                CounterKey::Denials | CounterKey::PolicyAllow(_) | CounterKey::PolicyDeny(_) => false,
            };
            if counts {
                *count = count.saturating_add(calls);
            }
        }
    }
    later
}

/// The counter as policies write it. Those that would name a policy are not told.
fn name_in_policies(key: &CounterKey) -> Option<String> {
    match key {
        CounterKey::Calls => Some("calls".to_owned()),
        CounterKey::Denials => Some("denials".to_owned()),
        CounterKey::Tool(service, tool) => Some(format!("toolsUsed[\"{service}:{tool}\"]")),
        CounterKey::Tier(tier) => Some(format!("tiersUsed.{tier}")),
        CounterKey::Service(service) => Some(format!("servicesUsed[\"{service}\"]")),
        CounterKey::PolicyAllow(_) | CounterKey::PolicyDeny(_) => None,
    }
}

const fn sentence(reason: Reason) -> &'static str {
    match reason {
        Reason::Permitted => "a policy permits it and none forbids it",
        Reason::Forbidden => {
            "a policy forbids it; change the arguments, wait, or ask the owner of this agent"
        }
        Reason::NoPermit => "no policy permits it; ask the owner of this agent",
        Reason::ServiceNotEnabled => "the owner of this agent has not enabled the service",
        Reason::EvaluationError => "a policy cannot be evaluated for this call; tell the owner of this agent",
        Reason::NoPoliciesForMember => "no policy exists for you yet; ask the owner of this agent",
        Reason::Quarantined => "the tool changed at its server and waits to be accepted by the operator",
        Reason::UnknownTool => "there is no such tool",
        Reason::Unaccountable => "it could not be counted; keep to one session, or try again later",
        Reason::Unverified => "its server cannot be reached to tell what the tool is now",
    }
}
