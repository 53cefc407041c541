use std::fmt::Write as _;

use cedar_policy_core::ast::EntityType;

use super::*;
use crate::model::SourceFile;
use crate::policy::index::{Class, Scope};
use crate::policy::source;

fn rules(text: &str) -> (Vec<Rule>, Index) {
    let file = SourceFile::new("a.cedar", text);
    let reading = source::read(std::slice::from_ref(&file), &source::Known::new(), crate::model::Show::Plain);
    assert!(reading.faults.is_empty(), "{:?}", reading.faults);
    let rules: Vec<Rule> = reading.policies.iter().map(source::Placed::rule).collect();
    let index = Index::new(rules.iter().map(|rule| -> &Scope { &rule.body.scope }));
    (rules, index)
}

/// The slice of a call that no scope names anything of.
fn slice(text: &str, half_read: bool) -> Slice {
    let ((rules, index), class) = (rules(text), Class::default());
    let classes = Classes { principal: &class, action: &class, resource: &class };
    Slice::new(Key { classes, half_read }, &rules, &index, &BTreeSet::new())
}

/// A hundred policies, each with this effect and condition, where `#` stands for its number.
fn hundred(effect: &str, condition: &str) -> String {
    let mut text = String::new();
    for number in 100..200 {
        let condition = condition.replace('#', &number.to_string());
        let _ = writeln!(text, "@id(\"p{number}\") {effect}(principal, action, resource){condition};");
    }
    text
}

#[test]
fn a_slice_says_how_large_it_is() {
    let empty = slice("", false).bytes();
    assert_eq!(empty, size_of::<Slice>() + size_of::<Needs>());
    let grown = |condition: &str| slice(&hundred("permit", condition), false).bytes() - empty;
    let number = size_of::<u32>();
    assert_eq!(grown(" when { 1 == 1 }"), 100 * number);
    assert_eq!(slice(&hundred("forbid", " when { 1 == 1 }"), true).bytes(), empty + 100 * number);
    let blind = slice(&hundred("forbid", " when { resource == resource }"), true);
    assert_eq!((blind.blind.len(), blind.bytes()), (100, empty + 200 * number));
    // Of everything else at least what is held, and at most three times as much.
    let (path, text) = (size_of::<Vec<String>>(), size_of::<String>());
    let counter = size_of::<(Box<str>, CounterKey)>() + "github:call100".len();
    let listed = size_of::<CounterKey>();
    let uid = size_of::<EntityUID>();
    let reference = size_of::<crate::model::PolicyRef>();
    let counted = |scope: &str| format!(" when {{ context.{scope}.toolsUsed[\"github:call#\"] > 1 }}");
    let both = " when { context.session.toolsUsed[\"github:call#\"] > 1 && \
                context.member.toolsUsed[\"github:call#\"] > 1 }";
    for (condition, held) in [
        (" when { context.args.argument# == 1 }", path + text + 11),
        (" when { context.time.something# == 1 }", path + text + 12),
        (" when { context.caller.whatever# == 1 }", path + text + 11),
        (" when { resource.attribute# == 1 }", path + text + 12),
        (counted("session").as_str(), counter + listed),
        (counted("member").as_str(), counter + listed),
        (both, 2 * (counter + listed)),
        (" when { principal == U::\"u#\" }", uid + size_of::<EntityType>()),
        ("", reference),
    ] {
        let (bytes, held) = (grown(condition), 100 * (number + held));
        assert!((held..=3 * held).contains(&bytes), "{bytes} for {held}: {condition}");
    }
    let one = grown(&counted("session"));
    assert_eq!(grown(both), 2 * one - 100 * number, "two scopes are twice one, but for the policies");
}

#[test]
fn what_is_kept_counts_with_its_key() {
    let ((rules, index), class) = (rules(&hundred("permit", " when { resource.x == 1 }")), Class::default());
    let key =
        Key { classes: Classes { principal: &class, action: &class, resource: &class }, half_read: false };
    let slices = Slices::new(CAPS);
    for _ in 0..2 {
        let slice = slices.get(key, (&rules, &index), &BTreeSet::new());
        let words = key.words().count() * size_of::<u32>();
        assert_eq!(slices.0.size(), (1, words + slice.bytes()));
    }
}

#[test]
fn the_numbers_of_a_key_are_lent_whole() {
    let (plain, class) = (Class::default(), |above: u32| Class::new(1, 2, (3..3 + above).collect()));
    // Ten numbers beside those of the groups: as many as are put together without the heap, and around it.
    for above in [0, 1, 20, 21, 22, 23, 24, 100] {
        let (principal, action, resource) = (class(above), plain.clone(), plain.clone());
        let classes = Classes { principal: &principal, action: &action, resource: &resource };
        for half_read in [false, true] {
            let key = Key { classes, half_read };
            let lent = key.with(<[u32]>::to_vec);
            assert_eq!(lent, key.words().collect::<Vec<_>>());
            assert_eq!((lent.len(), lent.last()), (10 + above as usize, Some(&u32::from(half_read))));
        }
    }
}

#[test]
fn half_a_resource_blinds_who_looks_at_it_or_forbids_another() {
    let text = r#"
        @id("a") permit(principal, action, resource);
        @id("b") forbid(principal, action, resource) when { resource.owner == "x" };
        @id("c") forbid(principal, action, resource == R::"x");
        @id("d") permit(principal, action, resource == R::"x") when { resource.owner == "x" };
        @id("e") permit(principal, action, resource) when { resource.owner == "x" };
        @id("f") forbid(principal == U::"u", action, resource == R::"x");
    "#;
    let half = slice(text, true);
    assert_eq!(
        (&*half.candidates, &*half.blind, half.prospect),
        (&[0, 1, 4][..], &[1, 2, 4][..], Prospect::Never)
    );
    let whole = slice(text, false);
    assert_eq!(
        (&*whole.candidates, &*whole.blind, whole.prospect),
        (&[0, 1, 4][..], &[][..], Prospect::Depends)
    );
    // A constant decision is none while somebody cannot see.
    let text = "@id(\"a\") permit(principal, action, resource);\
                @id(\"b\") forbid(principal, action, resource == R::\"x\");";
    assert!(slice(text, true).constant.is_none() && slice(text, false).constant.is_some());
}

#[test]
fn the_counters_of_a_scope_that_are_read_are_needed() {
    let key = |text: &str| text.parse::<CounterKey>().unwrap();
    let declared = BTreeSet::from([key("calls"), key("tier/write")]);
    let needs = |condition: &str| {
        let (_, needs) = Plan::with_needs(rules(&hundred("permit", condition)).0[0].body.reads(), &declared);
        (needs.session, needs.member)
    };
    assert_eq!(needs(""), (vec![], vec![]));
    assert_eq!(needs(" when { context.session.denials > 1 }"), (vec![key("denials")], vec![]));
    assert_eq!(needs(" when { context.member.tiersUsed.read > 1 }"), (vec![], vec![key("tier/read")]));
    let all: Vec<CounterKey> = declared.iter().cloned().collect();
    assert_eq!(needs(" when { context.session == context.member }"), (all.clone(), all));
}
