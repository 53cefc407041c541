use std::collections::BTreeSet;

use super::*;

fn uid(text: &str) -> EntityUID {
    text.parse().unwrap()
}

/// An index over these scopes.
fn index(scopes: &[&str]) -> Index {
    let scope = |scope: &&str| {
        let text = format!("permit({scope});");
        Scope::of(&cedar_policy_core::parser::parse_policy(None, &text).unwrap().into())
    };
    let scopes: Vec<Scope> = scopes.iter().map(scope).collect();
    Index::new(&scopes)
}

fn class(index: &Index, entity: &str, above: &[&str]) -> Class {
    let above: Vec<EntityUID> = above.iter().map(|text| uid(text)).collect();
    index.names().class(&uid(entity), &above)
}

const SCOPES: [&str; 14] = [
    "principal, action, resource",
    "principal == U::\"a\", action, resource",
    "principal in U::\"a\", action, resource",
    "principal in G::\"x\", action, resource",
    "principal is U, action, resource",
    "principal is U in G::\"x\", action, resource",
    "principal == G::\"x\", action, resource",
    "principal, action == A::Action::\"get\", resource",
    "principal, action == A::Action::\"read\", resource",
    "principal, action in A::Action::\"read\", resource",
    "principal, action in [A::Action::\"read\", A::Action::\"get\"], resource",
    "principal, action in [], resource",
    "principal, action, resource in R::\"1\"",
    "principal, action, resource is R in F::\"f\"",
];

#[test]
fn a_policy_is_a_candidate_exactly_if_its_scope_matches() {
    let index = index(&SCOPES);
    let ask = |principal: (&str, &[&str]), action: (&str, &[&str]), resource: (&str, &[&str])| {
        let classes = [principal, action, resource].map(|(uid, above)| class(&index, uid, above));
        let [principal, action, resource] = &classes;
        index.candidates(Classes { principal, action, resource })
    };
    let nobody: (&str, &[&str]) = ("V::\"v\"", &[]);
    let nothing: (&str, &[&str]) = ("R::\"9\"", &[]);
    let other: (&str, &[&str]) = ("A::Action::\"put\"", &[]);
    assert_eq!(ask(nobody, other, nothing), [0]);
    assert_eq!(ask(("U::\"a\"", &[]), other, nothing), [0, 1, 2, 4]);
    assert_eq!(ask(("U::\"b\"", &["G::\"x\""]), other, nothing), [0, 3, 4, 5]);
    assert_eq!(ask(("U::\"a\"", &["G::\"x\"", "G::\"y\""]), other, nothing), [0, 1, 2, 3, 4, 5]);
    assert_eq!(ask(("G::\"x\"", &[]), other, nothing), [0, 3, 6]);
    assert_eq!(ask(("V::\"v\"", &["U::\"a\""]), other, nothing), [0, 2], "in, but not ==");
    let get: (&str, &[&str]) = ("A::Action::\"get\"", &["A::Action::\"read\""]);
    assert_eq!(ask(nobody, get, nothing), [0, 7, 9, 10]);
    assert_eq!(ask(nobody, ("A::Action::\"list\"", &["A::Action::\"read\""]), nothing), [0, 9, 10]);
    assert_eq!(ask(nobody, ("A::Action::\"read\"", &[]), nothing), [0, 8, 9, 10]);
    assert_eq!(ask(nobody, other, ("R::\"1\"", &[])), [0, 12]);
    assert_eq!(ask(nobody, other, ("R::\"2\"", &["F::\"f\"", "R::\"1\""])), [0, 12, 13]);
    assert_eq!(ask(nobody, other, ("S::\"2\"", &["F::\"f\""])), [0]);
}

#[test]
fn many_names_are_looked_up_as_few_are() {
    // More combinations of names than policies: every policy is looked at instead.
    let names: Vec<String> = (0..12).map(|n| format!("G::\"{n}\"")).collect();
    let scopes: Vec<String> =
        (0..12).map(|n| format!("principal in G::\"{n}\", action, resource in G::\"{}\"", 11 - n)).collect();
    let index = index(&scopes.iter().map(String::as_str).collect::<Vec<_>>());
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for count in [0, 1, 2, 11, 12] {
        let above = class(&index, "U::\"a\"", &all[..count]);
        let action = class(&index, "Action::\"a\"", &[]);
        let resource = class(&index, "R::\"a\"", &all);
        let found = index.candidates(Classes { principal: &above, action: &action, resource: &resource });
        assert_eq!(found.len(), count);
    }
}

