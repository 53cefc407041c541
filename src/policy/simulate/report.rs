//! What a simulation found: counts, and the rows that people look at.
//!
//! Invariants: every call of the window is counted once, as compared or as unmatched; rows are bounded,
//! those that change first, and what is left out is counted.

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::Unmatched;
use crate::model::{CallId, Decision, MemberId, Timestamp};

/// Different policies and tools that are counted by name; a bundle has fewer.
const NAMES_MAX: usize = 10_000;

/// Allowed and denied calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Split {
    pub allow: u64,
    pub deny: u64,
}

impl Split {
    fn count(&mut self, allowed: bool) {
        *(if allowed { &mut self.allow } else { &mut self.deny }) += 1;
    }
}

/// How sure the counters are that a decision read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Certainty {
    /// It read none.
    #[default]
    None,
    /// As recorded, moved on by what the draft changed before.
    Exact,
    /// Something before it could not be decided or counted for certain.
    Estimated,
}

/// One call, decided anew.
#[derive(Debug, Clone)]
pub struct Meant {
    pub decision: Decision,
    pub counters: Certainty,
}

/// A recorded call and what became of it.
#[derive(Debug)]
pub struct Judged<'a> {
    pub call: CallId,
    pub at: Timestamp,
    pub member: (MemberId, &'a str),
    pub service: &'a str,
    pub tool: &'a str,
    pub resource: &'a str,
    /// As recorded.
    pub allowed: bool,
    pub reason: &'a str,
    pub policies: &'a [&'a str],
    pub draft: Result<Meant, Unmatched>,
    pub baseline: Result<Meant, Unmatched>,
}

/// Who called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct RowMember {
    #[schema(value_type = String, format = Uuid)]
    pub id: MemberId,
    pub name: String,
}

/// A call of the window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// The request id, as the audit lists it.
    #[schema(value_type = String, format = Uuid)]
    pub id: CallId,
    #[schema(value_type = String, format = DateTime)]
    pub timestamp: Timestamp,
    pub member: RowMember,
    pub service: String,
    pub tool: String,
    /// As Cedar names it.
    pub resource: String,
    /// `ALLOW` or `DENY`, as it was decided then.
    pub decision: &'static str,
    /// The code of the reason.
    pub reason: String,
    /// Keys of the policies that decided then.
    pub policies: Vec<String>,
    /// What the draft's set would have decided; absent where it cannot be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft_decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub draft_reason: Option<&'static str>,
    /// Keys of the policies that would have decided.
    pub draft_policies: Vec<String>,
    /// What the other policies, without the draft, would have decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline_decision: Option<&'static str>,
    pub changed: bool,
    /// Why the call cannot be decided again: `argument_redacted`, `counters_unknown` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unmatched: Option<&'static str>,
    /// How sure the counters are that the draft's decision read.
    pub counters: Certainty,
}

/// Before and after of one tool.
#[derive(Debug, Default)]
struct Tally {
    before: Split,
    after: Split,
    changed: u64,
    unmatched: u64,
}

/// What becomes of the calls that one policy decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyTally {
    pub policy: String,
    /// Compared calls that it decided, as recorded.
    pub before: u64,
    /// Compared calls that it would have decided.
    pub after: u64,
}

/// What becomes of the calls of one tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolTally {
    /// As agents call it.
    pub tool: String,
    pub before: Split,
    pub after: Split,
    pub changed: u64,
    pub unmatched: u64,
}

