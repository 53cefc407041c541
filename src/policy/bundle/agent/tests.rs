//! What applies to a call of an agent that stores policies, and what does not load.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use super::*;
use crate::model::{AgentId, PolicyText, Reason, Show, TrustMode};
use crate::policy::fixtures::{bundle, connectors, faults, sunday};
use crate::policy::{Prospect, Scenario, Sources};

const READS: &str = r#"@id("reads") permit(principal, action in Wicket::Action::"read", resource);"#;

fn member(n: u8) -> MemberId {
    format!("00000000-0000-0000-0000-00000000000{n}").parse().unwrap()
}

fn stored(key: &str, text: PolicyText) -> StoredPolicy {
    let number = key.bytes().fold(0_u128, |sum, byte| sum * 257 + u128::from(byte));
    StoredPolicy {
        id: PolicyId::from_uuid(uuid::Uuid::from_u128(number)),
        agent: AgentId::from_uuid(uuid::Uuid::nil()),
        member: None,
        key: key.parse().unwrap(),
        version: 1,
        mode: PolicyMode::Enforced,
        text,
    }
}

fn cedar(key: &str, text: &str) -> StoredPolicy {
    stored(key, PolicyText::Cedar(text.to_owned()))
}

/// A form over the `notes` connector.
fn form(key: &str, effect: &str, tools: &[&str], more: Json) -> StoredPolicy {
    let mut form = json!({"name": key, "service": "notes", "effect": effect, "tools": tools});
    form.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    stored(key, PolicyText::Structured(serde_json::from_value(form).unwrap()))
}

fn set_of(base: &Bundle, policies: &[StoredPolicy]) -> AgentSet {
    let shard: Vec<_> = policies.iter().cloned().map(Arc::new).collect();
    Bundle::for_agent(base, &shard, None)
}

fn decided(bundle: &Bundle, scenario: &Scenario) -> (bool, Reason, Vec<String>) {
    let decision = scenario.ask(bundle, |question| bundle.decide(question)).unwrap();
    let keys = decision.determining.iter().map(|policy| policy.key.to_string()).collect();
    (decision.allowed, decision.reason, keys)
}

fn plain(tool: &str) -> Scenario {
    Scenario::new(tool, sunday())
}

fn of_member(tool: &str, n: u8) -> Scenario {
    Scenario { member: member(n), trust: TrustMode::Untrusted, ..plain(tool) }
}

#[test]
fn files_and_stored_policies_decide_together() {
    let text =
        format!("{READS} @id(\"no-pay\") forbid(principal, action == DepotMCP::Action::\"pay\", resource);");
    let base = bundle(&text);
    let policies = [
        cedar("pays", "permit(principal, action == DepotMCP::Action::\"pay\", resource);"),
        form("adds", "permit", &["add"], json!({})),
        form("quiet", "forbid", &["list"], json!({"denyMessage": "not now"})),
    ];
    let set = set_of(&base, &policies);
    assert_eq!(set.broken, []);
    let table = [
        ("depot__pay", false, Reason::Forbidden, "no-pay"),
        ("notes__add", true, Reason::Permitted, "adds"),
        ("notes__list", false, Reason::Forbidden, "quiet"),
        ("depot__search", true, Reason::Permitted, "reads"),
        ("depot__put_file", false, Reason::NoPermit, ""),
    ];
    for (tool, allowed, reason, by) in table {
        let expected = if by.is_empty() { vec![] } else { vec![by.to_owned()] };
        assert_eq!(decided(&set.bundle, &plain(tool)), (allowed, reason, expected), "{tool}");
    }
    // The reference names the row and its version; a policy of a file has neither.
    let decision = plain("notes__list").ask(&set.bundle, |question| set.bundle.decide(question)).unwrap();
    let found = &decision.determining[0];
    assert_eq!(
        (found.id, found.version, decision.deny_message.as_deref()),
        (Some(policies[2].id), 1, Some("not now"))
    );
    let decision = plain("depot__search").ask(&set.bundle, |question| set.bundle.decide(question)).unwrap();
    assert_eq!((decision.determining[0].id, decision.determining[0].version), (None, 0));
    // The base is as it was.
    assert!(!decided(&base, &plain("notes__add")).0);
    assert_ne!(set.bundle.digest(), base.digest());
    // Order is nothing; off is absent.
    let mut turned = policies.to_vec();
    turned.reverse();
    assert_eq!(set_of(&base, &turned).bundle.digest(), set.bundle.digest());
    let off = StoredPolicy { mode: PolicyMode::Off, ..policies[2].clone() };
    let without = set_of(&base, &[policies[0].clone(), policies[1].clone()]);
    let with_off = set_of(&base, &[policies[0].clone(), policies[1].clone(), off]);
    assert_eq!(with_off.bundle.digest(), without.bundle.digest());
    assert!(decided(&with_off.bundle, &plain("notes__list")).0);
}

