//! One recorded call: decided by both sets, counted in both lanes, reported.

use serde_json::Value;

use super::{Ground, Work};
use crate::audit::gaps;
use crate::audit::replay::{CallLine, HistoryLine};
use crate::model::{CounterKey, Decision, History, PolicyKey, Reason, ServiceKey, Tier, ToolName};
use crate::policy::Bundle;
use crate::policy::simulate::{Certainty, Judged, Meant, Recorded, Unmatched};
use crate::session::replay::{Came, LANES, Replay, Step};

/// The lane of the draft's set, and of the set without it.
const DRAFT: usize = 0;
const BASELINE: usize = 1;

/// Denials of the gate itself: no policy was asked, and none would be.
const UNASKED: [Reason; 5] = [
    Reason::ServiceNotEnabled,
    Reason::Quarantined,
    Reason::UnknownTool,
    Reason::Unaccountable,
    Reason::Unverified,
];

type Outcome = Result<Meant, Unmatched>;

impl Work<'_> {
    pub(super) fn call(&mut self, call: &CallLine<'_>) {
        let within = call.timestamp >= self.job.from && call.timestamp <= self.job.to;
        let job = self.job;
        let Some(ground) = job.agents.get(&call.agent_id) else {
            if within && job.all_agents {
                self.tell(call, [Err(Unmatched::AgentUnknown), Err(Unmatched::AgentUnknown)]);
            }
            return;
        };
        let counting = Counting::of(call, self.counters.follows_any());
        let tool = counting.tool(ground, call);
        let step = call.session_id.map(|session| Step {
            call: call.call,
            session,
            member: call.member_id,
            at: call.timestamp,
            tool: tool.as_ref().map(|(service, tool, tier)| (service, tool, *tier)),
            recorded: &counting.history,
        });
        let outcomes = within.then(|| self.outcomes(ground, call, step.as_ref()));
        if let Some(step) = step.filter(|_| self.counters.follows_any()) {
            counting.count(&mut self.counters, &step, call, outcomes.as_ref());
        }
        if let Some(outcomes) = outcomes {
            self.tell(call, outcomes);
        }
    }

    /// What each set says to the call.
    fn outcomes(
        &mut self,
        ground: &Ground,
        call: &CallLine<'_>,
        step: Option<&Step<'_>>,
    ) -> [Outcome; LANES] {
        let unasked = UNASKED.into_iter().find(|reason| reason.as_str() == call.reason);
        if let Some(reason) = unasked {
            return [DRAFT, BASELINE]
                .map(|_| Ok(Meant { decision: Decision::denied(reason), counters: Certainty::None }));
        }
        let Some(known) = self.caller(ground, call) else {
            return [Err(Unmatched::MemberUnknown), Err(Unmatched::MemberUnknown)];
        };
        let Ok(arguments) = serde_json::from_str::<Value>(call.tool_args.get()) else {
            return [Err(Unmatched::Unreadable), Err(Unmatched::Unreadable)];
        };
        let gaps = gaps(call.tool_args.get(), &arguments);
        let recorded = Recorded {
            call: call.call,
            caller: &known.caller,
            ip_known: known.ip_known,
            service: &call.service,
            tool: &call.tool,
            arguments: &arguments,
            gaps: &gaps,
            at: call.timestamp,
        };
        let sets = [(DRAFT, &ground.sets.after), (BASELINE, &ground.sets.baseline)];
        sets.map(|(lane, set)| decide(set, &recorded, &mut self.counters, (lane, step)))
    }

    fn tell(&mut self, call: &CallLine<'_>, [draft, baseline]: [Outcome; LANES]) {
        let policies: Vec<&str> = call.matched_policies.iter().map(|policy| policy.key.as_ref()).collect();
        self.report.count(&Judged {
            call: call.call,
            at: call.timestamp,
            member: (call.member_id, &call.member_name),
            service: &call.service,
            tool: &call.tool,
            resource: &call.resource,
            allowed: call.decision == "ALLOW",
            reason: &call.reason,
            policies: &policies,
            draft,
            baseline,
        });
    }
}

