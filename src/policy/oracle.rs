//! The engine against plain `cedar_policy::Authorizer` over the whole set: the same decision, the same
//! determining policies and the same failing ones, over random hierarchies, action groups across
//! namespaces, absent attributes, missing entities, ill-typed conditions and sets of 0 to 500 policies.
//!
//! What is asked is the cached path: one set answers many requests out of one store of slices, which is
//! as large as a bundle's, or so small that it forgets all the time, or holds nothing at all. A failing
//! case is shrunk and printed whole. The fuzzer in `fuzz/` chooses by its bytes what a seed chooses here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "an oracle stops at the first difference; it is in no gate"
)]

mod generate;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy_core::ast::{Context, EntityUIDEntry, Request};
use cedar_policy_core::entities::Entities;
use serde_json::Value as Json;

pub use self::generate::Dice;
use self::generate::{ACTIONS, Graph, PRINCIPALS, RESOURCES, context, parse, policy, value};
use super::cache::Caps;
use super::engine::{Found, Rule, conclude, evaluate};
use super::index::{Class, Classes, Index};
use super::slice::{self, Key, Prospect, Slice, Slices};
use super::source;
use crate::model::SourceFile;

/// Contexts of one case, of which each request has one.
const CONTEXTS: usize = 8;

/// What both sides say, in one form.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    allowed: bool,
    reasons: BTreeSet<usize>,
    errors: BTreeSet<usize>,
}

/// One request: who, what, of what, and the number of the context.
#[derive(Debug, Clone, Copy)]
struct Asked {
    principal: &'static str,
    action: &'static str,
    resource: &'static str,
    context: usize,
}

/// How often what came of the requests, to show that the generator is not too tame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub requests: u64,
    pub allowed: u64,
    pub forbidden: u64,
    pub failed: u64,
    /// Requests that were answered from a slice which was kept.
    pub kept: u64,
    /// Requests whose slice decided without a look at the context.
    pub constant: u64,
    /// Requests whose slice was worked out anew, because it had been forgotten.
    pub forgotten: u64,
}

impl Tally {
    /// Adds another's numbers.
    pub fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.allowed += other.allowed;
        self.forbidden += other.forbidden;
        self.failed += other.failed;
        self.kept += other.kept;
        self.constant += other.constant;
        self.forgotten += other.forgotten;
    }
}

/// A set of policies, and the slices that were asked of it.
struct Ours {
    rules: Vec<Rule>,
    index: Index,
    slices: Slices,
    entities: Entities,
    classes: BTreeMap<&'static str, Class>,
    contexts: Vec<Context>,
    /// The slice that each kind of request had last.
    seen: BTreeMap<(&'static str, &'static str, &'static str), Arc<Slice>>,
}

impl Ours {
    fn new(text: &str, case: &Case) -> Self {
        let file = SourceFile::new("case.cedar", text);
        let reading =
            source::read(std::slice::from_ref(&file), &source::Known::new(), crate::model::Show::Plain);
        assert!(reading.faults.is_empty(), "{:?}\n{text}", reading.faults);
        let rules: Vec<Rule> = reading.policies.iter().map(source::Placed::rule).collect();
        let index = Index::new(rules.iter().map(|rule| &rule.body.scope));
        let class = |uid: &&'static str| {
            let place = case.graph.place(uid);
            (*uid, index.names().class(&place.uid, &place.ancestors))
        };
        let classes = PRINCIPALS.iter().chain(&ACTIONS).chain(&RESOURCES).map(class).collect();
        let context = |json: &Json| {
            let pairs = json.as_object().unwrap().iter().map(|(k, v)| (k.as_str().into(), value(v)));
            Context::Value(Arc::new(pairs.collect()))
        };
        let contexts = case.contexts.iter().map(context).collect();
        let (slices, entities) = (Slices::new(case.caps), case.graph.core());
        Self { rules, index, slices, entities, classes, contexts, seen: BTreeMap::new() }
    }

