//! A structured policy and its Cedar text decide alike: what the compiler makes, decided by the engine, is
//! what a reference says that was written from the specification's words; over random sets of policies with
//! every kind of condition and random calls, what is unknown and what cannot be read included. The same sets
//! keep Cedar's laws, and plain `cedar_policy::Authorizer` decides them alike.
//!
//! A set that differs is made smaller, policy by policy and condition by condition, and printed whole.

mod generate;
mod lab;
mod reference;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value as Json;

use self::lab::{Lab, TOOLS};
use self::reference::{Call, Says, says};
use super::{Ground, compile};
use crate::connector::{Resource, resource_of};
use crate::model::{
    AgentId, CounterKey, Decision, GroupName, PolicyEffect, PolicyId, PolicyKey, PolicyMode, PolicyText,
    Reason, SourceFile, StoredPolicy, StructuredPolicy, Timestamp,
};
use crate::policy::bundle::oracle::whole;
use crate::policy::oracle::Dice;
use crate::policy::{Bundle, Question, Scenario, Sources};

/// Calls that are decided in the default run.
const CALLS: u64 = 15_000;
const CALLS_OF_A_SET: usize = 60;
const THREADS: u64 = 2;

#[expect(clippy::disallowed_methods, reason = "a knob of this test alone")]
fn knob(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|number| number.parse().ok())
}

/// How often what came of the calls, to show that the generator is not too tame.
#[derive(Debug, Default)]
struct Tally {
    calls: u64,
    allowed: u64,
    forbidden: u64,
    blind: u64,
    /// Calls that plain Cedar decided too.
    plain: u64,
    policies: u64,
    /// Policies that the compiler or strict validation refused.
    refused: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.calls, other.calls),
            (&mut self.allowed, other.allowed),
            (&mut self.forbidden, other.forbidden),
            (&mut self.blind, other.blind),
            (&mut self.plain, other.plain),
            (&mut self.policies, other.policies),
            (&mut self.refused, other.refused),
        ];
        pairs.into_iter().for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// A policy with its key.
#[derive(Clone)]
struct Drawn {
    key: PolicyKey,
    form: Json,
}

impl Drawn {
    fn policy(&self) -> StructuredPolicy {
        serde_json::from_value(self.form.clone()).unwrap_or_else(|error| panic!("{error}: {}", self.form))
    }
}

/// The keys that every set may count hits of, whether it has them or not.
fn keys() -> BTreeSet<PolicyKey> {
    (0..20).map(|number| format!("p{number}").parse().unwrap()).collect()
}

/// The text of these policies; none where the compiler refuses one.
fn text_of(drawn: &[Drawn]) -> Option<String> {
    let (connectors, keys) = (lab::connectors(), keys());
    let ground = Ground { connectors: &connectors, policies: &keys };
    drawn
        .iter()
        .map(|one| compile(&one.policy(), &one.key, ground).ok().map(|compiled| compiled.text))
        .collect()
}

/// Counters exist of policies that do; a forbid that speaks of nothing else declares the others.
const DECLARE: &str = "@id(\"other\") forbid (principal, action == MailMCP::Action::\"send\", resource)\n\
                       when { context.args has path && context.args.path == \"never\" };\n";

fn build(text: &str, previous: Option<&Bundle>) -> Result<Bundle, String> {
    let policies = vec![SourceFile::new("policies/a.cedar", text)];
    let sources = Sources { show: Default::default(), policies, cases: None, connectors: lab::connectors() };
    let built = match previous {
        Some(previous) => Bundle::rebuild(&sources, previous),
        None => Bundle::build(&sources),
    };
    built.map_err(|faults| faults.iter().map(|fault| format!("{fault}\n")).collect())
}

/// Draws policies until there are so many that load, each by itself.
fn draw(dice: &mut Dice<'_>, tally: &mut Tally) -> (Vec<Drawn>, Bundle) {
    let wanted = 1 + dice.below(7);
    let mut drawn: Vec<Drawn> = Vec::new();
    let mut bundle = build(DECLARE, None).unwrap();
    while drawn.len() < wanted {
        let number = drawn.len();
        let form = generate::policy(dice, number, number + 1);
        drawn.push(Drawn { key: format!("p{number}").parse().unwrap(), form });
        tally.policies += 1;
        let built = text_of(&drawn).map(|text| build(&format!("{text}{DECLARE}"), Some(&bundle)));
        match built {
            Some(Ok(next)) => bundle = next,
            refused => {
                // Strict validation refuses what could never match, and that alone.
                let never = refused.as_ref().is_none_or(|why| {
                    why.as_ref().is_err_and(|why| why.contains("never") || why.contains("impossible"))
                });
                assert!(
                    never,
                    "{}\n{:?}\n{:?}",
                    drawn[number].form,
                    text_of(&drawn),
                    refused.map(Result::err)
                );
                tally.refused += 1;
                drawn.pop();
            }
        }
    }
    (drawn, bundle)
}

