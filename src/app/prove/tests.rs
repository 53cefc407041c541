use super::*;
use crate::model::SourceFile;
use crate::policy::Bundle;
use crate::policy::fixtures::{bundle, connectors};
use crate::policy::prove::{Answer, Idleness, Invariants, Progress, Prover, Sampler, sampled};

/// A prover; where there is no solver a loud skip, which is red where everything is required.
fn prover(test: &str) -> Option<Prover<'static, Cvc5>> {
    let environment = crate::app::config::environment();
    match find(&environment) {
        Ok(path) => {
            let solver = Cvc5::new(path, Duration::from_secs(10));
            Some(Prover::new(solver, |_: Progress| true).unwrap())
        }
        Err(why) => {
            let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
            let required = set("WICKET_TEST_REQUIRE_ALL").is_some();
            assert!(!required, "REQUIRE_ALL is set, but {test} cannot run: {why}");
            eprintln!("SKIPPED {test}: {why}");
            if let Some(dir) = set("WICKET_TEST_SKIPPED_DIR") {
                std::fs::write(Path::new(dir).join(test), &why).unwrap();
            }
            None
        }
    }
}

fn invariants(text: &str) -> Invariants {
    let source = SourceFile::new("policies/invariants.toml", &format!("[[invariant]]\nname = \"x\"\n{text}"));
    Invariants::read(&source, &connectors()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn asked(prover: &mut Prover<'_, Cvc5>, set: &Bundle, text: &str) -> Answer {
    let invariants = invariants(text);
    prover.invariant(set, &invariants, &invariants.all()[0])
}

/// `holds`, the counterexamples in words, or what is unknown.
fn said(answer: &Answer) -> String {
    let calls = answer.counterexamples.iter().map(|told| format!("{told}\n"));
    let unknown = answer.unknown.iter().map(|(tool, why)| format!("unknown for {tool}: {why}\n"));
    let said: String = calls.chain(unknown).collect();
    if said.is_empty() { "holds".to_owned() } else { said }
}

const OFFICE: &str = r#"
    @id("all") permit(principal, action, resource);
    @id("ops") forbid(principal, action in Wicket::Action::"destructive", resource)
    unless { principal in Wicket::Group::"ops" };
    @id("hours") forbid(principal, action in Wicket::Action::"write", resource)
    unless {
      [1, 2, 3, 4, 5].contains(context.time.zones["Europe/Berlin"].dayOfWeek) &&
      context.time.zones["Europe/Berlin"].hour >= 9 && context.time.zones["Europe/Berlin"].hour < 17
    };
    @id("net") forbid(principal, action == NotesMCP::Action::"add", resource)
    unless { context.caller.ip.isInRange(ip("10.0.0.0/8")) };
    @id("breaker") forbid(principal, action, resource) when { context.session.denials + context.member.denials >= 5 };
"#;

#[test]
fn invariants_hold_of_every_call() {
    let Some(mut prover) = prover("prove-holds") else { return };
    let set = bundle(OFFICE);
    let table = [
        "never = \"allow\"\ntiers = [\"destructive\"]\nnot_groups = [\"ops\"]",
        // Berlin is one hour ahead of UTC, or two.
        "never = \"allow\"\ntiers = [\"write\"]\nwhen = \"context.time.hour >= 16 || context.time.hour < 7\"",
        "never = \"allow\"\ntiers = [\"write\"]\nwhen = '''context.time.dayOfWeek == 0 && context.time.hour < 22'''",
        // The same day by its number: 2026-11-22 is a Sunday.
        "never = \"allow\"\ntiers = [\"write\"]\nwhen = '''context.time.epochDay == 20779 && context.time.hour == 12'''",
        // The last day is 2059-12-31.
        "never = \"allow\"\nwhen = \"context.time.epochDay > 32871 || context.time.epochDay < 18262\"",
        "never = \"allow\"\ntools = [\"notes__add\"]\nunless = '''context.caller.ip.isInRange(ip(\"10.0.0.0/8\"))'''",
        "never = \"allow\"\nwhen = \"context.member.denials >= 5\"",
        "never = \"allow\"\nwhen = \"context.member.denials >= 3 && context.session.denials > 1\"",
        "never = \"deny\"\ntiers = [\"read\"]\nwhen = '''context.session.denials == 0 && context.member.denials <= 4'''",
        "must = '''forbid(principal, action == DepotMCP::Action::\"delete_file\", resource) when { !(principal in Wicket::Group::\"ops\") };'''",
    ];
    for text in table {
        assert_eq!(said(&asked(&mut prover, &set, text)), "holds", "{text}");
    }
}

#[test]
fn what_does_not_hold_is_told_as_a_call() {
    let Some(mut prover) = prover("prove-refutes") else { return };
    let set = bundle(OFFICE);
    let table: &[(&str, &[&str])] = &[
        (
            "never = \"allow\"\ntiers = [\"destructive\"]",
            &["depot__delete_file", "group `ops`", "allowed by `all`"],
        ),
        (
            "never = \"allow\"\ntools = [\"depot__pay\"]\nwhen = \"context.time.hour >= 15\"",
            &["at 15:", "at 16:", "in Europe/Berlin)"],
        ),
        ("never = \"allow\"\ntools = [\"notes__add\"]", &["from 10."]),
        ("never = \"deny\"\ntiers = [\"read\"]", &["denials", "denied by `breaker`"]),
        (
            "never = \"allow\"\ntools = [\"depot__get_file\"]\nwhen = '''resource in DepotMCP::Owner::\"acme\" && context.args has path && context.args.path like \"/etc/*\"'''",
            &["\"owner\":\"acme\"", "/etc/", "DepotMCP::Repository::\"acme/"],
        ),
        (
            "never = \"allow\"\ntools = [\"depot__get_file\"]\nwhen = '''resource == DepotMCP::Repository::\"acme/site\"'''",
            &["\"repo\":\"site\""],
        ),
        (
            "never = \"allow\"\ntools = [\"depot__pay\"]\nwhen = '''context.args has amount && context.args.amount.greaterThan(decimal(\"99.5\"))'''",
            &["\"amount\":"],
        ),
    ];
    for (text, parts) in table {
        let answer = asked(&mut prover, &set, text);
        let said = said(&answer);
        assert!(!answer.counterexamples.is_empty() && answer.unknown.is_empty(), "{text}\n{said}");
        for part in *parts {
            assert!(said.contains(part), "`{part}` for\n{text}\n{said}");
        }
        for told in &answer.counterexamples {
            let (call, arguments) = (&told.scenario.tool, &told.scenario.arguments);
            let shown = if arguments.is_null() { "{}".to_owned() } else { arguments.to_string() };
            assert!(told.to_string().starts_with(&format!("{call} {shown}\n")), "{told}");
            let json = serde_json::to_value(told).unwrap();
            assert_eq!((&json["call"], &json["arguments"]), (&serde_json::json!(call), arguments));
            let decided = told.scenario.ask(&set, |question| set.decide(question)).unwrap();
            assert_eq!(json["allowed"], decided.allowed, "{told}");
        }
    }
}

/// Files that only forbid: nothing at all is allowed by them, so that only forbids can be asked about.
#[test]
fn a_guardrail_is_kept_by_forbids_alone() {
    let Some(mut prover) = prover("prove-guardrail") else { return };
    let forbid = "@id(\"ops\") forbid(principal, action in Wicket::Action::\"destructive\", resource) unless { principal in Wicket::Group::\"ops\" };";
    let ask =
        |set: &str| format!("never = \"allow\"\n{set}tiers = [\"destructive\"]\nnot_groups = [\"ops\"]");
    let guardrail = ask("guardrail = true\n");
    assert_eq!(said(&asked(&mut prover, &bundle(forbid), &guardrail)), "holds");
    let weaker = bundle(&forbid.replace("unless {", "unless { context.session.calls < 3 ||"));
    let answer = asked(&mut prover, &weaker, &guardrail);
    let found = said(&answer);
    assert!(answer.unknown.is_empty() && found.contains("forbidden by nothing"), "{found}");
    // Without the word it holds, since nothing permits anything.
    assert_eq!(said(&asked(&mut prover, &weaker, &ask(""))), "holds");
    // And a call that stays open must be met by no forbid.
    let open = |tier: &str| format!("never = \"deny\"\nguardrail = true\ntiers = [\"{tier}\"]");
    assert_eq!(said(&asked(&mut prover, &weaker, &open("read"))), "holds");
    assert!(said(&asked(&mut prover, &weaker, &open("destructive"))).contains("denied by `ops`"));
}

#[test]
fn a_forbid_that_fails_denies_in_the_proof_as_at_the_gate() {
    let Some(mut prover) = prover("prove-errors") else { return };
    let set = bundle(
        r#"
        @id("all") permit(principal, action, resource);
        @id("sum") forbid(principal, action == DepotMCP::Action::"search", resource)
        when { context.args has limit && context.args.limit + 1 > 100 };
    "#,
    );
    // Plain Cedar would let the greatest number pass, since the forbid fails on it.
    let text = "never = \"allow\"\ntools = [\"depot__search\"]\nwhen = \"context.args has limit && context.args.limit >= 100\"";
    assert_eq!(said(&asked(&mut prover, &set, text)), "holds");
    let failing = prover.failing(&set);
    let said = said(&failing);
    assert!(said.contains("9223372036854775807") && said.contains("an integer overflows"), "{said}");
    assert_eq!(failing.counterexamples.len(), 1, "{said}");
}

#[test]
fn policies_that_change_nothing_are_found() {
    let Some(mut prover) = prover("prove-idle") else { return };
    let set = bundle(
        r#"
        @id("read") permit(principal, action in Wicket::Action::"read", resource);
        @id("narrow") permit(principal, action == NotesMCP::Action::"list", resource)
        when { context.time.hour > 8 };
        @id("never") forbid(principal, action in Wicket::Action::"read", resource)
        when { context.time.hour > 20 && context.time.minuteOfDay < 600 };
        @id("closed") permit(principal, action in Wicket::Action::"write", resource);
        @id("off") forbid(principal, action in Wicket::Action::"write", resource);
        @id("few") forbid(principal, action in Wicket::Action::"read", resource)
        when { context.session.denials > 3 };
    "#,
    );
    let idle: Vec<(String, Idleness)> =
        prover.idle(&set).into_iter().map(|idle| (idle.policy.to_string(), idle.why)).collect();
    let named = |name: &str, why| (name.to_owned(), why);
    assert_eq!(
        idle,
        [
            named("narrow", Idleness::ChangesNothing),
            named("never", Idleness::NeverMatches),
            named("closed", Idleness::ChangesNothing),
        ]
    );
}

#[test]
fn broken_invariants_name_their_line_and_what_to_do() {
    let table = [
        ("never = \"allow\"\nwhne = \"true\"", "unknown field `whne`"),
        ("why = \"nothing\"", "neither `never` nor `must`"),
        ("never = \"allow\"\ntools = [\"depot__nope\"]", "no lock has the tool `depot__nope`"),
        ("never = \"allow\"\nwhen = \"context.nope\"", "attribute `nope`"),
        ("never = \"allow\"\nwhen = \"1 == 2\"", "impossible"),
        ("must = \"forbid(principal, action, resource);\"\ntiers = [\"read\"]", "`must` says all of it"),
    ];
    for (text, expected) in table {
        let source =
            SourceFile::new("policies/invariants.toml", &format!("\n[[invariant]]\nname = \"x\"\n{text}"));
        let faults = Invariants::read(&source, &connectors()).unwrap_err();
        let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(said[0].starts_with("policies/invariants.toml:"), "{said:?}");
        assert!(said.iter().any(|fault| fault.contains(expected)), "{expected}\n{said:?}");
    }
}

/// Choices that follow from a number.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'p, T>(&mut self, from: &'p [T]) -> &'p T {
        &from[self.below(from.len())]
    }
}