    /// What becomes of the candidates of the kept slice, or of the one that is worked out now.
    fn found(&mut self, asked: &Asked, tally: &mut Tally) -> Found {
        let classes = Classes {
            principal: &self.classes[asked.principal],
            action: &self.classes[asked.action],
            resource: &self.classes[asked.resource],
        };
        let key = Key { classes, half_read: false };
        let slice = self.slices.get(key, (&self.rules, &self.index), &BTreeSet::new());
        assert!(slice.candidates.is_sorted_by(|a, b| a < b), "{:?}", slice.candidates);
        let scope = (asked.principal, asked.action, asked.resource);
        if let Some(earlier) = self.seen.insert(scope, Arc::clone(&slice)) {
            let kept = Arc::ptr_eq(&earlier, &slice);
            tally.kept += u64::from(kept);
            tally.forgotten += u64::from(!kept);
        }
        let known = |uid: &str| EntityUIDEntry::known(parse(uid), None);
        let [principal, action, resource] = [asked.principal, asked.action, asked.resource].map(known);
        let context = self.contexts[asked.context].clone();
        let request = Request::new_unchecked(principal, action, resource, Some(context));
        let found = evaluate(&self.rules, &slice.candidates, request, &self.entities);
        let decision = conclude(&self.rules, &found);
        if let Some(constant) = &slice.constant {
            assert_eq!(*constant, decision, "a constant slice that is none: {asked:?}");
            tally.constant += 1;
        }
        let fits = match slice.prospect {
            Prospect::Never => !decision.allowed,
            Prospect::Always => decision.allowed,
            Prospect::Depends => slice.constant.is_none(),
        };
        assert!(fits, "{:?}, and yet {decision:?}: {asked:?}", slice.prospect);
        found
    }
}

fn said(found: &Found) -> Said {
    let numbers = |list: &[u32]| list.iter().map(|n| *n as usize).collect();
    let allowed = found.forbids.is_empty() && !found.permits.is_empty();
    let reasons = if allowed || found.forbids.is_empty() { &found.permits } else { &found.forbids };
    Said {
        allowed,
        reasons: numbers(reasons),
        errors: found.errors.iter().map(|(n, _)| *n as usize).collect(),
    }
}

/// The numbers of policies that plain Cedar has named itself: `policy7`.
pub(in crate::policy) fn ids<'a>(ids: impl Iterator<Item = &'a cedar_policy::PolicyId>) -> BTreeSet<usize> {
    ids.map(|id| AsRef::<str>::as_ref(id).trim_start_matches("policy").parse().unwrap()).collect()
}

/// The same set in plain Cedar.
struct Theirs {
    policies: cedar_policy::PolicySet,
    entities: cedar_policy::Entities,
    contexts: Vec<cedar_policy::Context>,
    authorizer: cedar_policy::Authorizer,
}

impl Theirs {
    fn new(text: &str, case: &Case) -> Self {
        let context = |json: &Json| cedar_policy::Context::from_json_value(json.clone(), None).unwrap();
        Self {
            policies: cedar_policy::PolicySet::from_str(text).unwrap(),
            entities: case.graph.plain(),
            contexts: case.contexts.iter().map(context).collect(),
            authorizer: cedar_policy::Authorizer::new(),
        }
    }

    fn said(&self, asked: &Asked) -> Said {
        let uid = |text: &str| cedar_policy::EntityUid::from_str(text).unwrap();
        let [principal, action, resource] = [asked.principal, asked.action, asked.resource].map(uid);
        let context = self.contexts[asked.context].clone();
        let request = cedar_policy::Request::new(principal, action, resource, context, None).unwrap();
        let response = self.authorizer.is_authorized(&request, &self.policies, &self.entities);
        let errors = response.diagnostics().errors().map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
        });
        Said {
            allowed: response.decision() == cedar_policy::Decision::Allow,
            reasons: ids(response.diagnostics().reason()),
            errors: ids(errors),
        }
    }
}