#[test]
fn members_of_an_untrusted_agent_are_judged_by_their_own() {
    let base = bundle(READS);
    let own = |policy: StoredPolicy, n: u8| StoredPolicy { member: Some(member(n)), ..policy };
    let scope = |n: u8| {
        format!(
            "permit(principal == Wicket::Member::\"{}\", action == DepotMCP::Action::\"pay\", resource);",
            member(n)
        )
    };
    let groups = json!({"principal": {"type": "groups", "groups": ["ops"]}});
    let policies = [
        own(form("one", "permit", &["add"], json!({})), 1),
        own(cedar("two", &scope(2)), 2),
        own(form("three", "permit", &["add"], groups), 3),
        // Switched off: four has none.
        StoredPolicy { mode: PolicyMode::Off, ..own(form("four", "permit", &["add"], json!({})), 4) },
    ];
    let set = set_of(&base, &policies);
    assert_eq!(set.broken, []);
    let may = |tool: &str, n: u8| decided(&set.bundle, &of_member(tool, n));
    assert_eq!(may("notes__add", 1), (true, Reason::Permitted, vec!["one".to_owned()]));
    assert_eq!(may("notes__add", 2).1, Reason::NoPermit, "one's is not two's");
    assert!(may("depot__pay", 2).0);
    assert_eq!(may("depot__pay", 1).1, Reason::NoPermit);
    assert_eq!(may("depot__search", 2).2, ["reads"], "guardrails are everybody's");
    assert_eq!(may("notes__add", 3).1, Reason::NoPermit, "not in the group");
    let mut grouped = of_member("notes__add", 3);
    grouped.groups.insert("ops".parse().unwrap());
    assert!(decided(&set.bundle, &grouped).0);
    for n in [4, 5] {
        assert_eq!(may("depot__search", n), (false, Reason::NoPoliciesForMember, vec![]), "{n}");
        let ask = |question: &crate::policy::Question<'_>| set.bundle.asked(question).prospect();
        assert_eq!(of_member("depot__search", n).ask(&set.bundle, ask).unwrap(), Prospect::Never);
    }
    // Without any stored policy, the files alone do not let them in.
    assert_eq!(decided(&base, &of_member("depot__search", 1)).1, Reason::NoPoliciesForMember);
}

#[test]
fn a_members_own_policy_that_speaks_of_others_is_broken() {
    let base = bundle(READS);
    let others = json!({"principal": {"type": "specific_members", "userIds": [member(2)]}});
    let texts = [
        cedar("any", "permit(principal, action, resource);"),
        cedar("other", &format!("permit(principal == Wicket::Member::\"{}\", action, resource);", member(2))),
        cedar("group", "permit(principal in Wicket::Group::\"ops\", action, resource);"),
        cedar(
            "late",
            &format!(
                "permit(principal, action, resource) when {{ principal == Wicket::Member::\"{}\" }};",
                member(1)
            ),
        ),
        form("named", "permit", &["add"], others),
    ];
    for policy in texts {
        let key = policy.key.clone();
        let set = set_of(&base, &[StoredPolicy { member: Some(member(1)), ..policy }]);
        assert_eq!(set.broken.len(), 1, "{key}");
        assert_eq!(set.broken[0].instead, Instead::Nothing, "{key}");
        // What does not load gives nobody anything, and does not make one a caller with policies.
        assert_eq!(decided(&set.bundle, &of_member("depot__search", 1)).1, Reason::NoPoliciesForMember);
    }
    // One that is nobody's own, among those that are somebody's.
    let nobodys = [
        cedar("everybodys", "permit(principal, action, resource);"),
        StoredPolicy { member: Some(member(1)), ..form("own", "permit", &["list"], json!({})) },
    ];
    let set = set_of(&base, &nobodys);
    assert_eq!(set.broken.iter().map(|broken| broken.key.as_str()).collect::<Vec<_>>(), ["everybodys"]);
    assert!(!decided(&set.bundle, &of_member("notes__add", 1)).0);
}

