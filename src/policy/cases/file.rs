//! The form of `cases.toml`.

mod duration;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;
use toml::Spanned;

use self::duration::millis;
use super::{Case, Cases, Expected, Step};
use crate::model::{
    AgentId, CounterKey, Diagnostic, GroupName, MemberId, PolicyKey, Reason, Role, SourceFile, Timestamp,
    TrustMode,
};
use crate::policy::scenario::Scenario;

/// Cases in one file.
const CASES_MAX: usize = 10_000;
/// Steps of one case.
const STEPS_MAX: usize = 100;
/// Calls of one step.
const TIMES_MAX: u32 = 1_000;
/// When a case happens that does not say: a Monday morning.
const DEFAULT_TIME: &str = "2026-11-23T10:00:00Z";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    seeded: bool,
    #[serde(default, rename = "case")]
    cases: Vec<Spanned<RawCase>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    call: Option<String>,
    #[serde(default)]
    arguments: serde_json::Value,
    #[serde(default)]
    who: RawWho,
    at: Option<String>,
    #[serde(default)]
    session: BTreeMap<String, i64>,
    #[serde(default)]
    member: BTreeMap<String, i64>,
    expect: Option<RawExpect>,
    by: Option<OneOrMany>,
    reason: Option<Reason>,
    #[serde(default, rename = "step")]
    steps: Vec<RawStep>,
}

/// One call of a sequence, or the same call several times.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStep {
    call: String,
    #[serde(default)]
    arguments: serde_json::Value,
    /// How long after the step before: `30s`, `10m`, `25h`, `2d`.
    after: Option<String>,
    times: Option<u32>,
    #[serde(default)]
    conversation: String,
    ip: Option<IpAddr>,
    expect: RawExpect,
    by: Option<OneOrMany>,
    reason: Option<Reason>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawWho {
    #[serde(default)]
    groups: BTreeSet<GroupName>,
    trust: Option<TrustMode>,
    role: Option<Role>,
    ip: Option<IpAddr>,
    name: Option<String>,
    agent: Option<String>,
    member_id: Option<MemberId>,
    agent_id: Option<AgentId>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum RawExpect {
    Allow,
    Deny,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(PolicyKey),
    Many(BTreeSet<PolicyKey>),
}

pub(super) fn read(source: &SourceFile) -> Result<Cases, Vec<Diagnostic>> {
    let raw: RawFile = toml::from_str(&source.text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let help = "docs/guide/policy-tests.md shows every key of a case";
        vec![Diagnostic::at(source, offset, error.message()).with_help(help)]
    })?;
    if raw.cases.len() > CASES_MAX {
        let message = format!("{} cases are too many: {CASES_MAX} at most", raw.cases.len());
        return Err(vec![Diagnostic::of_file(&source.name, message)]);
    }
    let mut cases = Vec::with_capacity(raw.cases.len());
    let mut faults = Vec::new();
    for raw in raw.cases {
        let offset = raw.span().start;
        match case(source, offset, raw.into_inner()) {
            Ok(case) => cases.push(case),
            Err(why) => faults.push(Diagnostic::at(source, offset, why)),
        }
    }
    if faults.is_empty() { Ok(Cases { all: cases, seeded: raw.seeded }) } else { Err(faults) }
}

fn case(source: &SourceFile, offset: usize, raw: RawCase) -> Result<Case, String> {
    let line = source.position(offset).0;
    let at = Timestamp::parse(raw.at.as_deref().unwrap_or(DEFAULT_TIME))?;
    let mut scenario = scenario(raw.who, raw.call.as_deref().unwrap_or_default(), at);
    scenario.history.session = counters(raw.session)?;
    scenario.history.member = counters(raw.member)?;
    let name = raw.name;
    if !raw.steps.is_empty() {
        let stray = [
            ("call", raw.call.is_some()),
            ("arguments", !raw.arguments.is_null()),
            ("expect", raw.expect.is_some()),
            ("by", raw.by.is_some()),
            ("reason", raw.reason.is_some()),
        ];
        if let Some((key, _)) = stray.into_iter().find(|(_, given)| *given) {
            return Err(format!("`{key}` beside steps: it belongs to each step"));
        }
        return Ok(Case { name, line, steps: steps(&scenario, raw.steps)?, counted: true });
    }
    let missing = |key: &str| format!("`{key}` is missing, or steps");
    if raw.call.is_none() {
        return Err(missing("call"));
    }
    scenario.arguments = raw.arguments;
    let expected = expected(raw.expect.ok_or_else(|| missing("expect"))?, raw.by, raw.reason);
    let step = Step { scenario, times: 1, conversation: String::new(), expected };
    Ok(Case { name, line, steps: vec![step], counted: false })
}

fn scenario(who: RawWho, call: &str, at: Timestamp) -> Scenario {
    let plain = Scenario::new(call, at);
    Scenario {
        groups: who.groups,
        trust: who.trust.unwrap_or(plain.trust),
        role: who.role.unwrap_or(plain.role),
        ip: who.ip.unwrap_or(plain.ip),
        member: who.member_id.unwrap_or(plain.member),
        agent: who.agent_id.unwrap_or(plain.agent),
        member_name: who.name.unwrap_or_else(|| plain.member_name.clone()),
        agent_name: who.agent.unwrap_or_else(|| plain.agent_name.clone()),
        ..plain
    }
}

fn steps(first: &Scenario, raw: Vec<RawStep>) -> Result<Vec<Step>, String> {
    if raw.len() > STEPS_MAX {
        return Err(format!("{} steps are too many: {STEPS_MAX} at most", raw.len()));
    }
    let mut at = first.at;
    let mut steps = Vec::with_capacity(raw.len());
    for (raw, number) in raw.into_iter().zip(1..) {
        let of_step = |why: String| format!("step {number}: {why}");
        if let Some(after) = &raw.after {
            at = at.plus_millis(millis(after).map_err(of_step)?);
        }
        let times = raw.times.unwrap_or(1);
        if times == 0 || times > TIMES_MAX {
            return Err(of_step(format!("`times` is 1 to {TIMES_MAX}")));
        }
        let scenario = Scenario {
            tool: raw.call,
            arguments: raw.arguments,
            ip: raw.ip.unwrap_or(first.ip),
            at,
            ..first.clone()
        };
        let expected = expected(raw.expect, raw.by, raw.reason);
        steps.push(Step { scenario, times, conversation: raw.conversation, expected });
    }
    Ok(steps)
}

fn expected(expect: RawExpect, by: Option<OneOrMany>, reason: Option<Reason>) -> Expected {
    let by = by.map(|by| match by {
        OneOrMany::One(key) => BTreeSet::from([key]),
        OneOrMany::Many(keys) => keys,
    });
    Expected { allowed: expect == RawExpect::Allow, by, reason }
}

/// Counters by their written form: `denials`, `tool/github:create_issue`, `tier/write`.
fn counters(raw: BTreeMap<String, i64>) -> Result<BTreeMap<CounterKey, i64>, String> {
    raw.into_iter()
        .map(|(name, count)| {
            let known = "calls, denials, tool/<service>:<tool>, tier/<tier>, service/<service>, \
                         allow/<policy> and deny/<policy>";
            let key = name.parse().map_err(|why| format!("{why}: there are {known}"))?;
            Ok((key, count))
        })
        .collect()
}
