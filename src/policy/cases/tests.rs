use super::*;
use crate::model::{Caller, History, Timestamp};
use crate::policy::fixtures::bundle;
use crate::policy::{Needs, Question};

const SET: &str = r#"
@id("reads") permit(principal, action in Wicket::Action::"read", resource);
@id("breaker") forbid(principal, action, resource) when { context.session.denials + context.member.denials > 3 };
@id("unused") permit(principal in Wicket::Group::"nobody", action, resource);
"#;

/// Counts denials alone, as every counter that is asked for: enough to see that steps are counted. Real
/// counters count in `cli/policy`.
#[derive(Default)]
struct Denials(std::collections::BTreeMap<String, i64>);

impl Counters for Denials {
    fn reset(&mut self) {
        self.0.clear();
    }

    fn read(
        &mut self,
        conversation: &str,
        _: &Caller,
        needs: &Needs,
        _: Timestamp,
    ) -> Result<History, String> {
        let filled = |keys: &[crate::model::CounterKey], count: i64| {
            keys.iter().map(|key| (key.clone(), count)).collect()
        };
        let here = self.0.get(conversation).copied().unwrap_or_default();
        let session = filled(&needs.session, here);
        Ok(History { session, member: filled(&needs.member, self.0.values().sum()) })
    }

    fn count(&mut self, conversation: &str, _: &Question<'_>, decision: &Decision) -> Result<(), String> {
        *self.0.entry(conversation.to_owned()).or_default() += i64::from(!decision.allowed);
        Ok(())
    }
}

/// Runs the cases of shipped files; their sequences count denials alone.
pub(in crate::policy) fn run_plain(bundle: &Bundle, source: &SourceFile) -> Result<Report, Vec<Diagnostic>> {
    let mut counters = Denials::default();
    run(bundle, source, &mut Running { filters: &[], counters: &mut counters, elapsed: &|| Duration::ZERO })
}

fn run_with(set: &str, cases: &str, filters: &[&str]) -> Result<Report, Vec<String>> {
    let filters: Vec<String> = filters.iter().map(|filter| (*filter).to_owned()).collect();
    let elapsed = || Duration::from_micros(1_500);
    let mut counters = Denials::default();
    let mut running = Running { filters: &filters, counters: &mut counters, elapsed: &elapsed };
    run(&bundle(set), &SourceFile::new("policies/cases.toml", cases), &mut running)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn report(cases: &str) -> Result<Report, Vec<String>> {
    run_with(SET, cases, &[])
}

const CASES: &str = r#"
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
"#;

#[test]
fn a_report_names_what_failed_and_what_no_case_reaches() {
    let report = report(CASES).unwrap();
    assert!(!report.is_passed());
    let says = |result: &CaseResult| result.failure.as_ref().map_or("ok".to_owned(), |f| f.says.clone());
    assert_eq!(
        report.results.iter().map(says).collect::<Vec<_>>(),
        [
            "ok",
            "ok",
            "expected allow, decided deny",
            "expected to be decided by unused, it was by reads",
            "expected the reason forbidden, it is no_permit",
            "`depot__get_fil`: the lock of `depot` has no tool of that name",
        ]
    );
    insta::assert_snapshot!("report", report.to_string());
    insta::assert_snapshot!("junit", junit(&report));
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["results"][3]["failure"]["expected"]["by"][0], "unused");
    assert_eq!((json["passed"].as_u64(), json["failed"].as_u64()), (Some(2), Some(4)));
}

#[test]
fn a_filter_runs_the_cases_that_it_names() {
    let report = run_with(SET, CASES, &["BREAKER", "reading"]).unwrap();
    assert_eq!((report.passed, report.failed, report.filtered_out), (2, 0, 4));
    assert!(!report.to_string().contains("no case is decided by"), "a part says nothing of the whole");
}

