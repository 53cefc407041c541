//! The policies that the gate ships: they load, their cases pass, and each recipe does what its comment
//! says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Bundle, Scenario, Sources, cases};
use crate::connector::Connectors;
use crate::model::{Reason, SourceFile, Timestamp};

/// Files of one directory whose names end so, by name.
fn files(directory: &str, ends: &[&str]) -> Vec<SourceFile> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(root.join(directory)).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| ends.iter().any(|end| path.to_str().unwrap().ends_with(end)));
    paths.sort();
    let read = |path: &PathBuf| {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
        SourceFile::new(name, &std::fs::read_to_string(path).unwrap())
    };
    paths.iter().map(read).collect()
}

fn lines(faults: &[crate::model::Diagnostic]) -> String {
    faults.iter().map(|fault| format!("{fault}\n")).collect()
}

fn connectors(directories: &[&str]) -> Arc<Connectors> {
    let all: Vec<SourceFile> =
        directories.iter().flat_map(|directory| files(directory, &[".toml", ".tools.json"])).collect();
    Arc::new(Connectors::read(&all).unwrap_or_else(|faults| panic!("{}", lines(&faults))))
}

fn build(policies: Vec<SourceFile>, connectors: Arc<Connectors>) -> Bundle {
    let built = Bundle::build(&Sources { show: Default::default(), policies, cases: None, connectors });
    built.unwrap_or_else(|faults| panic!("{}", lines(&faults)))
}

#[test]
fn the_shipped_policies_load_without_a_warning_and_pass_their_cases() {
    let bundle = build(files("policies", &[".cedar"]), connectors(&["config/connectors"]));
    assert_eq!(lines(bundle.warnings()), "");
    let source = files("policies", &["cases.toml"]).remove(0);
    let report =
        cases::tests::run_plain(&bundle, &source).unwrap_or_else(|faults| panic!("{}", lines(&faults)));
    assert!(report.is_passed() && report.coverage.undecided().next().is_none(), "{report}");
    let messages = bundle.policies().iter().filter(|info| info.effect == super::Effect::Forbid);
    for info in messages {
        assert!(info.annotations.contains_key("denyMessage"), "{} says nothing", info.key);
    }
}

/// The folders of `config/available`, by name.
fn available() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/available");
    let entries = std::fs::read_dir(root).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What `wicket connector add` leads to, of each connector alone and of all together.
#[test]
fn every_available_connector_loads_beside_the_shipped_policies_and_passes_its_cases() {
    let mut all_directories = vec!["config/connectors".to_owned()];
    let mut all_policies = files("policies", &[".cedar"]);
    for name in available() {
        let directory = format!("config/available/{name}");
        let mut policies = files("policies", &[".cedar"]);
        let own = files(&directory, &[".cedar"]);
        policies.extend(own.clone());
        let bundle = build(policies, available_connectors(&["config/connectors", &directory]));
        assert_eq!(lines(bundle.warnings()), "", "{name}");
        for source in files(&directory, &["cases.toml"]) {
            let report = cases::tests::run_plain(&bundle, &source)
                .unwrap_or_else(|faults| panic!("{}", lines(&faults)));
            assert!(report.is_passed(), "{name}: {report}");
            for key in report.coverage.undecided().map(ToString::to_string) {
                assert!(
                    !own.iter().any(|file| file.text.contains(&format!("\"{key}\""))),
                    "{name}: no case for {key}"
                );
            }
        }
        assert_eq!(own.is_empty(), files(&directory, &["cases.toml"]).is_empty(), "{name}");
        all_policies.extend(own);
        all_directories.push(directory);
    }
    let directories: Vec<&str> = all_directories.iter().map(String::as_str).collect();
    let whole = build(all_policies, available_connectors(&directories));
    assert_eq!(lines(whole.warnings()), "");
    for info in whole.policies().iter().filter(|info| info.effect == super::Effect::Forbid) {
        assert!(info.annotations.contains_key("denyMessage"), "{} says nothing", info.key);
    }
}

/// Connectors of folders that hold cases too.
fn available_connectors(directories: &[&str]) -> Arc<Connectors> {
    let all: Vec<SourceFile> = directories
        .iter()
        .flat_map(|directory| files(directory, &[".toml", ".tools.json"]))
        .filter(|file| !file.name.ends_with("cases.toml"))
        .collect();
    Arc::new(Connectors::read(&all).unwrap_or_else(|faults| panic!("{}", lines(&faults))))
}

/// The connectors that recipes speak of.
const RECIPES_ABOUT: [&str; 4] =
    ["config/connectors", "config/available/github", "config/available/linear", "config/available/slack"];

