use super::*;
use crate::policy::fixtures::bundle;

const SET: &str = r#"
@id("reads") permit(principal, action in Wicket::Action::"read", resource);
@id("breaker") forbid(principal, action, resource) when { context.session.denials + context.member.denials > 3 };
@id("unused") permit(principal in Wicket::Group::"nobody", action, resource);
"#;

fn report(cases: &str) -> Result<Report, Vec<String>> {
    run(&bundle(SET), &SourceFile::new("policies/cases.toml", cases))
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn a_report_names_what_failed_and_what_no_case_reaches() {
    let report = report(
        r#"
[[case]]
name = "reading is allowed"
call = "depot__get_file"
arguments = { owner = "acme" }
expect = "allow"
by = "reads"

[[case]]
name = "the breaker trips"
call = "depot__get_file"
who = { groups = ["ops"], trust = "trusted", ip = "10.0.0.1", role = "owner" }
at = "2026-11-22T09:30:00Z"
session = { denials = 2, "tool/depot:get_file" = 9 }
member = { denials = 2 }
expect = "deny"
by = ["breaker"]
reason = "forbidden"

[[case]]
name = "writing is allowed, says the author, wrongly"
call = "depot__put_file"
expect = "allow"

[[case]]
name = "decided by another"
call = "depot__get_file"
expect = "allow"
by = "unused"

[[case]]
name = "denied for another reason"
call = "depot__put_file"
expect = "deny"
reason = "forbidden"

[[case]]
name = "no such tool"
call = "depot__get_fil"
expect = "deny"
"#,
    );
    let report = report.unwrap();
    assert!(!report.passed());
    let failures: Vec<&str> = report.results.iter().map(|r| r.failure.as_deref().unwrap_or("ok")).collect();
    assert_eq!(
        failures,
        [
            "ok",
            "ok",
            "expected allow, decided deny",
            "expected to be decided by unused, it was by reads",
            "expected the reason forbidden, it is no_permit",
            "`depot__get_fil`: the lock of `depot` has no tool of that name",
        ]
    );
    let shown = report.to_string();
    for part in [
        "ok     reading",
        "FAILED writing",
        "cases.toml:20)",
        "no policy permits it",
        "no case is decided by: unused",
        "2 passed, 4 failed",
    ] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
}

#[test]
fn what_is_misspelt_is_refused() {
    let case = |line: &str| {
        format!("[[case]]\nname = \"a\"\ncall = \"depot__get_file\"\nexpect = \"allow\"\n{line}\n")
    };
    assert!(report(&case("")).is_ok());
    let table = [
        ("exepct = \"deny\"", "policies/cases.toml:5:1: unknown field `exepct`"),
        ("who = { group = [\"a\"] }", "unknown field `group`"),
        ("session = { denial = 3 }", "`denial` is not a counter: there are calls, denials"),
        ("at = \"monday\"", "`monday` is not an RFC 3339 time"),
        ("who = { trust = \"some\" }", "unknown variant `some`"),
        ("reason = \"because\"", "unknown variant `because`"),
        ("by = \"a b\"", "policies/cases.toml:5"),
    ];
    for (line, expected) in table {
        let faults = report(&case(line)).unwrap_err();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    }
}