/// One call: who, what, when, from where, after what; on a resource of which more may be known.
struct Drawing {
    scenario: Scenario,
    resource: Resource,
    tool: &'static Lab,
}

fn call(dice: &mut Dice<'_>, bundle: &Bundle) -> Drawing {
    let tool = dice.pick(&TOOLS);
    let start = dice.pick(&["2026-11-22T00:00:00Z", "2027-03-27T00:00:00Z", "2028-02-28T00:00:00Z"]);
    let start = Timestamp::parse(start).unwrap();
    let within = *dice.pick(&[0, 1, 1_800_000, 3_599_999]);
    let at = start.plus_millis(3_600_000 * i64::try_from(dice.below(120)).unwrap() + within);
    let mut scenario = Scenario::new(&format!("{}__{}", tool.service, tool.name), at);
    let unreadable_in = if dice.one_in(4) { 5 } else { usize::MAX };
    scenario.arguments = Json::Object(generate::arguments(dice, tool.arguments, unreadable_in));
    scenario.member = dice.pick(&generate::MEMBERS).parse().unwrap();
    for group in generate::GROUPS {
        if dice.one_in(2) {
            scenario.groups.insert(GroupName::parse(group).unwrap());
        }
    }
    scenario.ip = dice.pick(&generate::ADDRESSES).parse().unwrap();
    for key in bundle.world.counters.iter() {
        for counters in [&mut scenario.history.session, &mut scenario.history.member] {
            if dice.one_in(2) {
                counters.insert(CounterKey::clone(key), i64::try_from(dice.below(5)).unwrap());
            }
        }
    }
    let connector = bundle.connectors().get(tool.service).unwrap();
    let mut resource = resource_of(connector, connector.action(tool.name).unwrap(), &scenario.arguments);
    if dice.one_in(2) {
        generate::harvest(dice, &mut resource);
    }
    Drawing { scenario, resource, tool }
}

impl Drawing {
    /// Puts the call, on its resource, to `answer`.
    fn ask<T>(&self, bundle: &Bundle, answer: impl FnOnce(&Question<'_>) -> T) -> T {
        self.scenario
            .ask(bundle, |question| answer(&Question { resource: &self.resource, ..*question }))
            .unwrap()
    }

    fn facts(&self) -> Call<'_> {
        let scenario = &self.scenario;
        Call {
            tool: self.tool,
            member: scenario.member,
            groups: &scenario.groups,
            arguments: &scenario.arguments,
            resource: &self.resource,
            ip: scenario.ip,
            millis: scenario.at.as_millis(),
            history: &scenario.history,
        }
    }
}

/// What a set decides, in one form.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    allowed: bool,
    reason: Reason,
    determining: BTreeSet<PolicyKey>,
    errors: BTreeSet<PolicyKey>,
}

fn said(decision: &Decision) -> Said {
    Said {
        allowed: decision.allowed,
        reason: decision.reason,
        determining: decision.determining.iter().map(|policy| policy.key.clone()).collect(),
        errors: decision.errors.iter().map(|error| error.policy.clone()).collect(),
    }
}

/// What the specification says of the set: forbid wins, then what cannot be judged, then a permit.
fn expected(drawn: &[Drawn], call: &Drawing) -> Said {
    let facts = call.facts();
    let all: Vec<(&Drawn, PolicyEffect, Says)> = drawn
        .iter()
        .map(|one| {
            let policy = one.policy();
            (one, policy.effect, says(&policy, &facts))
        })
        .collect();
    let matching = |effect| -> BTreeSet<PolicyKey> {
        let matching = all.iter().filter(|(_, other, says)| *other == effect && says.matches);
        matching.map(|(one, ..)| one.key.clone()).collect()
    };
    let mut errors: BTreeSet<PolicyKey> =
        all.iter().filter(|(.., says)| says.blind).map(|(one, ..)| one.key.clone()).collect();
    if call.tool.name == "send" && call.scenario.arguments.get("path").is_some_and(|path| !path.is_string()) {
        errors.insert("other".parse().unwrap());
    }
    let (forbids, permits) = (matching(PolicyEffect::Forbid), matching(PolicyEffect::Permit));
    let (reason, determining) = match (forbids.is_empty(), errors.is_empty(), permits.is_empty()) {
        (false, ..) => (Reason::Forbidden, forbids),
        (true, false, _) => (Reason::EvaluationError, BTreeSet::new()),
        (true, true, true) => (Reason::NoPermit, BTreeSet::new()),
        (true, true, false) => (Reason::Permitted, permits),
    };
    Said { allowed: reason == Reason::Permitted, reason, determining, errors }
}

