//! Strict validation, policy by policy, of what was not validated before.
//!
//! Invariants: every policy of a bundle passed under the schema of exactly these connectors; what Cedar
//! only warns of as "can never match" is a fault here, because such a forbid protects nothing. A verdict
//! is reused only for the same text on the same ground: the connectors, and those counters and zones
//! that the policy itself reads. What the schema declares beyond those, for other policies, no type of
//! this one depends on.

mod declare;
mod narrow;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy_core::ast::{ActionConstraint, EntityUID, Policy, PolicySet};
use cedar_policy_core::validator::{ValidationMode, ValidationWarning, Validator};

use crate::connector::Connectors;
use crate::model::{CounterKey, Diagnostic, Digest, Tier};
use crate::policy::clock::Zones;
use crate::policy::reads::CounterReach;
use crate::policy::source::{self, Declared, Placed};

use self::declare::Declaring;
pub(in crate::policy) use self::declare::Offered;

/// Findings of the type checker that are reported for one place in a file.
const FAULTS_OF_PLACE_MAX: usize = 3;

/// That a policy passed.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Verdict {
    ground: Digest,
    /// What the validator said all the same, each at a byte of the piece.
    warnings: Arc<[(usize, Diagnostic)]>,
}

impl Verdict {
    /// What the validator said all the same of the policy that stands here.
    pub(in crate::policy) fn warnings(&self, placed: &Placed) -> impl Iterator<Item = Diagnostic> {
        self.warnings.iter().map(|(offset, warning)| {
            let Diagnostic { file, line, column, .. } = placed.finding(*offset, "");
            Diagnostic { file, line, column, ..warning.clone() }
        })
    }
}

/// The verdict on one policy, or everything that is wrong with it.
pub(in crate::policy) type Judged = Result<Verdict, Vec<Diagnostic>>;

/// Verdicts, by the texts of the pieces that they are on.
pub(in crate::policy) type Verdicts = HashMap<Arc<str>, Verdict>;

/// What policies are validated on.
pub(in crate::policy) struct Ground<'a> {
    connectors: Digest,
    counters: &'a BTreeSet<CounterKey>,
    zones: &'a Zones,
    validator: &'a Validator,
    /// What of counters and zones the validator's schema declares; `None` where it is all that the
    /// policies read.
    offered: Option<&'a Offered>,
    empty_tiers: BTreeSet<Tier>,
}

/// One policy that has to be validated now.
struct Fresh<'a> {
    number: usize,
    placed: &'a Placed,
    ground: Digest,
    scope: narrow::Scope<'a>,
    /// What the schema has to declare for it beyond what it does.
    declaring: Option<Declaring>,
}

/// The findings on one policy.
#[derive(Default)]
struct Findings {
    faults: Vec<Diagnostic>,
    warnings: Vec<(usize, Diagnostic)>,
}

impl<'a> Fresh<'a> {
    /// Policies that are equal in this are validated by one validator.
    fn of(&self) -> (&narrow::Scope<'a>, &Option<Declaring>) {
        (&self.scope, &self.declaring)
    }
}

impl<'a> Ground<'a> {
    pub(in crate::policy) fn new(
        connectors: &Connectors,
        (counters, zones): (&'a BTreeSet<CounterKey>, &'a Zones),
        validator: &'a Validator,
    ) -> Self {
        let empty_tiers = empty_tiers(connectors);
        Self { connectors: connectors.digest(), counters, zones, validator, offered: None, empty_tiers }
    }

    /// The same, where the validator's schema declares no more of counters and zones than this.
    pub(in crate::policy) fn offering(self, offered: &'a Offered) -> Self {
        Self { offered: Some(offered), ..self }
    }