/// The whole answer (specification 5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    /// Recorded calls of the window: compared and unmatched ones.
    pub calls: u64,
    /// Compared calls as they were decided.
    pub before: Split,
    /// Compared calls as the draft's set would have decided them.
    pub after: Split,
    /// Compared calls as the other policies alone would have.
    pub baseline: Split,
    /// Compared calls that would come out otherwise.
    pub changed: u64,
    pub newly_allowed: u64,
    pub newly_denied: u64,
    /// Calls that cannot be decided again.
    pub unmatched: u64,
    /// Those, by why.
    pub unmatched_by: BTreeMap<String, u64>,
    /// Compared calls whose counters are an estimate.
    pub estimated: u64,
    pub policies: Vec<PolicyTally>,
    pub tools: Vec<ToolTally>,
    /// Calls that change first, then unmatched ones, then others; oldest first each.
    pub rows: Vec<Row>,
    /// Calls of the window that are not among the rows.
    pub rows_omitted: u64,
    /// Lines of the journal that are no entries: `wicket audit verify` names them.
    pub unreadable_lines: u64,
}

/// Counts, call by call.
#[derive(Debug)]
pub struct Report {
    rows_max: usize,
    found: Simulation,
    policies: HashMap<String, (u64, u64)>,
    tools: HashMap<String, HashMap<String, Tally>>,
    /// Changed, unmatched, others.
    rows: [Vec<Row>; 3],
    unmatched_by: [u64; Unmatched::ALL.len()],
}

const fn word(allowed: bool) -> &'static str {
    if allowed { "ALLOW" } else { "DENY" }
}

impl Report {
    /// Nothing counted yet; at most so many rows are kept.
    pub fn new(from: Timestamp, to: Timestamp, rows_max: usize) -> Self {
        let found = Simulation {
            from,
            to,
            calls: 0,
            before: Split::default(),
            after: Split::default(),
            baseline: Split::default(),
            changed: 0,
            newly_allowed: 0,
            newly_denied: 0,
            unmatched: 0,
            unmatched_by: BTreeMap::new(),
            estimated: 0,
            policies: Vec::new(),
            tools: Vec::new(),
            rows: Vec::new(),
            rows_omitted: 0,
            unreadable_lines: 0,
        };
        let (policies, tools) = (HashMap::new(), HashMap::new());
        Self { rows_max, found, policies, tools, rows: Default::default(), unmatched_by: Default::default() }
    }

    /// Calls counted so far, and those that change.
    pub const fn so_far(&self) -> (u64, u64) {
        (self.found.calls, self.found.changed)
    }

    /// A line of the journal that is no entry.
    pub fn unreadable_line(&mut self) {
        self.found.unreadable_lines += 1;
    }

    /// Counts one call.
    pub fn count(&mut self, judged: &Judged<'_>) {
        self.found.calls += 1;
        let tally = tally_of(&mut self.tools, judged.service, judged.tool);
        let class = match &judged.draft {
            Err(why) => {
                if let Some(tally) = tally {
                    tally.unmatched += 1;
                }
                self.not_compared(*why);
                1
            }
            Ok(meant) => {
                let allowed = meant.decision.allowed;
                let changed = allowed != judged.allowed;
                if let Some(tally) = tally {
                    tally.before.count(judged.allowed);
                    tally.after.count(allowed);
                    tally.changed += u64::from(changed);
                }
                self.compared(judged, meant, changed);
                if changed { 0 } else { 2 }
            }
        };
        if let Some(rows) = self.rows.get_mut(class).filter(|rows| rows.len() < self.rows_max) {
            rows.push(row(judged));
        }
    }

    fn not_compared(&mut self, why: Unmatched) {
        self.found.unmatched += 1;
        let place = Unmatched::ALL.iter().position(|one| *one == why);
        if let Some(count) = place.and_then(|place| self.unmatched_by.get_mut(place)) {
            *count += 1;
        }
    }

    fn compared(&mut self, judged: &Judged<'_>, meant: &Meant, changed: bool) {
        let found = &mut self.found;
        found.before.count(judged.allowed);
        found.after.count(meant.decision.allowed);
        if let Ok(baseline) = &judged.baseline {
            found.baseline.count(baseline.decision.allowed);
        }
        found.estimated += u64::from(meant.counters == Certainty::Estimated);
        if changed {
            found.changed += 1;
            *(if judged.allowed { &mut found.newly_denied } else { &mut found.newly_allowed }) += 1;
        }
        for key in judged.policies {
            if let Some((before, _)) = of_policy(&mut self.policies, key) {
                *before += 1;
            }
        }
        for policy in &meant.decision.determining {
            if let Some((_, after)) = of_policy(&mut self.policies, policy.key.as_str()) {
                *after += 1;
            }
        }
    }