#[test]
fn different_classes_have_different_words() {
    let small = |bits: u32| {
        let above = (1..=3).filter(|atom| bits & (1 << atom) != 0).collect();
        Class::new(bits & 1, (bits >> 4) & 3, above)
    };
    let mut seen: BTreeSet<Vec<u32>> = BTreeSet::new();
    let mut classes: Vec<Class> = Vec::new();
    for bits in 0..64 {
        let class = small(bits);
        if !classes.contains(&class) {
            assert!(seen.insert(class.words().collect()), "{class:?}");
            classes.push(class);
        }
    }
    // Of two in a row it can be told where the first ends.
    let mut pairs: BTreeSet<Vec<u32>> = BTreeSet::new();
    for first in &classes {
        for second in &classes {
            assert!(pairs.insert(first.words().chain(second.words()).collect()), "{first:?} {second:?}");
        }
    }
    assert_eq!(Class::new(1, 2, vec![3, 0, 1, 3]), Class::new(1, 2, vec![1, 3]));
}

#[test]
fn those_addressed_say_whether_the_resource_matches() {
    let index = index(&[
        "principal, action, resource",
        "principal, action, resource == R::\"1\"",
        "principal in G::\"x\", action, resource",
    ]);
    let [principal, action, resource] =
        ["U::\"a\"", "Action::\"a\"", "R::\"2\""].map(|uid| class(&index, uid, &[]));
    let classes = Classes { principal: &principal, action: &action, resource: &resource };
    assert_eq!(index.addressed(classes), [(0, true), (1, false)]);
    assert_eq!(index.missed(1, classes), Some([false, false, true]));
    assert_eq!(index.missed(2, classes), Some([false, true, false]));
    assert_eq!(index.missed(3, classes), None);
}

#[test]
fn policies_are_looked_for_where_they_could_be_named() {
    // Two names of the action, three of the principal and two of the resource, "any" among them: 12 lists.
    let near = "principal in G::\"x\", action == Action::\"get\", resource in F::\"f\"";
    let also = "principal in G::\"y\", action, resource";
    let far = [
        "principal in G::\"z\", action, resource",
        "principal, action == Action::\"put\", resource",
        "principal, action in [Action::\"put\", Action::\"pay\"], resource",
        "principal, action, resource in F::\"g\"",
    ];
    let nearby = |count: usize| {
        let scopes: Vec<&str> = [near, also].into_iter().chain(far.into_iter().cycle()).take(count).collect();
        let index = index(&scopes);
        let principal = class(&index, "U::\"a\"", &["G::\"x\"", "G::\"y\""]);
        let action = class(&index, "Action::\"get\"", &[]);
        let resource = class(&index, "R::\"1\"", &["F::\"f\""]);
        let classes = Classes { principal: &principal, action: &action, resource: &resource };
        assert_eq!(index.candidates(classes), [0, 1]);
        let mut found = index.nearby(classes);
        found.sort_unstable();
        found
    };
    assert_eq!(nearby(12), [0, 1], "no policy is looked at that none of the names is in");
    assert_eq!(nearby(100), [0, 1]);
    assert_eq!(nearby(11), (0..11).collect::<Vec<u32>>(), "fewer policies than lists");
}

#[test]
fn of_one_principal_those_are_found_that_mean_the_action() {
    let index = index(&SCOPES);
    let ask = |principal: (&str, &[&str]), action: (&str, &[&str])| {
        let [principal, action] = [principal, action].map(|(uid, above)| class(&index, uid, above));
        index.of_principal(&principal).of(&action)
    };
    let get: (&str, &[&str]) = ("A::Action::\"get\"", &["A::Action::\"read\""]);
    assert_eq!(ask(("U::\"a\"", &["G::\"x\""]), get), [0, 1, 2, 3, 4, 5, 7, 9, 10, 12, 13]);
    assert_eq!(ask(("V::\"v\"", &[]), ("A::Action::\"put\"", &[])), [0, 12, 13]);
    assert_eq!(ask(("V::\"v\"", &[]), ("A::Action::\"put\"", &["A::Action::\"get\""])), [0, 10, 12, 13]);
}

#[test]
fn names_of_a_type_are_found_by_their_ids() {
    let index = index(&SCOPES);
    let (names, user) = (index.names(), uid("U::\"a\""));
    let found = names.of_kind(user.entity_type());
    assert_eq!(found, HashMap::from([("a".into(), names.entity(&user))]));
    assert_ne!(names.entity(&user), 0);
    assert_eq!((names.entity(&uid("U::\"b\"")), names.kind(uid("V::\"v\"").entity_type())), (0, 0));
}

#[test]
fn a_class_says_how_large_it_is() {
    assert_eq!(Class::new(1, 2, vec![3, 4, 5]).bytes(), size_of::<Class>() + 12);
}