/// Policies that do not load beside one that permits everything: what is in force instead, and the tools that
/// are open then.
fn that_do_not_load() -> Vec<(StoredPolicy, Instead, &'static str)> {
    let notes = || Instead::Forbidden(Some("notes".parse().unwrap()));
    vec![
        (form("p", "permit", &["gone"], json!({})), Instead::Nothing, "add get_file"),
        (form("f", "forbid", &["gone"], json!({})), notes(), "get_file"),
        (
            cedar("p", "permit(principal, action == NotesMCP::Action::\"gone\", resource);"),
            Instead::Nothing,
            "add get_file",
        ),
        (
            cedar("f", "forbid(principal, action == NotesMCP::Action::\"gone\", resource);"),
            notes(),
            "get_file",
        ),
        (
            cedar(
                "f",
                "forbid(principal, action in [NotesMCP::Action::\"gone\", DepotMCP::Action::\"pay\"], resource);",
            ),
            Instead::Forbidden(None),
            "",
        ),
        (
            cedar("f", "forbid(principal, action, resource) when { context.nope };"),
            Instead::Forbidden(None),
            "",
        ),
        (
            cedar("f", "forbid(principal, action in Wicket::Action::\"nope\", resource);"),
            Instead::Forbidden(None),
            "",
        ),
        (cedar("f", "this is no Cedar"), Instead::Forbidden(None), ""),
        (
            cedar("f", "permit(principal, action, resource); permit(principal, action, resource);"),
            Instead::Forbidden(None),
            "",
        ),
        (cedar("f", "@id(\"other\") permit(principal, action, resource);"), Instead::Nothing, "add get_file"),
        // Its key is a file's.
        (form("all", "permit", &["add"], json!({})), Instead::Nothing, "add get_file"),
        (form("all", "forbid", &["add"], json!({})), notes(), "get_file"),
        // A counter of a policy that there is no longer.
        (
            cedar(
                "f",
                "forbid(principal, action == NotesMCP::Action::\"add\", resource) when { context.member.policiesDenyCounts[\"gone\"] > 3 };",
            ),
            notes(),
            "get_file",
        ),
        (
            cedar(
                "f",
                "forbid(principal, action == NotesMCP::Action::\"add\", resource) when { context.time.zones[\"Europe/Atlantis\"].hour > 3 };",
            ),
            notes(),
            "get_file",
        ),
    ]
}