/// A bundle of one recipe alone beside a permit for reading.
fn recipe(id: &str) -> Bundle {
    let all = available_connectors(&RECIPES_ABOUT);
    let recipes = files("policies/recipes", &[".cedar.example"]);
    let whole = build(recipes, Arc::clone(&all));
    let info = whole.policies().iter().find(|info| info.key.as_str() == id).unwrap();
    build(vec![SourceFile::new("recipe.cedar", &info.text)], all)
}

/// Recipe, call, arguments, change of the scenario, whether the recipe matches.
type Row = (&'static str, &'static str, Value, fn(&mut Scenario), bool);

#[expect(clippy::too_many_lines, reason = "a table, a row for each thing that a recipe says")]
fn rows() -> Vec<Row> {
    let none: fn(&mut Scenario) = |_| {};
    let repository = |owner: &str| json!({"owner": owner, "repo": "site", "branch": "feature", "path": "a", "content": "", "message": ""});
    let on = |branch: &str| json!({"owner": "acme", "repo": "site", "branch": branch});
    vec![
        ("github-read-only", "github__push_files", json!({}), none, true),
        ("github-read-only", "github__delete_file", json!({}), none, true),
        ("github-read-only", "github__get_me", json!({}), none, false),
        ("github-no-deletes-no-merges", "github__merge_pull_request", json!({}), none, true),
        ("github-no-deletes-no-merges", "github__fork_repository", json!({}), none, false),
        ("github-office-hours", "github__create_branch", json!({}), none, true),
        (
            "github-office-hours",
            "github__create_branch",
            json!({}),
            |s| s.at = s.at.plus_millis(-2 * 3_600_000),
            false,
        ),
        (
            "github-office-hours",
            "github__create_branch",
            json!({}),
            |s| s.at = s.at.plus_millis(-86_400_000),
            false,
        ),
        ("github-one-repository", "github__create_or_update_file", repository("ACME"), none, true),
        ("github-one-repository", "github__create_or_update_file", repository("other"), none, false),
        ("github-one-repository", "github__create_or_update_file", json!({}), none, false),
        ("github-one-organisation", "github__create_or_update_file", repository("Acme"), none, true),
        ("github-one-organisation", "github__create_or_update_file", repository("acme-not"), none, false),
        ("github-public-only", "github__get_file_contents", repository("acme"), none, false),
        ("github-protected-branches-by-name", "github__push_files", on("main"), none, true),
        ("github-protected-branches-by-name", "github__push_files", on("feature"), none, false),
        (
            "github-protected-branches-by-name",
            "github__push_files",
            json!({"owner": "acme", "repo": "site"}),
            none,
            true,
        ),
        ("github-protected-branches", "github__push_files", on("feature"), none, true),
        (
            "github-no-drafts",
            "github__merge_pull_request",
            json!({"owner": "acme", "repo": "site", "pullNumber": 7}),
            none,
            true,
        ),
        (
            "github-pinned",
            "github__update_pull_request",
            json!({"owner": "acme", "repo": "site", "pullNumber": 7}),
            none,
            true,
        ),
        (
            "github-pinned",
            "github__update_pull_request",
            json!({"owner": "acme", "repo": "site", "pullNumber": 9}),
            none,
            false,
        ),
        (
            "github-pinned",
            "github__add_issue_comment",
            json!({"owner": "acme", "repo": "site", "issue_number": 3}),
            none,
            true,
        ),
        ("slack-read-only", "slack__slack_delete_message", json!({}), none, true),
        ("slack-read-only", "github__issue_write", json!({}), none, false),
        (
            "slack-approved-channels",
            "slack__slack_send_message",
            json!({"channel_id": "C0123456789"}),
            none,
            true,
        ),
        ("slack-approved-channels", "slack__slack_send_message", json!({"channel_id": "C1"}), none, false),
        ("slack-public-channels", "slack__slack_reply_to_thread", json!({"channel_id": "C1"}), none, false),
        ("linear-read-only", "linear__save_issue", json!({"team": "ENG"}), none, true),
        ("linear-read-only", "github__issue_write", json!({}), none, false),
        ("linear-one-team", "linear__save_issue", json!({"team": "ENG"}), none, true),
        ("linear-one-team", "linear__save_issue", json!({"team": "OPS"}), none, false),
        // Moving a foreign issue here is no new issue.
        ("linear-one-team", "linear__save_issue", json!({"id": "OPS-1", "team": "ENG"}), none, false),
        ("linear-hands-off-finished-work", "linear__save_issue", json!({"id": "ENG-1"}), none, true),
        ("linear-hands-off-finished-work", "linear__save_issue", json!({"team": "ENG"}), none, false),
        (
            "linear-labelled-for-agents",
            "linear__save_issue",
            json!({"id": "ENG-1", "labels": ["agent"]}),
            none,
            false,
        ),
        ("no-sampling", "github__sampling/createMessage", json!({"maxTokens": 10}), none, true),
        ("no-sampling", "everything__sampling/createMessage", json!({"maxTokens": 10}), none, false),
        ("no-pages", "github__elicitation/create", json!({"mode": "url"}), none, true),
        ("no-pages", "github__elicitation/create", json!({"message": "a form"}), none, false),
        ("three-strikes", "github__get_me", json!({}), none, false),
        ("three-strikes", "github__get_me", json!({}), |s| count(s, "denials", 3), true),
        ("three-strikes", "wicket__whoami", json!({}), |s| count(s, "denials", 3), false),
        ("write-limit", "github__push_files", json!({}), |s| count(s, "tier/write", 20), true),
        ("write-limit", "github__push_files", json!({}), |s| count(s, "tier/write", 19), false),
        (
            "no-files-to-chat",
            "slack__slack_send_message",
            json!({}),
            |s| count(s, "service/filesystem", 1),
            true,
        ),
        ("no-files-to-chat", "slack__slack_send_message", json!({}), none, false),
        ("few-issues", "github__issue_write", json!({}), |s| count(s, "tool/github:issue_write", 5), true),
        ("few-issues", "github__issue_write", json!({}), |s| count(s, "tool/github:issue_write", 4), false),
        (
            "writers-for-a-while",
            "github__issue_write",
            json!({}),
            |s| count(s, "allow/writers-for-a-while", 9),
            true,
        ),
        (
            "writers-for-a-while",
            "github__issue_write",
            json!({}),
            |s| count(s, "allow/writers-for-a-while", 10),
            false,
        ),
        ("writers-write", "github__issue_write", json!({}), |s| group(s, "writers"), true),
        ("writers-write", "github__issue_write", json!({}), |s| group(s, "readers"), false),
        ("owner-writes-from-the-office", "github__issue_write", json!({}), owner, false),
        (
            "owner-writes-from-the-office",
            "github__issue_write",
            json!({}),
            |s| {
                owner(s);
                s.ip = "192.0.2.9".parse().unwrap();
            },
            true,
        ),
        (
            "operators-destroy-in-office-hours",
            "github__delete_file",
            json!({}),
            |s| group(s, "operators"),
            true,
        ),
        ("operators-destroy-in-office-hours", "github__delete_file", json!({}), none, false),
        (
            "operators-destroy-in-office-hours",
            "github__delete_file",
            json!({}),
            |s| {
                group(s, "operators");
                s.at = s.at.plus_millis(8 * 3_600_000);
            },
            false,
        ),
    ]
}