/// Both answers, where they differ.
fn differs(drawn: &[Drawn], bundle: &Bundle, call: &Drawing) -> Option<(Said, Said)> {
    let ours = said(&call.ask(bundle, |question| bundle.decide(question)));
    let theirs = expected(drawn, call);
    (ours != theirs).then_some((ours, theirs))
}

/// As little of the set as still differs, told whole.
fn told(drawn: &[Drawn], call: &Drawing) -> String {
    let still = |drawn: &[Drawn]| {
        let bundle = build(&format!("{}{DECLARE}", text_of(drawn)?), None).ok()?;
        differs(drawn, &bundle, call)
    };
    let mut small = drawn.to_vec();
    let mut at = 0;
    while at < small.len() {
        let without: Vec<Drawn> = [&small[..at], &small[at + 1..]].concat();
        if still(&without).is_some() {
            small = without;
        } else {
            at += 1;
        }
    }
    for number in 0..small.len() {
        let members: Vec<String> = small[number].form.as_object().unwrap().keys().cloned().collect();
        for member in members {
            let mut without = small.clone();
            without[number].form.as_object_mut().unwrap().remove(&member);
            let whole = serde_json::from_value::<StructuredPolicy>(without[number].form.clone()).is_ok();
            if whole && still(&without).is_some() {
                small = without;
            }
        }
    }
    let forms: String = small.iter().map(|one| format!("{}\n", one.form)).collect();
    format!(
        "{forms}{}\nours, then the reference: {:?}\n{:?}\non {:?}",
        text_of(&small).unwrap_or_default(),
        still(&small),
        call.scenario,
        call.resource
    )
}

fn one_set(seed: u64) -> Tally {
    let dice = &mut Dice::new(seed.wrapping_mul(0x9e6c_63d0_876a_3f35));
    let mut tally = Tally::default();
    let (drawn, bundle) = draw(dice, &mut tally);
    // Plain Cedar is slow to read a schema: some sets are enough.
    let plain = seed.is_multiple_of(4).then(|| whole::Plain::of(&bundle));
    for _ in 0..CALLS_OF_A_SET {
        let call = call(dice, &bundle);
        assert!(differs(&drawn, &bundle, &call).is_none(), "{}", told(&drawn, &call));
        let decision = call.ask(&bundle, |question| bundle.decide(question));
        tally.calls += 1;
        tally.allowed += u64::from(decision.allowed);
        tally.forbidden += u64::from(decision.reason == Reason::Forbidden);
        tally.blind += u64::from(!decision.errors.is_empty());
        if let Some(plain) =
            plain.as_ref().filter(|_| decision.errors.is_empty() && call.resource.unreadable.is_empty())
            && let Some(held) = held(&call)
        {
            let theirs = call.ask(&bundle, |question| plain.decide(question, &call.scenario, &held));
            let determining: BTreeSet<PolicyKey> =
                decision.determining.iter().map(|policy| policy.key.clone()).collect();
            assert_eq!((decision.allowed, determining), theirs, "{:?}\n{:?}", text_of(&drawn), call.scenario);
            tally.plain += 1;
        }
    }
    laws(dice, &drawn, &bundle);
    stored_alike(dice, &drawn, &bundle);
    tally
}

/// The arguments as plain Cedar is given them; none where some cannot be held.
fn held(call: &Drawing) -> Option<Json> {
    fn members(declared: &[(&str, lab::Kind)], given: &Json) -> Option<Json> {
        let mut held = serde_json::Map::new();
        for (name, kind) in declared {
            if let Some(given) = given.get(name) {
                held.insert((*name).to_owned(), one(*kind, given)?);
                let length = match (kind, given) {
                    (lab::Kind::Text, Json::String(text)) => Some(text.chars().count()),
                    (lab::Kind::Texts | lab::Kind::Longs, Json::Array(items)) => Some(items.len()),
                    _ => None,
                };
                held.extend(length.map(|length| (format!("{name}#length"), serde_json::json!(length))));
            }
        }
        Some(Json::Object(held))
    }
    fn one(kind: lab::Kind, given: &Json) -> Option<Json> {
        match kind {
            lab::Kind::Record(declared) => given.is_object().then(|| members(declared, given))?,
            lab::Kind::Decimal => {
                let units = reference::decimal(given)?;
                let (sign, units) = (if units < 0 { "-" } else { "" }, units.abs());
                let text = format!("{sign}{}.{:04}", units / 10_000, units % 10_000);
                Some(serde_json::json!({"__extn": {"fn": "decimal", "arg": text}}))
            }
            _ => reference::readable(kind, given).then(|| given.clone()),
        }
    }
    members(call.tool.arguments, &call.scenario.arguments)
}