#[test]
fn what_does_not_load_opens_nothing_and_a_forbid_forbids_its_service() {
    let base = bundle("@id(\"all\") permit(principal, action, resource);");
    for (policy, instead, open) in that_do_not_load() {
        let set = set_of(&base, std::slice::from_ref(&policy));
        assert_eq!(set.broken.len(), 1, "{policy:?}");
        let broken = &set.broken[0];
        assert_eq!(
            (&broken.key, broken.id, &broken.instead),
            (&policy.key, policy.id, &instead),
            "{policy:?}"
        );
        assert!(!broken.faults.is_empty() && broken.faults.iter().all(|fault| !fault.is_empty()));
        for (tool, name) in [("notes__add", "add"), ("depot__get_file", "get_file")] {
            let (allowed, reason, keys) = decided(&set.bundle, &plain(tool));
            assert_eq!(allowed, open.contains(name), "{tool}: {policy:?}");
            if !allowed {
                assert_eq!((reason, keys), (Reason::Forbidden, vec![policy.key.to_string()]));
            }
        }
        if instead != Instead::Nothing {
            let decision =
                plain("notes__add").ask(&set.bundle, |question| set.bundle.decide(question)).unwrap();
            assert!(decision.deny_message.unwrap().contains("no longer loads"));
            assert_eq!(decision.determining[0].id, Some(policy.id));
        }
    }
    // Of a member's own, the others know nothing.
    let own = StoredPolicy { member: Some(member(1)), ..form("f", "forbid", &["gone"], json!({})) };
    let other = StoredPolicy { member: Some(member(2)), ..form("g", "permit", &["add"], json!({})) };
    let set = set_of(&base, &[own, other]);
    assert!(decided(&set.bundle, &of_member("notes__add", 2)).0);
    assert!(!decided(&set.bundle, &of_member("notes__add", 1)).0);
}

#[test]
fn a_set_that_denies_everything_denies_everything() {
    let base = bundle("@id(\"all\") permit(principal, action, resource);");
    let denying = Bundle::denying(&base);
    for tool in ["notes__add", "depot__search", "wicket__whoami"] {
        assert_eq!(decided(&denying, &plain(tool)), (false, Reason::NoPermit, vec![]));
    }
    assert_ne!(denying.digest(), base.digest());
}

/// Texts of which some do not pass, some read counters and zones that the files read, and some others.
const TEXTS: [&str; 20] = [
    "forbid(principal, action, resource) when { context.session.toolsUsed[\"notes:add\"] > 1 };",
    "forbid(principal, action, resource) when { context.member.servicesUsed.depot > 1 || context.session.calls > 2 };",
    "permit(principal, action == NotesMCP::Action::\"add\", resource) when { context.member.denials == 0 };",
    "permit(principal, action == NotesMCP::Action::\"add\", resource) when { context.args has text && context.args.text like \"a*\" };",
    "permit(principal, action in [NotesMCP::Action::\"add\", NotesMCP::Action::\"list\"], resource) when { context.session.policiesAllowCounts[\"reads\"] < 2 };",
    "forbid(principal, action in Wicket::Action::\"destructive\", resource) when { context.time.zones[\"Asia/Tokyo\"].hour > 9 };",
    "forbid(principal, action, resource) when { context.time.zones[\"Europe/Berlin\"].dayOfWeek == 0 };",
    "forbid(principal, action, resource) when { context.time.zones == {} };",
    "forbid(principal, action, resource) when { context.session == context.member };",
    "forbid(principal, action == DepotMCP::Action::\"pay\", resource) when { context.session has toolsUsed };",
    "forbid(principal, action == DepotMCP::Action::\"pay\", resource) when { context.session.toolsUsed has \"depot:pay\" };",
    "forbid(principal, action, resource) when { context.session.toolsUsed[\"notes:gone\"] > 1 };",
    "forbid(principal, action, resource) when { context.member.policiesDenyCounts[\"gone\"] > 1 };",
    "forbid(principal, action, resource) when { context.member.tiersUsed.write > \"x\" };",
    "forbid(principal, action == NotesMCP::Action::\"gone\", resource) when { context.session.calls > 1 };",
    "forbid(principal, action in NotesMCP::Action::\"destructive\", resource) when { context.session.tiersUsed.write > 1 };",
    "permit(principal, action, resource) when { context.time.hour < 5 && context.caller.ip.isIpv4() };",
    "permit(principal, action in DepotMCP::Action::\"files\", resource in DepotMCP::Owner::\"acme\");",
    "permit(principal, action, resource is NotesMCP::Service) when { context.session.denials < context.member.denials };",
    "permit(principal, action in [], resource) when { context.session.calls > 1 };",
];