#[test]
fn every_recipe_does_what_it_says() {
    let mut bundles = std::collections::BTreeMap::new();
    let mut wrong = Vec::new();
    for (id, call, arguments, change, expected) in rows() {
        let bundle = bundles.entry(id).or_insert_with(|| recipe(id));
        // A Monday, ten o'clock in Berlin.
        let mut scenario = Scenario::new(call, Timestamp::parse("2026-11-23T09:00:00Z").unwrap());
        scenario.arguments = arguments.clone();
        change(&mut scenario);
        let decision = scenario.ask(bundle, |question| bundle.decide(question)).unwrap();
        let matches = decision.determining.iter().any(|policy| policy.key.as_str() == id);
        if matches != expected || !decision.errors.is_empty() {
            wrong.push(format!("{id} {call} {arguments}: {decision:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let recipes = files("policies/recipes", &[".cedar.example"]);
    let whole = build(recipes, available_connectors(&RECIPES_ABOUT));
    assert_eq!(lines(whole.warnings()), "");
    for info in whole.policies() {
        assert!(bundles.contains_key(info.key.as_str()), "no row for {}", info.key);
    }
}

fn count(scenario: &mut Scenario, counter: &str, times: i64) {
    scenario.history.session.insert(counter.parse().unwrap(), times);
    scenario.history.member.insert(counter.parse().unwrap(), times);
}

fn group(scenario: &mut Scenario, name: &str) {
    scenario.groups.insert(name.parse().unwrap());
}

fn owner(scenario: &mut Scenario) {
    scenario.role = crate::model::Role::Owner;
}

#[test]
fn the_recipe_for_writers_opens_writing_that_nothing_permits_else() {
    let mut policies = files("policies", &[".cedar"]);
    policies.extend(files("policies/recipes", &["writers.cedar.example"]));
    let all = connectors(&["config/connectors"]);
    let ask = |bundle: &Bundle| {
        let mut scenario =
            Scenario::new("filesystem__write_file", Timestamp::parse("2026-11-23T09:00:00Z").unwrap());
        scenario.arguments = json!({"path": "/scratch/a.txt", "content": "x"});
        group(&mut scenario, "writers");
        scenario.ask(bundle, |question| bundle.decide(question)).unwrap()
    };
    let closed = ask(&build(files("policies", &[".cedar"]), Arc::clone(&all)));
    assert_eq!((closed.allowed, closed.reason), (false, Reason::NoPermit));
    assert!(ask(&build(policies, all)).allowed);
}