    /// The verdicts on all of these policies, and all warnings; or every fault.
    pub(super) fn check(
        &self,
        policies: &[Placed],
        known: &Verdicts,
    ) -> Result<(Verdicts, Vec<Diagnostic>), Vec<Diagnostic>> {
        let (mut by_text, mut warnings) = (HashMap::with_capacity(policies.len()), Vec::new());
        let mut faults = Vec::new();
        let judged = self.each(policies, |_, placed| known.get(&placed.written.piece).cloned());
        for (placed, judged) in policies.iter().zip(judged) {
            match judged {
                Ok(verdict) => {
                    warnings.extend(verdict.warnings(placed));
                    by_text.insert(Arc::clone(&placed.written.piece), verdict);
                }
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok((by_text, warnings)) } else { Err(faults) }
    }

    /// The verdict on each of these policies, in their order; a known one where it was given on the same
    /// ground.
    pub(in crate::policy) fn each(
        &self,
        policies: &[Placed],
        known: impl Fn(usize, &Placed) -> Option<Verdict>,
    ) -> Vec<Judged> {
        let schema = self.validator.schema();
        let mut judged: Vec<Option<Judged>> = Vec::with_capacity(policies.len());
        let mut fresh = Vec::new();
        for (number, placed) in policies.iter().enumerate() {
            let ground = self.ground_of(&placed.written.declared);
            let verdict = known(number, placed).filter(|verdict| verdict.ground == ground);
            if verdict.is_none() {
                let scope = narrow::scope_of(placed, schema);
                let declaring = self
                    .offered
                    .and_then(|offered| offered.lacks(&placed.written.declared, (self.counters, self.zones)));
                fresh.push(Fresh { number, placed, ground, scope, declaring });
            }
            judged.push(verdict.map(Ok));
        }
        // Policies for the same actions follow each other, and share a validator of those.
        fresh.sort_by(|a, b| a.of().cmp(&b.of()));
        let nothing = (None, None);
        let (mut of, mut narrowed) = ((&nothing.0, &nothing.1), None);
        for one in &fresh {
            if one.of() != of {
                of = one.of();
                narrowed = narrow::narrowed(schema, &one.scope, one.declaring.as_ref());
            }
            let validator = narrowed.as_ref().unwrap_or(self.validator);
            let Findings { faults, warnings } = self.validate(one.placed, validator);
            let found = match faults.is_empty() {
                true => Ok(Verdict { ground: one.ground, warnings: warnings.into() }),
                false => Err(faults),
            };
            if let Some(place) = judged.get_mut(one.number) {
                *place = Some(found);
            }
        }
        let missed = || Err(vec![Diagnostic::of_file("policies", "a policy was not validated")]);
        judged.into_iter().map(|judged| judged.unwrap_or_else(missed)).collect()
    }

    /// What the verdict on a policy depends on beside its text.
    fn ground_of(&self, declared: &Declared) -> Digest {
        if declared.is_nothing() {
            return self.connectors;
        }
        let keys = |reach: Option<&CounterReach>| match reach {
            None => String::new(),
            Some(CounterReach::Whole) => self.counters.iter().map(|key| format!("{key} ")).collect(),
            Some(CounterReach::Keys(keys)) => {
                keys.iter().filter(|key| self.counters.contains(key)).map(|key| format!("{key} ")).collect()
            }
        };
        let zones: String = match declared.all_zones {
            true => self.zones.keys().map(|name| format!("{name} ")).collect(),
            false => declared.zones.iter().map(|(name, _)| format!("{name} ")).collect(),
        };
        let texts = [keys(declared.session.as_ref()), keys(declared.member.as_ref()), zones];
        let parts = texts.iter().map(String::as_bytes);
        Digest::of_parts([self.connectors.as_bytes().as_slice()].into_iter().chain(parts))
    }

    /// Validates one policy on its own, so that every finding has its file.
    fn validate(&self, placed: &Placed, validator: &Validator) -> Findings {
        let Some(policy) = placed.policy() else {
            let faults = vec![placed.finding_here("its text can no longer be parsed")];
            return Findings { faults, warnings: Vec::new() };
        };
        let set = PolicySet::singleton(policy.clone());
        let result = validator.validate(&set, ValidationMode::Strict);
        let key = &placed.written.body.reference.key;
        let mut findings = Findings::default();
        let report = |finding: &dyn miette::Diagnostic| {
            let text = finding.to_string();
            let rest = text.strip_prefix(&format!("for policy `{key}`, ")).unwrap_or(&text);
            let message = format!("policy `{key}`: {rest}");
            let mut at = placed.start();
            let found = source::with_details(finding, |offset| {
                at = offset.unwrap_or(at);
                match offset {
                    Some(offset) => placed.finding(offset, message),
                    None => Diagnostic { column: 0, ..placed.finding_here(message) },
                }
            });
            (at, found)
        };
        // The type checker reports once for each kind of call.
        let mut faults: BTreeMap<String, Diagnostic> = BTreeMap::new();
        for error in result.validation_errors() {
            let fault = with_hint(report(error).1);
            faults.insert(fault.to_string(), fault);
        }
        shorten(&mut faults);
        for warning in result.validation_warnings() {
            let (at, found) = report(warning);
            let never = matches!(
                warning,
                ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_)
            );
            if never && is_of_tiers(&policy, &self.empty_tiers) {
                let help = "no connector has a tool of this tier: it waits for one";
                findings.warnings.push((at, found.with_help(help)));
            } else if never {
                let help = "no call of these connectors can make it match: correct or delete it";
                faults.insert(found.to_string(), found.with_help(help));
            } else {
                findings.warnings.push((at, found));
            }
        }
        findings.faults = faults.into_values().collect();
        findings
    }
}