/// One policy out of small pools, so that policies meet.
fn policy(dice: &mut Dice, number: usize) -> String {
    let effect = if dice.one_in(2) { "permit" } else { "forbid" };
    let who = *dice.pick(&[
        "principal",
        "principal in Wicket::Group::\"ops\"",
        "principal in Wicket::Group::\"dev\"",
    ]);
    // Each with the conditions that only its calls can have.
    let (action, own): (&str, &[&str]) = *dice.pick(&[
        ("action", &[][..]),
        ("action in Wicket::Action::\"read\"", &[]),
        ("action in [Wicket::Action::\"write\", Wicket::Action::\"destructive\"]", &[]),
        ("action == NotesMCP::Action::\"add\"", &["context.args has text && context.args.text like \"a*b\""]),
        (
            "action == DepotMCP::Action::\"search\"",
            &["context.args has limit && context.args.limit + 1 > 100", "!(context.args has query)"],
        ),
        (
            "action in DepotMCP::Action::\"files\"",
            &[
                "context.args has path && context.args.path like \"/etc/*\"",
                "context.args has owner && context.args.owner == \"acme\"",
                "resource in DepotMCP::Owner::\"acme\"",
                "resource is DepotMCP::Repository && resource.repo == \"site\"",
                "resource == DepotMCP::Repository::\"acme/site\"",
                "context.args has force && context.args.force",
            ],
        ),
    ]);
    let shared = [
        "context.time.hour >= 9 && context.time.hour < 17",
        "context.time.zones[\"Asia/Kolkata\"].minuteOfDay < 630",
        "context.time.dayOfWeek == 6",
        "context.time.zones[\"America/New_York\"].dayOfWeek == 1",
        "context.session.denials > 3",
        "context.member.tiersUsed.write + context.session.calls >= 10",
        "context.caller.ip.isInRange(ip(\"10.0.0.0/8\"))",
        "context.caller.ip.isLoopback()",
        "principal.name like \"*@acme\"",
        "principal.role == \"owner\"",
        "resource in Wicket::Service::\"depot\"",
    ];
    let mut text = format!("@id(\"p{number}\") {effect}({who}, {action}, resource)");
    for _ in 0..dice.below(3) {
        let pool = if own.is_empty() || dice.one_in(2) { &shared[..] } else { own };
        let word = if dice.one_in(3) { "unless" } else { "when" };
        text.push_str(&format!(" {word} {{ {} }}", dice.pick(pool)));
    }
    text + ";\n"
}

