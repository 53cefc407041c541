//! A policy in shadow mode changes nothing but what is recorded.

use std::cell::Cell;

use super::*;
use crate::model::{AgentId, CounterKey, PolicyId, PolicyMode, PolicyText, Reason, StoredPolicy, TrustMode};
use crate::policy::fixtures::{bundle, faults, sunday};
use crate::policy::oracle::Dice;
use crate::policy::{Prospect, Question, Scenario};

const POLICIES: [&str; 8] = [
    "permit(principal, action in Wicket::Action::\"read\", resource);",
    "permit(principal, action, resource) when { context.session.calls < 3 };",
    "forbid(principal, action == NotesMCP::Action::\"add\", resource);",
    "forbid(principal, action, resource) when { context.member.toolsUsed[\"notes:list\"] > 1 };",
    "forbid(principal in Wicket::Group::\"ops\", action in DepotMCP::Action::\"files\", resource);",
    "permit(principal in Wicket::Group::\"ops\", action, resource);",
    "forbid(principal, action == DepotMCP::Action::\"pay\", resource) when { context.time.epochMillis + 9223372000000000000 > 0 };",
    "forbid(principal, action, resource in DepotMCP::Owner::\"acme\") when { context.time.zones[\"Asia/Tokyo\"].hour > 3 };",
];
const MODES: [PolicyMode; 3] = [PolicyMode::Enforced, PolicyMode::Shadow, PolicyMode::Off];

fn filed(modes: &[PolicyMode]) -> Bundle {
    let line = |(number, mode): (usize, &PolicyMode)| {
        format!("@id(\"p{number}\") @mode(\"{}\") {}\n", mode.as_str(), POLICIES[number])
    };
    bundle(&modes.iter().enumerate().map(line).collect::<String>())
}

/// The first two in files, the others stored.
fn stored(modes: &[PolicyMode]) -> Bundle {
    let base = filed(&modes[..2]);
    let shard: Vec<_> =
        modes.iter().enumerate().skip(2).map(|(number, mode)| Arc::new(row(number, *mode))).collect();
    let set = Bundle::for_agent(&base, &shard, None);
    assert_eq!(set.broken, []);
    set.bundle
}

fn row(number: usize, mode: PolicyMode) -> StoredPolicy {
    StoredPolicy {
        id: PolicyId::from_uuid(uuid::Uuid::from_u128(number as u128)),
        agent: AgentId::from_uuid(uuid::Uuid::nil()),
        member: None,
        key: format!("p{number}").parse().unwrap(),
        version: 1,
        mode,
        text: PolicyText::Cedar(POLICIES[number].to_owned()),
    }
}

fn scenarios(dice: &mut Dice<'_>) -> Vec<Scenario> {
    let mut all = Vec::new();
    for tool in ["depot__get_file", "depot__put_file", "depot__pay", "notes__list", "notes__add"] {
        for owner in ["acme", "other"] {
            let mut scenario = Scenario::new(tool, sunday());
            scenario.arguments = serde_json::json!({"owner": owner, "repo": "site"});
            if dice.one_in(2) {
                scenario.groups.insert("ops".parse().unwrap());
            }
            for key in [CounterKey::Calls, "tool/notes:list".parse().unwrap()] {
                scenario.history.session.insert(key.clone(), dice.below(6) as i64);
                scenario.history.member.insert(key, dice.below(6) as i64);
            }
            all.push(scenario);
        }
    }
    all
}

fn beside(bundle: &Bundle, scenario: &Scenario) -> Decision {
    scenario.ask(bundle, |question| bundle.decide_beside(question)).unwrap()
}

/// The same modes, with others in the places of some.
fn instead(modes: &[PolicyMode], of: PolicyMode, other: PolicyMode) -> Vec<PolicyMode> {
    modes.iter().map(|mode| if *mode == of { other } else { *mode }).collect()
}

/// What decides is what would decide if the shadows were off; what is recorded is what would decide if they
/// were enforced. In files and stored alike.
#[test]
fn shadows_decide_nothing_and_say_what_they_would() {
    let (mut different, mut same, mut failed) = (0, 0, 0);
    for seed in 0..30 {
        let dice = &mut Dice::new(seed);
        let modes: Vec<PolicyMode> = POLICIES.iter().map(|_| *dice.pick(&MODES)).collect();
        let off = instead(&modes, PolicyMode::Shadow, PolicyMode::Off);
        let on = instead(&modes, PolicyMode::Shadow, PolicyMode::Enforced);
        for make in [filed, stored] {
            let [set, off, on] = [&modes, &off, &on].map(|modes| make(modes));
            for scenario in scenarios(dice) {
                let mut decided = beside(&set, &scenario);
                let shadow = decided.shadow.take();
                let (without, would) = (beside(&off, &scenario), beside(&on, &scenario));
                assert_eq!(decided, without, "{modes:?} {scenario:?}");
                let look = |bundle: &Bundle| {
                    scenario
                        .ask(bundle, |question| {
                            (
                                bundle.asked(question).prospect(),
                                bundle.needs(
                                    question.caller,
                                    question.connector,
                                    question.tool,
                                    question.resource,
                                ),
                            )
                        })
                        .unwrap()
                };
                assert_eq!(look(&set), look(&off), "shadows are looked at: {modes:?}");
                match shadow {
                    None => {
                        same += 1;
                        assert_eq!(would, without, "{modes:?} {scenario:?}");
                    }
                    Some(shadow) => {
                        different += 1;
                        failed += usize::from(!shadow.errors.is_empty());
                        assert_ne!(would, without);
                        assert_eq!((shadow.allowed, shadow.reason), (would.allowed, would.reason));
                        let of_shadow = |key: &PolicyKey| {
                            let number: usize = key.as_str().trim_start_matches('p').parse().unwrap();
                            modes[number] == PolicyMode::Shadow
                        };
                        let keys = would.determining.iter().filter(|policy| of_shadow(&policy.key));
                        assert!(shadow.policies.iter().eq(keys), "{shadow:?} {would:?}");
                        assert!(shadow.errors.iter().all(|error| of_shadow(&error.policy)));
                    }
                }
            }
        }
    }
    assert!(different > 100 && same > 100 && failed > 5, "{different} {same} {failed}");
}

