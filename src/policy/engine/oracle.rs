//! The engine against plain `cedar_policy::Authorizer`: the same decision, the same determining
//! policies and the same failing ones, over random hierarchies, action groups, absent attributes,
//! missing entities, ill-typed conditions and sets of 0 to 60 policies; and Cedar's laws.
//!
//! `WICKET_ORACLE_CASES` raises the number of cases. A failing case is shrunk and printed whole.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::str::FromStr;

use cedar_policy_core::ast::{Context, Entity, EntityUID, EntityUIDEntry, PartialValue, Value};
use cedar_policy_core::entities::{NoEntitiesSchema, TCComputation};
use serde_json::{Value as Json, json};

use super::*;
use crate::policy::index::{Index, Place, Scope};
use crate::policy::source;

/// Requests that are compared in the default run.
const CASES: usize = 20_000;
/// Requests for each generated set.
const REQUESTS: usize = 8;

fn cases() -> usize {
    option_env!("WICKET_ORACLE_CASES").and_then(|n| n.parse().ok()).unwrap_or(CASES)
}

/// A small generator of numbers (SplitMix64), so that a seed names a case.
pub(in crate::policy) struct Dice(pub(in crate::policy) u64);

impl Dice {
    pub(in crate::policy) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }

    pub(in crate::policy) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub(in crate::policy) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }
}

const PRINCIPALS: [&str; 6] = ["U::\"a\"", "U::\"b\"", "U::\"c\"", "V::\"a\"", "G::\"x\"", "U::\"ghost\""];
const GROUPS: [&str; 5] = ["G::\"x\"", "G::\"y\"", "G::\"z\"", "O::\"o\"", "G::\"nobody\""];
const RESOURCES: [&str; 5] = ["R::\"1\"", "R::\"2\"", "S::\"1\"", "F::\"top\"", "R::\"ghost\""];
const FOLDERS: [&str; 4] = ["F::\"top\"", "F::\"sub\"", "S::\"1\"", "F::\"none\""];
const ACTIONS: [&str; 5] =
    ["Action::\"get\"", "Action::\"put\"", "N::Action::\"get\"", "Action::\"solo\"", "Action::\"list\""];
const ACTION_GROUPS: [&str; 5] =
    ["Action::\"read\"", "Action::\"write\"", "Action::\"all\"", "N::Action::\"read\"", "Action::\"get\""];

/// A hierarchy: direct parents of each entity that exists, with its attributes.
#[derive(Debug, Clone, Default)]
struct Graph {
    parents: BTreeMap<String, BTreeSet<String>>,
    attributes: BTreeMap<String, BTreeMap<String, Json>>,
}

impl Graph {
    fn random(dice: &mut Dice) -> Self {
        let mut graph = Self::default();
        // Edges go from earlier layers to later ones only, so there is no circle.
        let layers: [&[&str]; 3] = [
            &[
                "U::\"a\"",
                "U::\"b\"",
                "U::\"c\"",
                "V::\"a\"",
                "R::\"1\"",
                "R::\"2\"",
                "Action::\"get\"",
                "Action::\"put\"",
                "N::Action::\"get\"",
                "Action::\"solo\"",
                "Action::\"list\"",
            ],
            &[
                "G::\"x\"",
                "G::\"y\"",
                "F::\"sub\"",
                "S::\"1\"",
                "Action::\"read\"",
                "Action::\"write\"",
                "N::Action::\"read\"",
            ],
            &["G::\"z\"", "O::\"o\"", "F::\"top\"", "Action::\"all\""],
        ];
        for (depth, layer) in layers.iter().enumerate() {
            for uid in *layer {
                let mut parents = BTreeSet::new();
                for above in layers.iter().skip(depth + 1).flat_map(|l| l.iter()) {
                    let same_kind = above.contains("Action") == uid.contains("Action");
                    if same_kind && dice.one_in(3) {
                        parents.insert((*above).to_owned());
                    }
                }
                let exists = uid.contains("Action") || !dice.one_in(12);
                if exists {
                    graph.parents.insert((*uid).to_owned(), parents);
                    graph.attributes.insert((*uid).to_owned(), attributes(dice));
                }
            }
        }
        graph
    }

    /// All that an entity stands in, by this test's own closure.
    fn ancestors(&self, uid: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = vec![uid];
        while let Some(next) = open.pop() {
            for parent in self.parents.get(next).into_iter().flatten() {
                if found.insert(parent.clone()) {
                    open.push(parent);
                }
            }
        }
        found
    }

    fn place(&self, uid: &str) -> Place {
        Place { uid: parse(uid), ancestors: self.ancestors(uid).iter().map(|a| parse(a)).collect() }
    }

