use super::*;

fn reads(condition: &str) -> Reads {
    let text = format!("permit(principal, action, resource) when {{ {condition} }};");
    let policy = cedar_policy_core::parser::parse_policy(None, &text).unwrap();
    Reads::of(policy.non_scope_constraints())
}

fn paths(condition: &str) -> String {
    match reads(condition).context {
        Reach::Whole => "*".to_owned(),
        Reach::Paths(paths) => paths.iter().map(|p| p.join(".")).collect::<Vec<_>>().join(" "),
    }
}

#[test]
fn chains_are_followed_and_anything_else_counts_as_everything_beneath() {
    let table = [
        ("true", ""),
        ("context.time.hour > 9", "time.hour"),
        ("context.args has path && context.args.path like \"*\"", "args.path"),
        ("context has args.path.inner", "args.path.inner"),
        ("context.session == context.member", "member session"),
        ("context == {}", "*"),
        (
            "(if context.time.hour > 9 then context.session else context.member).calls > 1",
            "member session time.hour",
        ),
        ("{a: context}.a.session.calls > 1", "*"),
        ("[context.args].contains({})", "args"),
        ("principal.name == resource.name", ""),
    ];
    for (condition, expected) in table {
        assert_eq!(paths(condition), expected, "{condition}");
    }
    assert_eq!(reads("resource has x").resource, Reach::Paths([vec!["x".to_owned()]].into()));
    assert_eq!(reads("resource in R::\"a\"").resource, Reach::Whole);
    assert!(reads("principal has x").resource.is_nothing());
    assert!(reads("principal in G::\"a\"").hierarchy && !reads("principal == G::\"a\"").hierarchy);
    assert!(reads("[action].contains(action)").action && !reads("principal has action").action);
}

#[test]
fn counters_are_read_from_their_chains() {
    let counters = |condition: &str| CounterReach::of(&reads(condition).context.beneath("session"));
    let keys = |texts: &[&str]| CounterReach::Keys(texts.iter().map(|t| t.parse().unwrap()).collect());
    let table = [
        ("context.session.denials > 3", keys(&["denials"])),
        ("context.session.toolsUsed[\"github:create_issue\"] > 3", keys(&["tool/github:create_issue"])),
        (
            "context.session.tiersUsed.read + context.session.servicesUsed.github > 3",
            keys(&["tier/read", "service/github"]),
        ),
        ("context.session.policiesDenyCounts[\"a-b\"] > 1", keys(&["deny/a-b"])),
        ("context.session has toolsUsed", CounterReach::Whole),
        ("context.session.toolsUsed has \"github:x\"", keys(&["tool/github:x"])),
        ("context.member.calls > 1", keys(&[])),
    ];
    for (condition, expected) in table {
        assert_eq!(counters(condition), expected, "{condition}");
    }
}

#[test]
fn a_read_touches_what_holds_it_and_what_it_holds() {
    let reach = reads("context.args.target.repo == \"x\"").context.beneath("args");
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    assert!(reach.touches(&path("target")));
    assert!(reach.touches(&path("target.repo")));
    assert!(reach.touches(&path("target.repo.name")));
    assert!(!reach.touches(&path("target.owner")));
    assert!(!reach.touches(&path("other")));
    // Members that are there are no gap: those that were left out may be read.
    let (root, there) = (Vec::new(), ["target".to_owned()]);
    assert!(!reach.touches_but(&root, &there) && reach.touches_but(&root, &[]));
    assert!(reach.touches_but(&path("target"), &["owner".to_owned()]));
    assert!(!reach.touches_but(&path("target"), &["repo".to_owned()]));
    assert!(!reach.touches_but(&path("other"), &[]));
}

#[test]
fn zones_and_named_entities_are_noted() {
    let found = reads("context.time.zones[\"Europe/Berlin\"].hour > 9 && principal in Wicket::Group::\"a\"");
    assert_eq!(found.zones.iter().map(|(z, _)| z.as_str()).collect::<Vec<_>>(), ["Europe/Berlin"]);
    assert_eq!(found.literals.len(), 1);
}