    /// The whole.
    pub fn finish(self) -> Simulation {
        let mut found = self.found;
        let by = Unmatched::ALL.iter().zip(self.unmatched_by).filter(|(_, count)| *count > 0);
        found.unmatched_by = by.map(|(why, count)| (why.as_str().to_owned(), count)).collect();
        let policies = self.policies.into_iter();
        found.policies =
            policies.map(|(policy, (before, after))| PolicyTally { policy, before, after }).collect();
        found.policies.sort_by(|a, b| {
            let moved = |tally: &PolicyTally| tally.before.abs_diff(tally.after);
            moved(b).cmp(&moved(a)).then_with(|| a.policy.cmp(&b.policy))
        });
        let named = |(service, tools): (String, HashMap<String, Tally>)| {
            tools.into_iter().map(move |(tool, Tally { before, after, changed, unmatched })| ToolTally {
                tool: format!("{service}__{tool}"),
                before,
                after,
                changed,
                unmatched,
            })
        };
        found.tools = self.tools.into_iter().flat_map(named).collect();
        found.tools.sort_by(|a, b| b.changed.cmp(&a.changed).then_with(|| a.tool.cmp(&b.tool)));
        found.rows = self.rows.into_iter().flatten().take(self.rows_max).collect();
        found.rows_omitted = found.calls.saturating_sub(found.rows.len() as u64);
        found
    }
}

/// The counts of a tool, without a new name for a known one.
fn tally_of<'t>(
    tools: &'t mut HashMap<String, HashMap<String, Tally>>,
    service: &str,
    tool: &str,
) -> Option<&'t mut Tally> {
    if !tools.contains_key(service) && tools.len() < NAMES_MAX {
        tools.insert(service.to_owned(), HashMap::new());
    }
    let of_service = tools.get_mut(service)?;
    if !of_service.contains_key(tool) && of_service.len() < NAMES_MAX {
        of_service.insert(tool.to_owned(), Tally::default());
    }
    of_service.get_mut(tool)
}

fn of_policy<'t>(policies: &'t mut HashMap<String, (u64, u64)>, key: &str) -> Option<&'t mut (u64, u64)> {
    if !policies.contains_key(key) && policies.len() < NAMES_MAX {
        policies.insert(key.to_owned(), (0, 0));
    }
    policies.get_mut(key)
}

fn row(judged: &Judged<'_>) -> Row {
    let draft = judged.draft.as_ref().ok();
    let determining = draft.iter().flat_map(|meant| &meant.decision.determining);
    Row {
        id: judged.call,
        timestamp: judged.at,
        member: RowMember { id: judged.member.0, name: judged.member.1.to_owned() },
        service: judged.service.to_owned(),
        tool: judged.tool.to_owned(),
        resource: judged.resource.to_owned(),
        decision: word(judged.allowed),
        reason: judged.reason.to_owned(),
        policies: judged.policies.iter().map(|key| (*key).to_owned()).collect(),
        draft_decision: draft.map(|meant| word(meant.decision.allowed)),
        draft_reason: draft.map(|meant| meant.decision.reason.as_str()),
        draft_policies: determining.map(|policy| policy.key.to_string()).collect(),
        baseline_decision: judged.baseline.as_ref().ok().map(|meant| word(meant.decision.allowed)),
        changed: draft.is_some_and(|meant| meant.decision.allowed != judged.allowed),
        unmatched: judged.draft.as_ref().err().map(|why| why.as_str()),
        counters: draft.map_or(Certainty::None, |meant| meant.counters),
    }
}