    fn core(&self) -> Entities {
        let made = self.parents.keys().map(|uid| {
            let attributes = self.attributes[uid].iter().filter(|_| !uid.contains("Action"));
            let attributes = attributes.map(|(k, v)| (k.as_str().into(), PartialValue::Value(value(v))));
            let place = self.place(uid);
            Arc::new(Entity::new_with_attr_partial_value(
                place.uid,
                attributes,
                HashSet::new(),
                place.ancestors,
                [],
            ))
        });
        Entities::new()
            .add_entities(
                made,
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .unwrap()
    }

    fn plain(&self) -> cedar_policy::Entities {
        let reference = |uid: &str| {
            let (kind, id) = uid.rsplit_once("::").unwrap();
            json!({"type": kind, "id": id.trim_matches('"')})
        };
        let entity = |(uid, parents): (&String, &BTreeSet<String>)| {
            let attributes = if uid.contains("Action") { json!({}) } else { json!(self.attributes[uid]) };
            let parents: Vec<Json> = parents.iter().map(|p| reference(p)).collect();
            json!({"uid": reference(uid), "attrs": attributes, "parents": parents})
        };
        let all: Vec<Json> = self.parents.iter().map(entity).collect();
        cedar_policy::Entities::from_json_value(json!(all), None).unwrap()
    }
}

fn parse(uid: &str) -> EntityUID {
    uid.parse().unwrap()
}

fn attributes(dice: &mut Dice) -> BTreeMap<String, Json> {
    let mut attributes = BTreeMap::new();
    if !dice.one_in(4) {
        attributes.insert("level".to_owned(), json!(dice.below(6)));
    }
    if !dice.one_in(4) {
        attributes.insert("name".to_owned(), json!(dice.pick(&["a", "ab", "b", "1.5"])));
    }
    if dice.one_in(8) {
        attributes.insert("level".to_owned(), json!("five"));
    }
    attributes
}

fn context(dice: &mut Dice) -> Json {
    let mut context = attributes(dice);
    if !dice.one_in(3) {
        context.insert("deep".to_owned(), json!(attributes(dice)));
    }
    if !dice.one_in(3) {
        context.insert("tags".to_owned(), json!(["a", "b"][..dice.below(3)].to_vec()));
    }
    json!(context)
}

/// A Cedar value out of plain JSON, by this test's own reading.
fn value(json: &Json) -> Value {
    match json {
        Json::Bool(truth) => Value::from(*truth),
        Json::Number(number) => Value::from(number.as_i64().unwrap()),
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::set(items.iter().map(value), None),
        Json::Object(members) => Value::record(members.iter().map(|(k, v)| (k.as_str(), value(v))), None),
        Json::Null => panic!("no null in Cedar"),
    }
}

fn scope(dice: &mut Dice, name: &str, leaves: &[&str], above: &[&str], kinds: &[&str]) -> String {
    match dice.below(8) {
        0..=2 => name.to_owned(),
        3 => format!("{name} == {}", dice.pick(leaves)),
        4 => format!("{name} in {}", dice.pick(leaves)),
        5 => format!("{name} in {}", dice.pick(above)),
        6 => format!("{name} is {}", dice.pick(kinds)),
        _ => format!("{name} is {} in {}", dice.pick(kinds), dice.pick(above)),
    }
}

fn policy(dice: &mut Dice, number: usize) -> String {
    let effect = if dice.below(5) < 3 { "permit" } else { "forbid" };
    let principal = scope(dice, "principal", &PRINCIPALS, &GROUPS, &["U", "V", "G"]);
    let action = match dice.below(6) {
        0 => "action".to_owned(),
        1 | 2 => format!("action == {}", dice.pick(&ACTIONS)),
        3 => format!("action in {}", dice.pick(&ACTION_GROUPS)),
        4 => format!("action in [{}, {}]", dice.pick(&ACTIONS), dice.pick(&ACTION_GROUPS)),
        _ => format!(
            "action in [{}, {}, {}]",
            dice.pick(&ACTIONS),
            dice.pick(&ACTIONS),
            dice.pick(&ACTION_GROUPS)
        ),
    };
    let resource = scope(dice, "resource", &RESOURCES, &FOLDERS, &["R", "S", "F"]);
    let mut text = format!("@id(\"p{number}\") {effect}({principal}, {action}, {resource})");
    for _ in 0..dice.below(3) {
        let word = if dice.one_in(3) { "unless" } else { "when" };
        let _ = write!(text, " {word} {{ {} }}", truth_text(dice, 3));
    }
    text + ";\n"
}

fn truth_text(dice: &mut Dice, depth: usize) -> String {
    if depth > 0 && dice.one_in(3) {
        let (a, b) = (truth_text(dice, depth - 1), truth_text(dice, depth - 1));
        return match dice.below(5) {
            0 => format!("({a}) && ({b})"),
            1 => format!("({a}) || ({b})"),
            2 => format!("!({a})"),
            3 => format!("if {a} then {b} else {}", truth_text(dice, depth - 1)),
            _ => format!("({a}) == ({b})"),
        };
    }
    let holder = *dice.pick(&["context", "principal", "resource", "context.deep"]);
    let k = dice.below(6);
    match dice.below(18) {
        0 => format!("{holder} has level"),
        1 => format!("{holder} has level && {holder}.level > {k}"),
        2 => format!("{holder}.level <= {k}"),
        3 => format!("{holder} has name && {holder}.name like \"a*\""),
        4 => format!("{holder}.name == \"ab\""),
        5 => format!("principal in {}", dice.pick(&GROUPS)),
        6 => format!("resource in [{}, {}]", dice.pick(&FOLDERS), dice.pick(&RESOURCES)),
        7 => format!("action in {}", dice.pick(&ACTION_GROUPS)),
        8 => format!("{} in {}", dice.pick(&PRINCIPALS), dice.pick(&GROUPS)),
        9 => format!("principal is {}", dice.pick(&["U", "V", "G"])),
        10 => "context has tags && context.tags.contains(\"a\")".to_owned(),
        11 => "context.tags.containsAny([\"a\", \"c\"])".to_owned(),
        12 => format!("context has deep.level && context.deep.level + {k} > 6"),
        13 => format!("context.level + {} > 0", i64::MAX - 2),
        14 => format!("{}.level > {k}", dice.pick(&PRINCIPALS)),
        15 => "decimal(context.name).lessThan(decimal(\"2.0\"))".to_owned(),
        16 => format!("{holder}.level"),
        _ => dice.pick(&["true", "false", "context == {}", "principal == resource"]).to_string(),
    }
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
        principal: *dice.pick(&PRINCIPALS),
        action: *dice.pick(&ACTIONS),
        resource: *dice.pick(&RESOURCES),
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
        let after = decide(&[&case.policies[..], &[extra.clone()]].concat(), &case);
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