struct Case {
    graph: Graph,
    policies: Vec<String>,
    contexts: Vec<Json>,
    asked: Vec<Asked>,
    caps: Caps,
}

/// As much as a bundle keeps; so little that it forgets with nearly every request; nothing.
const CAPS: [Caps; 4] = [
    slice::CAPS,
    slice::CAPS,
    Caps { entries_max: 16, bytes_max: 1 << 20 },
    Caps { entries_max: 0, bytes_max: 0 },
];

fn case(dice: &mut Dice<'_>, requests_max: usize) -> Case {
    let graph = Graph::random(dice);
    // Small sets find more faults per second; large ones are there as well.
    let bound = *dice.pick(&[2, 6, 12, 12, 12, 25, 25, 61]);
    let count = if dice.one_in(100) { 100 + 4 * dice.below(101) } else { dice.below(bound) };
    let policies: Vec<String> = (0..count).map(|number| policy(dice, number)).collect();
    let contexts = (0..CONTEXTS).map(|_| context(dice)).collect();
    let caps = *dice.pick(&CAPS);
    let requests = (6_000 / (count + 8)).clamp(10, requests_max);
    let asked = (0..requests).map(|_| Asked {
        principal: dice.pick::<&str>(&PRINCIPALS),
        action: dice.pick::<&str>(&ACTIONS),
        resource: dice.pick::<&str>(&RESOURCES),
        context: dice.below(CONTEXTS),
    });
    Case { asked: asked.collect(), graph, policies, contexts, caps }
}

/// What both sides say of one request, where they differ.
fn differs(policies: &[String], case: &Case, asked: &Asked) -> Option<(Said, Said)> {
    let text = policies.concat();
    let mine = said(&Ours::new(&text, case).found(asked, &mut Tally::default()));
    let plain = Theirs::new(&text, case).said(asked);
    (mine != plain).then_some((mine, plain))
}

/// Drops policies as long as both sides still differ; where they agree once asked alone, the fault lies
/// in what was kept.
fn shrunk(case: &Case, asked: &Asked) -> String {
    let mut policies = case.policies.clone();
    if differs(&policies, case, asked).is_none() {
        return format!("only with kept slices: {asked:?}\n{}\n{:?}", policies.concat(), case.graph.parents);
    }
    let mut at = 0;
    while at < policies.len() {
        let without: Vec<String> = [&policies[..at], &policies[at + 1..]].concat();
        if differs(&without, case, asked).is_some() {
            policies = without;
        } else {
            at += 1;
        }
    }
    let said = differs(&policies, case, asked);
    let context = &case.contexts[asked.context];
    format!("{asked:?}\n{}\n{said:?}\n{context}\n{:?}", policies.concat(), case.graph.parents)
}

/// Requests of one case that a seed chooses; a fuzzer's bytes are too few for that many.
const REQUESTS_MAX: usize = 400;
const REQUESTS_OF_BYTES: usize = 40;

/// Makes one case and compares all its answers.
///
/// # Panics
/// Where they differ, with the smallest set that shows it.
pub fn differential(mut dice: Dice<'_>) -> Tally {
    let requests_max = if matches!(dice, Dice::Seed(_)) { REQUESTS_MAX } else { REQUESTS_OF_BYTES };
    let case = case(&mut dice, requests_max);
    let text = case.policies.concat();
    let (mut ours, theirs) = (Ours::new(&text, &case), Theirs::new(&text, &case));
    let mut tally = Tally::default();
    for asked in &case.asked {
        let found = ours.found(asked, &mut tally);
        let plain = theirs.said(asked);
        if said(&found) != plain {
            panic!("{}", shrunk(&case, asked));
        }
        tally.requests += 1;
        tally.allowed += u64::from(plain.allowed);
        tally.failed += u64::from(!plain.errors.is_empty());
        tally.forbidden += u64::from(!plain.allowed && !plain.reasons.is_empty());
    }
    tally
}

#[cfg(test)]
mod tests;