/// What is proved no made-up call contradicts, and what is refuted is so.
#[test]
fn no_made_up_call_contradicts_a_proof() {
    let Some(mut prover) = prover("prove-law") else { return };
    let environment = crate::app::config::environment();
    let seeds = environment.get("WICKET_TEST_PROOFS").and_then(|text| text.parse().ok()).unwrap_or(8_u64);
    let (mut proved, mut refuted, mut unknown) = (0, 0, 0);
    for seed in 0..seeds {
        let mut dice = Dice(seed * 7_919);
        let policies: Vec<String> = (0..2 + dice.below(5)).map(|number| policy(&mut dice, number)).collect();
        let left_out = dice.below(policies.len());
        let mut fewer = policies.clone();
        fewer.remove(left_out);
        if dice.one_in(3) {
            fewer.push(policy(&mut dice, 99));
        }
        let [old, new] = [policies.concat(), fewer.concat()].map(|text| {
            match Bundle::build(&crate::policy::fixtures::sources(&text)) {
                Ok(bundle) => bundle,
                Err(faults) => panic!("{faults:?}\n{text}"),
            }
        });
        for (old, new) in [(&old, &new), (&new, &old)] {
            let answer = prover.wider(old, new);
            let sample = sampled(old, new, 400).allowed;
            let text = |bundle: &Bundle| {
                bundle.policies().iter().map(|info| format!("{}\n", info.text)).collect::<String>()
            };
            let sets = || format!("seed {seed}\nold:\n{}new:\n{}", text(old), text(new));
            for told in &answer.counterexamples {
                let of =
                    |set: &Bundle| told.scenario.ask(set, |question| set.decide(question).allowed).unwrap();
                assert!(of(new) && !of(old), "{}{told}", sets());
            }
            if answer.holds() {
                assert!(sample.holds(), "proved, and yet:\n{}{}", sets(), said(&sample));
                proved += 1;
            } else if answer.counterexamples.is_empty() {
                eprintln!("{}{}", sets(), said(&answer));
                unknown += 1;
            } else {
                refuted += 1;
            }
        }
    }
    eprintln!("{proved} proved, {refuted} refuted, {unknown} unknown, {} questions", prover.questions());
    assert!(proved > 0 && refuted > 0, "the sets are too tame: {proved} proved, {refuted} refuted");
    assert!(unknown * 20 <= proved + refuted, "{unknown} of {} are unknown", proved + refuted + unknown);
}