/// A stored policy as this one was drawn.
fn stored(one: &Drawn, number: u128, mode: PolicyMode) -> Arc<StoredPolicy> {
    Arc::new(StoredPolicy {
        id: PolicyId::from_uuid(uuid::Uuid::from_u128(number + 1)),
        agent: AgentId::from_uuid(uuid::Uuid::nil()),
        member: None,
        key: one.key.clone(),
        version: 1,
        mode,
        text: PolicyText::Structured(Box::new(one.policy())),
    })
}

/// Stored, the policies decide as in a file; one that is switched off, or shadows, is as if it were not there.
fn stored_alike(dice: &mut Dice<'_>, drawn: &[Drawn], bundle: &Bundle) {
    let base = build(DECLARE, None).unwrap();
    let mut all: Vec<Arc<StoredPolicy>> =
        (0..).zip(drawn).map(|(number, one)| stored(one, number, PolicyMode::Enforced)).collect();
    let other = Drawn { key: "p18".parse().unwrap(), form: generate::policy(dice, 18, 1) };
    let mode = *dice.pick(&[PolicyMode::Off, PolicyMode::Shadow]);
    all.push(stored(&other, 18, mode));
    let set = Bundle::for_agent(&base, &all, None);
    // A shadow may be one that strict validation refuses: it decides nothing either way.
    let own = set.broken.iter().filter(|broken| broken.key != other.key).count();
    assert_eq!(own, 0, "{:?}\n{:?}", set.broken, text_of(drawn));
    for _ in 0..CALLS_OF_A_SET / 3 {
        let call = call(dice, bundle);
        let [filed, stored] =
            [bundle, &set.bundle].map(|bundle| said(&call.ask(bundle, |question| bundle.decide(question))));
        assert_eq!(filed, stored, "{mode:?} {}\n{:?}\n{:?}", other.form, text_of(drawn), call.scenario);
    }
}

/// One more forbid allows nothing, one more permit denies nothing that it does not fail on, order is nothing.
fn laws(dice: &mut Dice<'_>, drawn: &[Drawn], bundle: &Bundle) {
    let mut more = drawn.to_vec();
    more.push(Drawn { key: "p19".parse().unwrap(), form: generate::policy(dice, 19, 1) });
    let with = |drawn: &[Drawn]| build(&format!("{}{DECLARE}", text_of(drawn)?), Some(bundle)).ok();
    let more_bundle = with(&more);
    more.rotate_right(1);
    more.reverse();
    let mixed = with(&more);
    assert_eq!(more_bundle.is_some(), mixed.is_some());
    let (Some(more_bundle), Some(mixed)) = (more_bundle, mixed) else { return };
    let permit = more.iter().any(|one| one.key.as_str() == "p19" && one.form["effect"] == "permit");
    for _ in 0..CALLS_OF_A_SET / 3 {
        let call = call(dice, &more_bundle);
        let [before, after, otherwise] =
            [bundle, &more_bundle, &mixed].map(|bundle| call.ask(bundle, |question| bundle.decide(question)));
        let fails = after.errors.iter().any(|error| error.policy.as_str() == "p19");
        if permit && !fails {
            assert!(!before.allowed || after.allowed, "a permit closed: {more:?}", more = text_of(&more));
        } else {
            assert!(before.allowed || !after.allowed, "a forbid opened: {more:?}", more = text_of(&more));
        }
        assert_eq!(said(&after), said(&otherwise), "order decides: {:?}", text_of(&more));
    }
}

#[test]
fn a_form_and_its_cedar_decide_alike() {
    let enough = knob("WICKET_TEST_STRUCTURED").unwrap_or(CALLS);
    let first = knob("WICKET_TEST_SEED").unwrap_or(0);
    let (next, sum) = (AtomicU64::new(first), Arc::new(Mutex::new(Tally::default())));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while sum.lock().unwrap().calls < enough {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    let tally = std::panic::catch_unwind(|| one_set(seed));
                    let tally = tally.unwrap_or_else(|_| panic!("seed {seed}"));
                    sum.lock().unwrap().add(&tally);
                }
            });
        }
    });
    let all = sum.lock().unwrap();
    println!("{all:?}");
    let often = [all.allowed, all.forbidden, all.blind * 4, all.plain];
    assert!(often.iter().all(|count| *count >= enough / 20), "too tame a generator: {all:?}");
    assert!(all.refused * 2 < all.policies, "too many policies are refused: {all:?}");
}
