//! What policies in shadow would have changed, as it was recorded with each call.
//!
//! Invariant: nothing is decided here. Counters stood as the enforced policies left them; a simulation of the
//! policy as if it were enforced evolves them.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize as _;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};

use super::{Failed, ROWS_MAX, Stand, read};
use crate::audit::replay::{self, CallLine, Line, PolicyLine, Span};
use crate::model::{Decision, PolicyKey, PolicyRef, Reason, Timestamp};
use crate::policy::simulate::{Certainty, Judged, Meant, Report, Simulation};

/// Which calls are looked at.
#[derive(Debug)]
pub struct ShadowJob<'a> {
    /// The journal's directory.
    pub journal: PathBuf,
    pub from: Timestamp,
    pub to: Timestamp,
    pub rows_max: usize,
    /// The agent's name or id; every agent's calls without.
    pub agent: Option<&'a str>,
}

/// Reads the window. Blocks; `look` is told now and then how far it is, and may break off.
///
/// # Errors
/// [`Failed`].
pub fn report(
    job: &ShadowJob<'_>,
    look: &mut dyn FnMut(Stand) -> ControlFlow<()>,
) -> Result<Simulation, Failed> {
    let span = Span { from: job.from, to: job.to, counters: false };
    let found = replay::find(&job.journal, &span).map_err(Failed::Journal)?;
    let mut report = Report::new(job.from, job.to, job.rows_max.min(ROWS_MAX));
    read(&found, &span, look, &mut |line| {
        match line {
            Line::Call(call) if is_asked(job, &call) => count(&mut report, &call),
            Line::Unreadable => report.unreadable_line(),
            Line::Call(_) | Line::End(_) | Line::Checkpoint(_) => {}
        }
        report.so_far()
    })?;
    Ok(report.finish())
}

fn is_asked(job: &ShadowJob<'_>, call: &CallLine<'_>) -> bool {
    let within = call.timestamp >= job.from && call.timestamp <= job.to;
    within && job.agent.is_none_or(|agent| call.agent_name == agent || call.agent_id.to_string() == agent)
}

fn count(report: &mut Report, call: &CallLine<'_>) {
    let allowed = call.decision == "ALLOW";
    let plain = |allowed: bool, reason: &str| Decision { allowed, ..Decision::denied(reason_of(reason)) };
    let draft = match &call.shadow {
        None => plain(allowed, &call.reason),
        Some(shadow) => Decision {
            determining: shadow.policies.iter().filter_map(reference).collect(),
            ..plain(shadow.decision == "ALLOW", &shadow.reason)
        },
    };
    // Of policies those count that decided a call which shadow policies speak of.
    let decided = call.shadow.iter().flat_map(|_| &call.matched_policies);
    let policies: Vec<&str> = decided.map(|policy| policy.key.as_ref()).collect();
    let meant = |decision| Ok(Meant { decision, counters: Certainty::None });
    report.count(&Judged {
        call: call.call,
        at: call.timestamp,
        member: (call.member_id, &call.member_name),
        service: &call.service,
        tool: &call.tool,
        resource: &call.resource,
        allowed,
        reason: &call.reason,
        policies: &policies,
        draft: meant(draft),
        baseline: meant(plain(allowed, &call.reason)),
    });
}

fn reference(policy: &PolicyLine<'_>) -> Option<PolicyRef> {
    let key = PolicyKey::parse(&policy.key).ok()?;
    let name = Arc::from(key.as_str());
    Some(PolicyRef { key, name, version: 0, id: None })
}

/// The reason of this written form.
fn reason_of(text: &str) -> Reason {
    let text: StrDeserializer<'_, Error> = text.into_deserializer();
    // A journal of a later release may know more.
    Reason::deserialize(text).unwrap_or(Reason::EvaluationError)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line as the data plane writes it, cut to what is read.
    fn line(n: u8, decision: &str, shadow: &str) -> String {
        let uuid = |last: u8| format!("0190b5a0-0000-7000-8000-0000000000{last:02x}");
        format!(
            "{{\"seq\":{},\"type\":\"{}\",\"timestamp\":\"2026-11-22T09:00:00.000Z\",\"call\":\"{}\",\
             \"agentId\":\"{}\",\"agentName\":\"reviewer\",\"memberId\":\"{}\",\"memberName\":\"ada\",\
             \"memberRole\":\"member\",\"memberKeyId\":\"{}\",\"service\":\"depot\",\"tool\":\"put_file\",\
             \"resource\":\"r\",\"callerIp\":\"192.0.2.7\",\"toolArgs\":{{}},\"decision\":\"{decision}\",\
             \"reason\":\"{}\",\"matchedPolicies\":[{{\"key\":\"all\",\"name\":\"all\",\"version\":0}}]{shadow}}}\n",
            n + 1,
            if decision == "ALLOW" { "intent" } else { "denial" },
            uuid(n),
            uuid(200),
            uuid(201),
            uuid(202),
            if decision == "ALLOW" { "permitted" } else { "no_permit" },
        )
    }

    #[test]
    fn what_shadow_policies_would_have_changed_is_counted_by_call_and_by_policy() {
        let dir = tempfile::tempdir().unwrap();
        let forbids = ",\"shadow\":{\"decision\":\"DENY\",\"reason\":\"forbidden\",\"policies\":[{\"key\":\"no\",\"name\":\"no\",\"version\":1}]}";
        let permits = ",\"shadow\":{\"decision\":\"ALLOW\",\"reason\":\"permitted\",\"policies\":[{\"key\":\"more\",\"name\":\"more\",\"version\":1}]}";
        let agrees = permits.replace("more", "too");
        let text = [
            line(1, "ALLOW", ""),
            line(2, "ALLOW", forbids),
            line(3, "ALLOW", forbids),
            line(4, "DENY", permits),
            line(5, "ALLOW", &agrees),
        ];
        std::fs::write(dir.path().join("segment-00000001.jsonl"), text.concat()).unwrap();
        let job = |agent| ShadowJob {
            journal: dir.path().to_owned(),
            from: Timestamp::from_millis(0),
            to: Timestamp::from_millis(i64::MAX / 2),
            rows_max: 10,
            agent,
        };
        let run = |agent| report(&job(agent), &mut |_| ControlFlow::Continue(())).unwrap();
        let found = run(Some("reviewer"));
        assert_eq!((found.calls, found.newly_denied, found.newly_allowed), (5, 2, 1));
        assert_eq!((found.unmatched, found.unreadable_lines), (0, 0));
        let after: Vec<(&str, u64)> =
            found.policies.iter().filter(|p| p.after > 0).map(|p| (p.policy.as_str(), p.after)).collect();
        assert_eq!(after, [("no", 2), ("more", 1), ("too", 1)]);
        assert_eq!(found.rows.iter().filter(|row| row.changed).count(), 3);
        assert_eq!(run(Some("other")).calls, 0);
        assert_eq!(run(None).calls, 5);
    }
}