/// The same text as a stored policy and as one of a file beside the same others: both load, or neither; and
/// decide alike. (But for a file that compares all zones at once: another policy that names one changes what
/// that file compares, and stored ones are not asked of files again.)
#[test]
fn a_stored_text_is_judged_and_decides_as_it_would_in_a_file() {
    let bases = [
        READS.to_owned(),
        format!(
            "{READS} @id(\"b\") forbid(principal, action, resource) when {{ context.session.calls > 90 && context.time.zones[\"Asia/Tokyo\"].hour > 30 }};"
        ),
        format!(
            "{READS} @id(\"b\") forbid(principal, action, resource) when {{ context.member == context.session }};"
        ),
    ];
    let (mut loaded, mut refused) = (0, 0);
    for text in &bases {
        let base = bundle(text);
        for own in TEXTS {
            let filed = format!("{text}\n@id(\"own\") {own}");
            let set = set_of(&base, &[cedar("own", own)]);
            match faults(&filed).is_empty() {
                false => {
                    refused += 1;
                    assert_eq!(set.broken.len(), 1, "{own}");
                }
                true => {
                    loaded += 1;
                    assert_eq!(set.broken, [], "{own}");
                    let filed = bundle(&filed);
                    alike(&filed, &set.bundle);
                    // Nor does a set that takes over from another decide otherwise.
                    let mut next = cedar("own", own);
                    let again = Bundle::for_agent(&base, &[Arc::new(next.clone())], Some(&set.bundle));
                    assert_eq!(again.bundle.digest(), set.bundle.digest());
                    alike(&filed, &again.bundle);
                    next.version = 2;
                    let again = Bundle::for_agent(&base, &[Arc::new(next)], Some(&set.bundle));
                    assert_ne!(again.bundle.digest(), set.bundle.digest());
                    alike(&filed, &again.bundle);
                }
            }
        }
    }
    assert!(loaded > 25 && refused > 10, "{loaded} {refused}");
}

fn alike(filed: &Bundle, set: &Bundle) {
    for tool in ["notes__add", "notes__list", "depot__pay", "depot__get_file", "depot__delete_file"] {
        for count in [0, 3] {
            let mut scenario = plain(tool);
            scenario.arguments = json!({"owner": "acme", "repo": "site", "text": "abc"});
            for key in filed.world.counters.iter() {
                scenario.history.session.insert(key.clone(), count);
                scenario.history.member.insert(key.clone(), count / 2);
            }
            assert_eq!(decided(filed, &scenario), decided(set, &scenario), "{scenario:?}");
        }
    }
}

#[test]
fn what_did_not_change_is_taken_over() {
    let base = bundle(READS);
    let policies = [
        form("one", "permit", &["add"], json!({})),
        cedar("two", "permit(principal, action == DepotMCP::Action::\"pay\", resource);"),
    ];
    let shard: Vec<_> = policies.iter().cloned().map(Arc::new).collect();
    let first = Bundle::for_agent(&base, &shard, None).bundle;
    // Read from the store again, one of them saved since.
    let saved = StoredPolicy { version: 2, ..policies[1].clone() };
    let shard: Vec<_> = [policies[0].clone(), saved].into_iter().map(Arc::new).collect();
    let second = Bundle::for_agent(&base, &shard, Some(&first)).bundle;
    let body = |bundle: &Bundle, key: &str| {
        let of_key = |rule: &&Rule| rule.body.reference.key.as_str() == key;
        Arc::clone(&bundle.rules.iter().find(of_key).unwrap().body)
    };
    assert!(Arc::ptr_eq(&body(&first, "one"), &body(&second, "one")));
    assert!(!Arc::ptr_eq(&body(&first, "two"), &body(&second, "two")));
    assert_eq!(body(&second, "two").reference.version, 2);
    assert!(Arc::ptr_eq(&base.validator, &second.validator), "no schema of its own");
    // Other connectors are another ground: what they lack is broken at once.
    let none = Arc::new(crate::connector::Connectors::read(&[]).unwrap());
    let bare =
        Bundle::build(&Sources { show: Default::default(), connectors: none, policies: vec![], cases: None })
            .unwrap();
    let lost = Bundle::for_agent(&bare, &shard, Some(&second));
    assert_eq!(lost.broken.len(), 2, "{:?}", lost.broken);
    // And back again.
    let back = Bundle::build(&Sources {
        show: Default::default(),
        connectors: connectors(),
        policies: vec![crate::model::SourceFile::new("policies/a.cedar", READS)],
        cases: None,
    });
    let again = Bundle::for_agent(&back.unwrap(), &shard, Some(&lost.bundle));
    assert_eq!((again.broken.len(), again.bundle.digest()), (0, second.digest()));
}