/// Tiers that no tool has.
fn empty_tiers(connectors: &Connectors) -> BTreeSet<Tier> {
    let tools = connectors.iter().flat_map(|connector| connector.actions());
    let used: BTreeSet<Tier> = tools.map(|(_, tool)| tool.tier).collect();
    Tier::ALL.into_iter().filter(|tier| !used.contains(tier)).collect()
}

/// Whether a policy speaks of these tiers as wholes, and of nothing else: a guardrail that is ready
/// before there is a tool for it.
fn is_of_tiers(policy: &Policy, tiers: &BTreeSet<Tier>) -> bool {
    let is_of = |uid: &EntityUID| {
        let name: &str = uid.eid().as_ref();
        uid.entity_type().to_string() == "Wicket::Action" && tiers.iter().any(|tier| tier.as_str() == name)
    };
    match policy.action_constraint() {
        ActionConstraint::Any => false,
        ActionConstraint::Eq(uid) => is_of(uid),
        ActionConstraint::In(uids) => !uids.is_empty() && uids.iter().all(|uid| is_of(uid)),
    }
}

/// Keeps a few findings of each place in the file: one for each of 1,500 tools helps nobody.
fn shorten(faults: &mut BTreeMap<String, Diagnostic>) {
    let mut at_place: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    faults.retain(|_, fault| {
        let count = at_place.entry((fault.line, fault.column)).or_default();
        *count += 1;
        *count <= FAULTS_OF_PLACE_MAX
    });
    for fault in faults.values_mut() {
        let count = at_place.remove(&(fault.line, fault.column)).unwrap_or_default();
        if count > FAULTS_OF_PLACE_MAX {
            let more = count - FAULTS_OF_PLACE_MAX;
            fault.message.push_str(&format!("; and for {more} more kinds of call"));
        }
    }
}

/// Says what Cedar cannot know of: where the names of this schema come from.
fn with_hint(fault: Diagnostic) -> Diagnostic {
    if fault.help.is_some() {
        return fault;
    }
    if fault.message.contains("not found") || fault.message.contains("unrecognized") {
        return fault.with_help("`wicket policy schema` prints every name that policies can use");
    }
    fault
}
