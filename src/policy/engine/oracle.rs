//! The engine against plain `cedar_policy::Authorizer`: the same decision, the same determining
//! policies and the same failing ones, over random hierarchies, action groups, absent attributes,
//! missing entities, ill-typed conditions and sets of 0 to 60 policies; and Cedar's laws.
//!
//! `WICKET_ORACLE_CASES=1000000` raises the number of cases. A failing case is shrunk and printed whole.

mod generate;

use std::collections::BTreeSet;
use std::str::FromStr;

use cedar_policy_core::ast::{Context, EntityUIDEntry};
use serde_json::Value as Json;

use self::generate::{ACTIONS, Graph, PRINCIPALS, RESOURCES, context, parse, policy, value};
use super::*;
use crate::policy::bundle::build;
use crate::policy::cache::Caps;
use crate::policy::index::{Classes, Index};
use crate::policy::slice::{self, Key, Prospect, Slices};
use crate::policy::source;

pub(in crate::policy) use self::generate::Dice;

/// Requests that are compared in the default run.
const CASES: usize = 20_000;
/// Requests for each generated set.
const REQUESTS: usize = 8;

#[expect(clippy::disallowed_methods, reason = "a knob of this test alone")]
fn cases() -> usize {
    std::env::var("WICKET_ORACLE_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES)
}

/// What both sides say, in one form.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    allowed: bool,
    reasons: BTreeSet<usize>,
    errors: BTreeSet<usize>,
}

/// One request.
#[derive(Debug, Clone)]
struct Asked {
    principal: &'static str,
    action: &'static str,
    resource: &'static str,
    context: Json,
}

/// A set of policies, and the slices that were asked of it.
struct Ours {
    rules: Vec<Rule>,
    index: Index,
    slices: Slices,
    entities: Entities,
}

impl Ours {
    fn new(text: &str, graph: &Graph, caps: Caps) -> Self {
        let file = SourceFile::new("case.cedar", text);
        let reading = source::read(std::slice::from_ref(&file));
        assert!(reading.faults.is_empty(), "{:?}\n{text}", reading.faults);
        let rule = |parsed: source::Parsed| build::rule(std::slice::from_ref(&file), parsed).unwrap();
        let rules: Vec<Rule> = reading.policies.into_iter().map(rule).collect();
        let index = Index::new(rules.iter().map(|rule| &rule.body.scope));
        Self { rules, index, slices: Slices::new(caps), entities: graph.core() }
    }

    /// What becomes of the candidates of the kept slice, or of the one that is worked out now.
    fn found(&self, graph: &Graph, asked: &Asked) -> Found {
        let class = |uid: &str| {
            let place = graph.place(uid);
            self.index.names().class(&place.uid, &place.ancestors)
        };
        let [principal, action, resource] = [asked.principal, asked.action, asked.resource].map(class);
        let classes = Classes { principal: &principal, action: &action, resource: &resource };
        let key = Key { classes, half_read: false };
        let slice = self.slices.get(key, (&self.rules, &self.index), &BTreeSet::new());
        let known = |uid: &str| EntityUIDEntry::known(parse(uid), None);
        let pairs = asked.context.as_object().unwrap().iter().map(|(k, v)| (k.as_str().into(), value(v)));
        let context = Context::Value(Arc::new(pairs.collect()));
        let [principal, action, resource] = [asked.principal, asked.action, asked.resource].map(known);
        let request = Request::new_unchecked(principal, action, resource, Some(context));
        let found = evaluate(&self.rules, &slice.candidates, request, &self.entities);
        if let Some(constant) = &slice.constant {
            assert_eq!(*constant, conclude(&self.rules, &found), "a constant slice that is none");
        }
        let decision = conclude(&self.rules, &found);
        let fits = match slice.prospect {
            Prospect::Never => !decision.allowed,
            Prospect::Always => decision.allowed,
            Prospect::Depends => true,
        };
        assert!(fits, "{:?} and yet {decision:?}", slice.prospect);
        found
    }
}

fn ours(text: &str, graph: &Graph, asked: &[Asked]) -> Vec<Found> {
    let ours = Ours::new(text, graph, slice::CAPS);
    asked.iter().map(|asked| ours.found(graph, asked)).collect()
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

pub(in crate::policy) fn ids<'a>(ids: impl Iterator<Item = &'a cedar_policy::PolicyId>) -> BTreeSet<usize> {
    ids.map(|id| AsRef::<str>::as_ref(id).trim_start_matches("policy").parse().unwrap()).collect()
}

fn theirs(text: &str, graph: &Graph, asked: &[Asked]) -> Vec<Said> {
    let policies = cedar_policy::PolicySet::from_str(text).unwrap();
    let entities = graph.plain();
    let authorizer = cedar_policy::Authorizer::new();
    let answer = |asked: &Asked| {
        let uid = |text: &str| cedar_policy::EntityUid::from_str(text).unwrap();
        let context = cedar_policy::Context::from_json_value(asked.context.clone(), None).unwrap();
        let (principal, action, resource) = (uid(asked.principal), uid(asked.action), uid(asked.resource));
        let request = cedar_policy::Request::new(principal, action, resource, context, None).unwrap();
        let response = authorizer.is_authorized(&request, &policies, &entities);
        let errors: Vec<cedar_policy::PolicyId> = response
            .diagnostics()
            .errors()
            .map(|error| match error {
                cedar_policy::AuthorizationError::PolicyEvaluationError(error) => error.policy_id().clone(),
            })
            .collect();
        Said {
            allowed: response.decision() == cedar_policy::Decision::Allow,
            reasons: ids(response.diagnostics().reason()),
            errors: ids(errors.iter()),
        }
    };
    asked.iter().map(answer).collect()
}