/// What a policy tells of itself: what it says, else what the gate says of all.
#[test]
fn policies_without_a_show_have_that_of_the_gate() {
    let text = format!(
        "{READS} @id(\"file\") @denyMessage(\"of the file\") forbid(principal, action == DepotMCP::Action::\"pay\", resource);"
    );
    let told = |show: Show, more: Json| {
        let policies = vec![crate::model::SourceFile::new("policies/a.cedar", &text)];
        let base = Bundle::build(&Sources { show, connectors: connectors(), policies, cases: None }).unwrap();
        let mut of = json!({"denyMessage": "of the form"});
        of.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let set = set_of(&base, &[form("form", "forbid", &["list"], of)]);
        assert!(set.broken.is_empty(), "{:?}", set.broken);
        ["depot__pay", "notes__list"].map(|tool| {
            let decision = plain(tool).ask(&set.bundle, |question| set.bundle.decide(question)).unwrap();
            assert_eq!(decision.reason, Reason::Forbidden, "{tool}");
            (decision.deny_message.as_deref().map(str::to_owned), decision.actionable)
        })
    };
    let (file, own) = (Some("of the file".to_owned()), Some("of the form".to_owned()));
    assert_eq!(told(Show::Plain, json!({})), [(file.clone(), false), (own.clone(), false)]);
    assert_eq!(told(Show::Hidden, json!({})), [(None, false), (None, false)]);
    assert_eq!(told(Show::Actionable, json!({})), [(file.clone(), true), (own.clone(), true)]);
    assert_eq!(
        told(Show::Actionable, json!({"show": "plain"})),
        [(file.clone(), true), (own.clone(), false)]
    );
    assert_eq!(told(Show::Hidden, json!({"show": "actionable"})), [(None, false), (own, true)]);
    assert_eq!(told(Show::Plain, json!({"show": "hidden"})), [(file, false), (None, false)]);
}

/// Loose bounds: this build is not optimised, and the machine has other work. `docs/testing.md` has figures.
#[test]
fn a_save_among_a_thousand_policies_is_soon_in_force() {
    let base = bundle(READS);
    let number = |n: usize| {
        let more = json!({"sessionConditions": [{"kind": "toolCount", "tool": "notes:list", "op": "<", "value": n}]});
        let conditional = n.is_multiple_of(2);
        form(&format!("p{n}"), "permit", &["add"], if conditional { more } else { json!({}) })
    };
    let mut shard: Vec<_> = (0..1_000).map(|n| Arc::new(number(n))).collect();
    let began = Instant::now();
    let first = Bundle::for_agent(&base, &shard, None);
    let whole = began.elapsed();
    assert_eq!(first.broken, []);
    let mut previous = first.bundle;
    let mut times = Vec::new();
    for n in 0..9 {
        shard[n] = Arc::new(StoredPolicy { version: 2, ..number(n + 2) });
        shard[n] = Arc::new(StoredPolicy {
            key: format!("p{n}").parse().unwrap(),
            id: number(n).id,
            ..shard[n].as_ref().clone()
        });
        let began = Instant::now();
        previous = Bundle::for_agent(&base, &shard, Some(&previous)).bundle;
        times.push(began.elapsed());
    }
    times.sort();
    println!("1,000 policies in {whole:?}, one of them saved in {:?}", times[4]);
    assert!(times[4] < Duration::from_millis(250), "{times:?}");
    assert!(times[4] * 5 < whole, "{times:?} against {whole:?}: one should be little");
}
