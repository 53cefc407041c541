use cedar_policy_core::ast::{Context, EntityUIDEntry};

use super::*;
use crate::model::SourceFile;

/// The policies of one file, and what becomes of all of them in a request that nothing is known of.
fn evaluated(text: &str) -> (Vec<Rule>, Found) {
    let file = SourceFile::new("a.cedar", text);
    let reading = source::read(std::slice::from_ref(&file), &source::Known::new(), crate::model::Show::Plain);
    assert!(reading.faults.is_empty(), "{:?}", reading.faults);
    let rules: Vec<Rule> = reading.policies.iter().map(source::Placed::rule).collect();
    let known = |uid: &str| EntityUIDEntry::known(uid.parse().unwrap(), None);
    let [principal, action, resource] = ["U::\"a\"", "Action::\"a\"", "R::\"a\""].map(known);
    let request = Request::new_unchecked(principal, action, resource, Some(Context::empty()));
    let all: Vec<u32> = (0u32..).take(rules.len()).collect();
    let found = evaluate(&rules, &all, request, &Entities::new());
    (rules, found)
}

#[test]
fn a_failure_says_what_and_where() {
    let table = [
        ("context.missing", "a.cedar:4:8: a record has no such attribute"),
        ("true && context.missing", "a.cedar:4:16: a record has no such attribute"),
        ("principal.missing", "an entity whose attribute is read does not exist"),
        ("1 < \"x\"", "a value has another type than the condition expects"),
        ("9223372036854775807 + 1 > 0", "an integer overflows"),
        ("ip(\"nonsense\").isIpv4()", "a function refuses its argument"),
        ("1", "a.cedar: a condition is neither true nor false"),
    ];
    for (condition, expected) in table {
        let text = format!("\n\n@id(\"p\") permit(principal, action, resource)\nwhen {{ {condition} }};\n");
        let (_, found) = evaluated(&text);
        let [(0, message)] = found.errors.as_slice() else { panic!("{condition}: {found:?}") };
        assert!(message.starts_with("a.cedar:") && message.ends_with(expected), "{condition}: {message}");
        assert!(!message.contains("nonsense"), "{message}");
    }
}

#[test]
fn a_number_without_a_policy_denies() {
    let (rules, _) = evaluated("@id(\"p\") permit(principal, action, resource);");
    let known = |uid: &str| EntityUIDEntry::known(uid.parse().unwrap(), None);
    let [principal, action, resource] = ["U::\"a\"", "Action::\"a\"", "R::\"a\""].map(known);
    let request = Request::new_unchecked(principal, action, resource, Some(Context::empty()));
    let found = evaluate(&rules, &[0, 1], request, &Entities::new());
    assert_eq!((found.permits.as_slice(), found.errors.len()), (&[0][..], 1));
    let decision = conclude(&rules, &found);
    assert_eq!((decision.allowed, decision.reason), (false, Reason::EvaluationError));
}

/// What a decision tells the caller: allowed, actionable, message.
type Told<'a> = (bool, bool, Option<&'a str>);

#[test]
fn what_a_decision_tells_is_what_its_policies_let_it_tell() {
    let permit = "@id(\"p\") permit(principal, action, resource);";
    let shown =
        "@id(\"a\") @show(\"actionable\") @denyMessage(\"ask first\") forbid(principal, action, resource);";
    let quiet = "@id(\"b\") @denyMessage(\"no\") forbid(principal, action, resource);";
    let hidden = "@id(\"0\") @show(\"hidden\") @denyMessage(\"secret\") forbid(principal, action, resource);";
    let fails = "@id(\"f\") forbid(principal, action, resource) when { context.missing };";
    let open = "@id(\"o\") @show(\"actionable\") permit(principal, action, resource);";
    let table: [(&[&str], Reason, Told<'_>); 10] = [
        (&[], Reason::NoPermit, (false, false, None)),
        (&[permit], Reason::Permitted, (true, false, None)),
        (&[open], Reason::Permitted, (true, true, None)),
        (&[permit, shown], Reason::Forbidden, (false, true, Some("ask first"))),
        (&[quiet], Reason::Forbidden, (false, false, Some("no"))),
        (&[quiet, shown], Reason::Forbidden, (false, false, Some("ask first"))),
        (&[hidden], Reason::Forbidden, (false, false, None)),
        (&[quiet, hidden], Reason::Forbidden, (false, false, Some("no"))),
        (&[permit, fails], Reason::EvaluationError, (false, false, None)),
        (&[fails, quiet], Reason::Forbidden, (false, false, Some("no"))),
    ];
    for (policies, reason, told) in table {
        let (rules, found) = evaluated(&policies.concat());
        let decision = conclude(&rules, &found);
        let errors = policies.iter().filter(|text| **text == fails).count();
        assert_eq!((decision.reason, decision.errors.len()), (reason, errors), "{policies:?}");
        let message = decision.deny_message.as_deref();
        assert_eq!((decision.allowed, decision.actionable, message), told, "{policies:?}");
    }
}