#[test]
fn every_clause_is_seen_held_and_failed_or_it_is_told() {
    const POLICIES: &str = r#"
@id("reads")
permit(principal, action in Wicket::Action::"read", resource)
when {
  !(context has args.path && context.args.path like "*.env") &&
  (context.time.hour >= 8 || principal in Wicket::Group::"night")
};
@id("never") forbid(principal in Wicket::Group::"gone", action, resource) when { context.time.hour < 3 };
"#;
    let case = |arguments: &str, at: &str| {
        format!(
            "[[case]]\nname = \"a\"\ncall = \"depot__get_file\"\narguments = {arguments}\nat = \"{at}\"\nexpect = \"allow\"\n"
        )
    };
    let seen = |cases: &[String]| {
        let report = run_with(POLICIES, &cases.concat(), &[]).unwrap();
        let policies = report.coverage.policies.iter();
        let clauses = policies
            .flat_map(|policy| &policy.clauses)
            .map(|clause| format!("{}:{} {}", clause.line, clause.text, clause.missing().unwrap_or("both")));
        (report.coverage.percent, clauses.collect::<Vec<_>>())
    };
    let (noon, night) = ("2026-11-23T12:00:00Z", "2026-11-23T01:00:00Z");
    let (percent, clauses) = seen(&[case("{}", noon)]);
    let expected = [
        "5:context has args.path never held",
        "5:context.args.path like \"*.env\" never reached",
        "6:context.time.hour >= 8 never failed",
        "6:principal in Wicket::Group::\"night\" never reached",
        "8:context.time.hour < 3 never reached",
    ];
    assert_eq!((percent, clauses), (25, expected.map(str::to_owned).to_vec()));
    let all = [case("{}", noon), case("{ path = \"a\" }", night), case("{ path = \"a.env\" }", noon)];
    let (percent, clauses) = seen(&all);
    let expected = [
        "5:context has args.path both",
        "5:context.args.path like \"*.env\" both",
        "6:context.time.hour >= 8 both",
        "6:principal in Wicket::Group::\"night\" never held",
        "8:context.time.hour < 3 never reached",
    ];
    assert_eq!((percent, clauses), (66, expected.map(str::to_owned).to_vec()));
    let shown = run_with(POLICIES, &all.concat(), &[]).unwrap().coverage.to_string();
    for part in ["never           0     0 of 1", "a.cedar:8: `never` decides no case", "66% of policies"] {
        assert!(shown.contains(part), "{part} in\n{shown}");
    }
}

#[test]
fn steps_are_counted_and_a_failure_says_which_call() {
    let steps = |expect: &str| {
        format!(
            "[[case]]\nname = \"three denials and no more\"\n\
             [[case.step]]\ncall = \"depot__put_file\"\nexpect = \"deny\"\nreason = \"no_permit\"\ntimes = 2\n\
             [[case.step]]\ncall = \"depot__get_file\"\nafter = \"10m\"\nexpect = \"{expect}\"\nby = \"breaker\"\n"
        )
    };
    // Two denials, counted in the conversation and in the member's day: 4 in all.
    assert!(report(&steps("deny")).unwrap().is_passed());
    let failed = report(&steps("allow")).unwrap();
    let failure = failed.results[0].failure.as_ref().unwrap();
    assert_eq!(failure.step, Some(StepAt { number: 2, time: 1, times: 1 }));
    assert!(failure.to_string().contains("context.session.denials = 2"), "{failure}");
    // Another case starts with nothing counted.
    let twice = [steps("deny"), steps("deny")].concat();
    assert_eq!(report(&twice).unwrap().passed, 2);
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
        ("[[case.step]]\ncall = \"a__b\"\nexpect = \"deny\"", "`call` beside steps"),
        ("[[case]]\nname = \"b\"", "`call` is missing, or steps"),
        ("[[case]]\nname = \"b\"\ncall = \"a__b\"", "`expect` is missing"),
        (
            "[[case]]\nname = \"b\"\n[[case.step]]\ncall = \"a__b\"\nexpect = \"deny\"\ntimes = 0",
            "step 1: `times` is 1 to 1000",
        ),
        (
            "[[case]]\nname = \"b\"\n[[case.step]]\ncall = \"a__b\"\nexpect = \"deny\"\nafter = \"soon\"",
            "step 1: `soon` is no span of time",
        ),
        (
            "[[case]]\nname = \"b\"\n[[case.step]]\ncall = \"a__b\"\nexpect = \"deny\"\nat = \"x\"",
            "unknown field `at`",
        ),
    ];
    for (line, expected) in table {
        let faults = report(&case(line)).unwrap_err();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    }
}