#[test]
fn a_zone_is_named_beneath_the_clock_alone() {
    let zones = |condition: &str| {
        let found = reads(condition).zones;
        found.into_iter().map(|(zone, place)| format!("{zone} at {place}")).collect::<Vec<_>>()
    };
    // The place is that of the chain up to the zone, in the whole text of the policy.
    assert_eq!(zones("context.time.zones[\"Asia/Tokyo\"].hour > 9"), ["Asia/Tokyo at 43"]);
    assert_eq!(zones("context has time.zones.X"), ["X at 43"]);
    for other in ["context.time.zones == {}", "context.args.zones.X == 1", "context.time.hours.X == 1"] {
        assert_eq!(zones(other), [""; 0], "{other}");
    }
}

#[test]
fn what_two_conditions_read_is_what_both_read() {
    let all = "principal in G::\"a\" && action == A::\"b\" && resource.x == context.args.y";
    let said = |reads: &Reads| {
        let Reads { context, resource, principal, action, hierarchy, literals, zones: _ } = reads;
        (context.clone(), resource.clone(), [*principal, *action, *hierarchy], literals.clone())
    };
    let whole = reads(all);
    for (first, second) in [(all, "true"), ("true", all), (all, all)] {
        let mut both = reads(first);
        both.join(reads(second));
        assert_eq!(said(&both), said(&whole), "{first} and {second}");
    }
    assert_eq!(said(&whole).2, [true; 3]);
    let mut both = reads("context.args.x == 1");
    both.join(reads("context == {}"));
    assert_eq!(both.context, Reach::Whole);
    both.join(reads("context.args.x == 1"));
    assert_eq!(both.context, Reach::Whole);
}

#[test]
fn counters_stand_where_they_are_read() {
    let keys = ["calls", "denials", "tool/github:x", "tier/write", "service/github", "allow/p", "deny/p"];
    for key in keys {
        let key: CounterKey = key.parse().unwrap();
        let (record, name) = place_of(&key);
        assert!(record.is_none_or(|record| COUNTER_RECORDS.contains(&record)));
        let path = record.map(str::to_owned).into_iter().chain([name]).collect();
        let read = CounterReach::of(&Reach::Paths([path].into()));
        assert_eq!(read, CounterReach::Keys([key].into()));
    }
    for record in ["toolsUsed", "tiersUsed", "servicesUsed", "policiesAllowCounts", "unheardOf"] {
        assert_eq!(counter(record, "not a name"), None, "{record}");
    }
}

#[test]
fn attributes_that_are_read_by_name() {
    let some = reads("resource.owner == resource.repo.name").resource;
    assert_eq!(some.names().collect::<Vec<_>>(), ["owner", "repo"]);
    assert!(some.touches_name("owner") && some.touches_name("repo") && !some.touches_name("name"));
    let whole = reads("resource == context.args").resource;
    assert_eq!(whole.names().count(), 0);
    assert!(whole.touches_name("any") && whole.touches(&["any".to_owned()]));
    assert!(whole.touches_but(&[], &["any".to_owned()]));
    let nothing = Reach::default();
    assert!(nothing.is_nothing() && !some.is_nothing() && !whole.is_nothing());
    assert!(!nothing.touches_name("owner") && nothing.beneath("owner").is_nothing());
    assert_eq!(
        (some.beneath("repo").names().collect::<Vec<_>>(), some.beneath("owner")),
        (vec!["name"], Reach::Whole)
    );
}

#[test]
fn what_is_read_says_how_large_it_is() {
    let long = "x".repeat(100);
    let of = |paths: &[&[&str]]| {
        let paths = paths.iter().map(|path| path.iter().map(|name| (*name).to_owned()).collect());
        Reach::Paths(paths.collect()).bytes()
    };
    // At least what is on the heap, at most three times as much.
    let (list, text) = (size_of::<Vec<String>>(), size_of::<String>());
    for (bytes, held) in [
        (of(&[&[&long]]), list + text + 100),
        (of(&[&[&long, &long]]), list + 2 * (text + 100)),
        (of(&[&[&long], &["y"]]), 2 * list + 2 * text + 101),
    ] {
        assert!((held..=3 * held).contains(&bytes), "{bytes} for {held}");
    }
    assert_eq!((of(&[]), Reach::Whole.bytes()), (0, 0));
}
