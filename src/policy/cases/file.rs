//! The form of `cases.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Deserialize;
use toml::Spanned;

use super::Case;
use crate::model::{
    AgentId, CounterKey, Diagnostic, GroupName, MemberId, PolicyKey, Reason, Role, SourceFile, Timestamp,
    TrustMode,
};
use crate::policy::scenario::Scenario;

/// Cases in one file.
const CASES_MAX: usize = 10_000;
/// When a case happens that does not say: a Monday morning.
const DEFAULT_TIME: &str = "2026-11-23T10:00:00Z";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default, rename = "case")]
    cases: Vec<Spanned<RawCase>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCase {
    name: String,
    call: String,
    #[serde(default)]
    arguments: serde_json::Value,
    #[serde(default)]
    who: RawWho,
    at: Option<String>,
    #[serde(default)]
    session: BTreeMap<String, i64>,
    #[serde(default)]
    member: BTreeMap<String, i64>,
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

pub(super) fn read(source: &SourceFile) -> Result<Vec<Case>, Vec<Diagnostic>> {
    let raw: RawFile = toml::from_str(&source.text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let help = "docs/guide/policies.md shows every key of a case";
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
    if faults.is_empty() { Ok(cases) } else { Err(faults) }
}

fn case(source: &SourceFile, offset: usize, raw: RawCase) -> Result<Case, String> {
    let at = Timestamp::parse(raw.at.as_deref().unwrap_or(DEFAULT_TIME))?;
    let plain = Scenario::new(&raw.call, at);
    let who = raw.who;
    let mut scenario = Scenario {
        arguments: raw.arguments,
        groups: who.groups,
        trust: who.trust.unwrap_or(plain.trust),
        role: who.role.unwrap_or(plain.role),
        ip: who.ip.unwrap_or(plain.ip),
        member: who.member_id.unwrap_or(plain.member),
        agent: who.agent_id.unwrap_or(plain.agent),
        member_name: who.name.unwrap_or_else(|| plain.member_name.clone()),
        agent_name: who.agent.unwrap_or_else(|| plain.agent_name.clone()),
        ..plain
    };
    scenario.history.session = counters(raw.session)?;
    scenario.history.member = counters(raw.member)?;
    let by = raw.by.map(|by| match by {
        OneOrMany::One(key) => BTreeSet::from([key]),
        OneOrMany::Many(keys) => keys,
    });
    let allowed = raw.expect == RawExpect::Allow;
    Ok(Case { name: raw.name, line: source.position(offset).0, scenario, allowed, by, reason: raw.reason })
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