/// What one set says, with the counters of its lane.
fn decide(
    set: &Bundle,
    recorded: &Recorded<'_>,
    counters: &mut Replay,
    (lane, step): (usize, Option<&Step<'_>>),
) -> Outcome {
    let mut certainty = Certainty::None;
    let decision = set.replay(recorded, |needs| {
        if !needs.reads_counters() {
            return Ok(History::default());
        }
        let seen =
            step.and_then(|step| counters.read(lane, step, needs)).ok_or(Unmatched::CountersUnknown)?;
        certainty = if seen.exact { Certainty::Exact } else { Certainty::Estimated };
        Ok(seen.history)
    })?;
    Ok(Meant { decision, counters: certainty })
}

/// What counting needs of a record; nothing where no counter is followed.
struct Counting {
    history: History,
    policies: Vec<PolicyKey>,
    follows: bool,
}

impl Counting {
    fn of(call: &CallLine<'_>, follows: bool) -> Self {
        if !follows {
            return Self { history: History::default(), policies: Vec::new(), follows };
        }
        let policies = call.matched_policies.iter().filter_map(|policy| PolicyKey::parse(&policy.key).ok());
        Self { history: history(&call.history), policies: policies.collect(), follows }
    }

    /// The tool, with the tier that it had then.
    fn tool(&self, ground: &Ground, call: &CallLine<'_>) -> Option<(ServiceKey, ToolName, Tier)> {
        if !self.follows {
            return None;
        }
        let connector = ground.sets.after.connectors().get(&call.service);
        let known =
            connector.and_then(|connector| connector.action(&call.tool).map(|tool| (connector, tool)));
        let tier = call.tier.as_deref().and_then(|tier| tier.parse().ok());
        match known {
            Some((connector, tool)) => {
                Some((connector.service.clone(), tool.name.clone(), tier.unwrap_or(tool.tier)))
            }
            None => Some((ServiceKey::parse(&call.service).ok()?, ToolName::parse(&call.tool).ok()?, tier?)),
        }
    }

    /// Counts the call as it came out, and as it would have in each lane.
    fn count(
        &self,
        counters: &mut Replay,
        step: &Step<'_>,
        call: &CallLine<'_>,
        outcomes: Option<&[Outcome; LANES]>,
    ) {
        let truth = match &*call.decision {
            "ALLOW" => Came::Allowed(&self.policies),
            // A server that is down is no fault of the caller's.
            _ if call.reason == Reason::Unverified.as_str() => Came::Uncounted,
            _ => Came::Denied(&self.policies),
        };
        let Some(outcomes) = outcomes.filter(|_| !UNASKED.iter().any(|one| one.as_str() == call.reason))
        else {
            return counters.count(step, truth, [truth, truth]);
        };
        let keys = outcomes.each_ref().map(|outcome| match outcome {
            Ok(meant) => meant.decision.determining.iter().map(|policy| policy.key.clone()).collect(),
            Err(_) => Vec::new(),
        });
        let [draft, baseline] = outcomes;
        let [draft_keys, baseline_keys] = &keys;
        let lanes = [came(draft, draft_keys), came(baseline, baseline_keys)];
        // An entry that leaves policies out does not tell which of them counted.
        let partly = call.matched_policies_omitted > 0;
        let alike = |lane: &Came<'_>| {
            matches!((lane, truth), (Came::Allowed(_), Came::Allowed(_)) | (Came::Denied(_), Came::Denied(_)))
        };
        counters.count(step, truth, lanes.map(|lane| if partly && alike(&lane) { truth } else { lane }));
    }
}

fn came<'a>(outcome: &Outcome, keys: &'a [PolicyKey]) -> Came<'a> {
    match outcome {
        Err(_) => Came::Unknown,
        Ok(meant) if meant.decision.allowed => Came::Allowed(keys),
        Ok(_) => Came::Denied(keys),
    }
}

fn history(line: &HistoryLine<'_>) -> History {
    let read = |counters: &std::collections::BTreeMap<std::borrow::Cow<'_, str>, i64>| {
        let parsed =
            counters.iter().filter_map(|(key, value)| Some((key.parse::<CounterKey>().ok()?, *value)));
        parsed.collect()
    };
    History { session: read(&line.session), member: read(&line.member) }
}