#[test]
fn a_sample_is_the_same_each_time() {
    let set = bundle(OFFICE);
    let calls = || {
        let mut sampler = Sampler::new(&[&set], 7);
        (0..50).map(|_| format!("{:?}", sampler.scenario().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(calls(), calls());
}

#[test]
fn a_solver_that_says_nothing_of_use_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let table = [
        ("exec sleep 30", "no answer in"),
        ("exit 0", "out of time or memory"),
        ("cat >/dev/null; echo unknown", "neither a proof nor a call"),
        ("cat >/dev/null; echo fine", "unrecognized solver output: fine"),
    ];
    let set = bundle(OFFICE);
    for (number, (script, expected)) in table.iter().enumerate() {
        let path = dir.path().join(format!("solver-{number}"));
        std::fs::write(&path, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let solver = Cvc5::new(path, Duration::from_millis(300));
        let mut prover = Prover::new(solver, |_: Progress| true).unwrap();
        let text = "never = \"allow\"\ntools = [\"notes__add\"]\nnot_groups = [\"ops\"]";
        let answer = asked(&mut prover, &set, text);
        assert!(!answer.holds(), "{script}");
        assert!(said(&answer).contains(expected), "{script}: {}", said(&answer));
    }
}

/// The solver knows no calendar: what it names may be no call at all.
#[test]
fn a_call_that_cannot_be_is_neither_told_nor_taken_for_none() {
    let Some(mut prover) = prover("prove-unconfirmed") else { return };
    let set = bundle(OFFICE);
    let text = "never = \"allow\"\ntools = [\"notes__list\"]\nwhen = \"context.time.month == 2 && context.time.day == 30\"";
    let answer = asked(&mut prover, &set, text);
    assert!(answer.counterexamples.is_empty() && !answer.holds(), "{}", said(&answer));
    assert!(said(&answer).contains("the gate does not confirm"), "{}", said(&answer));
}

#[test]
fn a_proof_that_runs_out_of_time_is_none() {
    let Some(_) = prover("prove-patience") else { return };
    let path = find(&crate::app::config::environment()).unwrap();
    let mut prover = Prover::new(Cvc5::new(path, Duration::from_secs(10)), |_: Progress| false).unwrap();
    let answer = asked(
        &mut prover,
        &bundle(OFFICE),
        "never = \"allow\"\ntiers = [\"destructive\"]\nnot_groups = [\"ops\"]",
    );
    assert!(said(&answer).contains("no time left"), "{}", said(&answer));
}