#[test]
fn counters_of_shadows_are_read_for_them_alone() {
    let bundle = filed(&[PolicyMode::Enforced, PolicyMode::Off, PolicyMode::Off, PolicyMode::Shadow]);
    let asked = Cell::new(None);
    let scenario = Scenario::new("notes__list", sunday());
    let authorise = |bundle: &Bundle, count: i64| {
        let ask = |question: &Question<'_>| {
            let more = |needs: &Needs| {
                asked.set(Some(needs.clone()));
                let count = needs.member.iter().map(|key| (key.clone(), count)).collect();
                History { member: count, ..History::default() }
            };
            bundle.asked(question).authorise(&question.moment(), more)
        };
        match scenario.ask(bundle, ask).unwrap() {
            crate::policy::Verdict::Allow(permit) => permit.decision().clone(),
            crate::policy::Verdict::Deny(denial) => denial.decision().clone(),
        }
    };
    let decided = authorise(&bundle, 5);
    assert!(decided.allowed);
    let shadow = decided.shadow.unwrap();
    assert_eq!(
        (shadow.allowed, shadow.reason, shadow.policies[0].key.as_str()),
        (false, Reason::Forbidden, "p3")
    );
    assert_eq!(asked.take().unwrap().member.len(), 1);
    assert!(authorise(&bundle, 0).shadow.is_none());
    asked.take();
    // Without a shadow nobody is asked.
    assert!(authorise(&filed(&[PolicyMode::Enforced]), 5).shadow.is_none());
    assert!(asked.take().is_none());
}

#[test]
fn a_member_whose_own_policies_are_all_shadows_is_one_without_policies() {
    let base = filed(&[PolicyMode::Enforced]);
    let member = "00000000-0000-0000-0000-000000000001".parse().unwrap();
    let text = format!("permit(principal == Wicket::Member::\"{member}\", action, resource);");
    let own =
        StoredPolicy { member: Some(member), text: PolicyText::Cedar(text), ..row(5, PolicyMode::Shadow) };
    let set = Bundle::for_agent(&base, &[Arc::new(own)], None).bundle;
    let scenario = Scenario { member, trust: TrustMode::Untrusted, ..Scenario::new("notes__add", sunday()) };
    let decided = beside(&set, &scenario);
    assert_eq!((decided.allowed, decided.reason), (false, Reason::NoPoliciesForMember));
    assert_eq!(decided.shadow.unwrap().reason, Reason::Permitted);
    let prospect = |question: &Question<'_>| set.asked(question).prospect();
    assert_eq!(scenario.ask(&set, prospect).unwrap(), Prospect::Never);
    // A shadow that does not load is left out, and reported; it forbids nothing.
    let gone = StoredPolicy {
        text: PolicyText::Cedar(
            "forbid(principal, action == NotesMCP::Action::\"gone\", resource);".to_owned(),
        ),
        ..row(6, PolicyMode::Shadow)
    };
    let set = Bundle::for_agent(&base, &[Arc::new(gone)], None);
    assert_eq!(set.broken[0].instead, crate::policy::Instead::Nothing);
    let decided = beside(&set.bundle, &Scenario::new("notes__list", sunday()));
    assert!(decided.allowed && decided.shadow.is_none());
}

#[test]
fn modes_are_three_and_a_lint_says_which_policies_are_not_in_force() {
    let wrong = faults("@id(\"a\") @mode(\"on\") permit(principal, action, resource);");
    assert!(wrong[0].message.contains("`on`"), "{wrong:?}");
    let bundle = filed(&[PolicyMode::Shadow, PolicyMode::Off, PolicyMode::Enforced]);
    let said: Vec<&str> = bundle.warnings().iter().map(|warning| warning.message.as_str()).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("`p0` is in mode `shadow`") && said[1].contains("`p1` is in mode `off`"),
        "{said:?}"
    );
    let modes: Vec<PolicyMode> = bundle.policies().iter().map(|info| info.mode).collect();
    assert_eq!(modes, [PolicyMode::Shadow, PolicyMode::Off, PolicyMode::Enforced]);
    // One that is off is validated all the same: it may be put in force with a word.
    assert!(
        !faults("@id(\"a\") @mode(\"off\") permit(principal, action, resource) when { context.nope };")
            .is_empty()
    );
}
