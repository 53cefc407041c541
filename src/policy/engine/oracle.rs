//! The engine against plain `cedar_policy::Authorizer`: the same decision, the same determining
//! policies and the same failing ones, over random hierarchies, action groups, absent attributes,
//! missing entities, ill-typed conditions and sets of 0 to 60 policies; and Cedar's laws.
//!
//! `WICKET_ORACLE_CASES=1000000` raises the number of cases. A failing case is shrunk and printed whole.

mod generate;

use std::collections::BTreeSet;
use std::str::FromStr;

use cedar_policy_core::ast::{Context, EntityUID, EntityUIDEntry};
use serde_json::Value as Json;

use self::generate::{ACTIONS, Graph, PRINCIPALS, RESOURCES, context, parse, policy, value};
use super::*;
use crate::policy::index::{Index, Scope};
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

fn rules(text: &str) -> (Vec<Rule>, Vec<Scope>) {
    let file = SourceFile::new("case.cedar", text);
    let reading = source::read(std::slice::from_ref(&file));
    assert!(reading.faults.is_empty(), "{:?}\n{text}", reading.faults);
    let scopes = reading.policies.iter().map(|parsed| Scope::of(&parsed.policy)).collect();
    let rule = |parsed: source::Parsed| Rule {
        effect: parsed.info.effect,
        show: parsed.info.show,
        reference: PolicyRef { key: parsed.info.key, name: parsed.info.name, version: 0 },
        deny_message: None,
        reads: Reads::of(parsed.policy.non_scope_constraints()),
        condition: parsed.policy.non_scope_constraints_arc().map(Arc::clone),
        source: file.clone(),
    };
    (reading.policies.into_iter().map(rule).collect(), scopes)
}

fn ours(text: &str, graph: &Graph, asked: &[Asked]) -> Vec<Found> {
    let (rules, scopes) = rules(text);
    let index = Index::new(scopes, ACTIONS.iter().map(|action| graph.place(action)));
    let entities = graph.core();
    let answer = |asked: &Asked| {
        let (principal, resource) = (graph.place(asked.principal), graph.place(asked.resource));
        let action = parse(asked.action);
        let candidates = index.candidates(&principal, &action, &resource);
        let known = |uid: &EntityUID| EntityUIDEntry::known(uid.clone(), None);
        let pairs = asked.context.as_object().unwrap().iter().map(|(k, v)| (k.as_str().into(), value(v)));
        let context = Context::Value(Arc::new(pairs.collect()));
        let request = Request::new_unchecked(
            known(&principal.uid),
            known(&action),
            known(&resource.uid),
            Some(context),
        );
        evaluate(&rules, &candidates, request, &entities)
    };
    asked.iter().map(answer).collect()
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
        let (rules, _) = rules(&text);
        ours(&text, &case.graph, &case.asked).iter().map(|found| conclude(&rules, found)).collect()
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