struct Case {
    graph: Graph,
    policies: Vec<String>,
    asked: Vec<Asked>,
}

fn case(seed: u64) -> Case {
    let dice = &mut Dice(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
    let graph = Graph::random(dice);
    // Small sets find more faults per second; large ones are there as well.
    let bound = *dice.pick(&[2, 6, 12, 12, 25, 61]);
    let count = dice.below(bound);
    let policies = (0..count).map(|number| policy(dice, number)).collect();
    let asked = (0..REQUESTS).map(|_| Asked {
        principal: dice.pick::<&str>(&PRINCIPALS),
        action: dice.pick::<&str>(&ACTIONS),
        resource: dice.pick::<&str>(&RESOURCES),
        context: context(dice),
    });
    Case { graph, policies, asked: asked.collect() }
}

fn differs(policies: &[String], graph: &Graph, asked: &Asked) -> Option<(Said, Said)> {
    let text = policies.concat();
    let one = std::slice::from_ref(asked);
    let (mine, plain) = (ours(&text, graph, one).remove(0), theirs(&text, graph, one).remove(0));
    let mine = said(&mine);
    (mine != plain).then_some((mine, plain))
}

/// Drops policies as long as both sides still differ.
fn shrunk(mut policies: Vec<String>, graph: &Graph, asked: &Asked) -> String {
    let mut at = 0;
    while at < policies.len() {
        let without: Vec<String> = [&policies[..at], &policies[at + 1..]].concat();
        if differs(&without, graph, asked).is_some() {
            policies = without;
        } else {
            at += 1;
        }
    }
    let said = differs(&policies, graph, asked);
    format!("{asked:?}\n{}\n{said:?}\n{:?}", policies.concat(), graph.parents)
}

#[test]
fn the_engine_says_what_plain_cedar_says() {
    let (mut allowed, mut failed, mut forbidden) = (0, 0, 0);
    for seed in 0..(cases() / REQUESTS) as u64 {
        let case = case(seed);
        let text = case.policies.concat();
        let found = ours(&text, &case.graph, &case.asked);
        let plain = theirs(&text, &case.graph, &case.asked);
        for ((found, plain), asked) in found.iter().zip(&plain).zip(&case.asked) {
            if said(found) != *plain {
                panic!("seed {seed}\n{}", shrunk(case.policies.clone(), &case.graph, asked));
            }
            allowed += usize::from(plain.allowed);
            failed += usize::from(!plain.errors.is_empty());
            forbidden += usize::from(!plain.allowed && !plain.reasons.is_empty());
        }
    }
    println!("{} requests: {allowed} allowed, {forbidden} forbidden, {failed} with errors", cases());
    assert!(
        allowed > cases() / 20 && forbidden > cases() / 20 && failed > cases() / 20,
        "too tame a generator"
    );
}

#[test]
fn a_forbid_never_opens_a_permit_never_closes_and_order_is_nothing() {
    let decide = |policies: &[String], case: &Case| -> Vec<Decision> {
        let text = policies.concat();
        let ours = Ours::new(&text, &case.graph, slice::CAPS);
        case.asked.iter().map(|asked| conclude(&ours.rules, &ours.found(&case.graph, asked))).collect()
    };
    for seed in 0..(cases() / REQUESTS / 10) as u64 {
        let case = case(seed ^ 0x5eed_0000_0000);
        let before = decide(&case.policies, &case);
        let extra = policy(&mut Dice(seed ^ 0x00ff_ff00), 900);
        let after = decide(&[&case.policies[..], std::slice::from_ref(&extra)].concat(), &case);
        let mut reversed = case.policies.clone();
        reversed.reverse();
        let backwards = decide(&reversed, &case);
        for ((before, after), backwards) in before.iter().zip(&after).zip(&backwards) {
            let fails = after.errors.iter().any(|error| error.policy.as_str() == "p900");
            if extra.contains("forbid(") {
                assert!(before.allowed || !after.allowed, "seed {seed}: {extra} opened");
            } else if !fails {
                assert!(!before.allowed || after.allowed, "seed {seed}: {extra} closed");
            }
            if fails {
                assert!(!after.allowed, "seed {seed}: {extra} failed and yet the call is allowed");
            }
            let parts = |decision: &Decision| {
                let errors: Vec<_> = decision.errors.iter().map(|error| error.policy.clone()).collect();
                (decision.allowed, decision.reason, decision.determining.clone(), errors)
            };
            assert_eq!(parts(before), parts(backwards), "seed {seed}");
        }
    }
}
