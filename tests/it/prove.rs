//! `wicket policy prove` and `wicket policy diff` as an operator sees them, and a gate that takes no set of
//! which an invariant does not hold.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Gate, GateOptions, binary, skip};

const POLICIES: &str = r#"@id("own-tools")
permit (principal, action, resource in Wicket::Service::"wicket")
when { context.time.zones["Europe/Berlin"].hour >= 9 }
unless { context.member.denials >= 5 };
"#;

const INVARIANTS: &str = r#"
[[invariant]]
name = "nobody calls at night"
why = "nobody would see it"
never = "allow"
when = "context.time.hour < 6"

[[invariant]]
name = "nobody calls in the evening"
why = "nobody would see that either"
never = "allow"
tools = ["wicket__whoami"]
when = "context.time.hour >= 22"
"#;

/// Whether this machine has a solver; a loud skip where it has none.
pub fn solver(test: &str) -> bool {
    let found = Command::new("cvc5").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        skip(test, "the solver cvc5 is not installed (.ci/tools cvc5)");
    }
    found
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["policies", "connectors", "older"] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
    }
    let config = "data_dir = \"data\"\n[policies]\ndir = \"policies\"\n[connectors]\ndir = \"connectors\"\n";
    std::fs::write(dir.path().join("wicket.toml"), config).unwrap();
    std::fs::write(dir.path().join("policies/a.cedar"), POLICIES).unwrap();
    std::fs::write(dir.path().join("older/a.cedar"), POLICIES.replace(">= 9", ">= 10")).unwrap();
    dir
}

/// What `wicket policy …` printed, and its exit code.
fn policy(dir: &Path, words: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    command.args(["--config", "wicket.toml", "policy"]).args(words).current_dir(dir);
    command.envs(variables.iter().copied());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn invariants_are_proved_or_refuted_by_a_call() {
    if !solver("prove-command") {
        return;
    }
    let dir = folder();
    std::fs::write(dir.path().join("policies/invariants.toml"), INVARIANTS).unwrap();
    let (code, page, _) = policy(dir.path(), &["prove"], &[]);
    let lines: Vec<&str> = page.lines().collect();
    assert_eq!(code, Some(1), "{page}");
    assert!(lines[0].starts_with("proved nobody calls at night ("), "{page}");
    assert_eq!(lines[1], "wrong  nobody calls in the evening", "{page}");
    assert_eq!(lines[2], "      because nobody would see that either", "{page}");
    assert_eq!(lines[3], "      wicket__whoami {}", "{page}");
    assert!(lines[6].starts_with("        when   ") && lines[6].contains(" at 22:"), "{page}");
    assert!(lines[6].contains("in Europe/Berlin)"), "{page}");
    assert!(page.contains("        is     allowed by `own-tools`\n"), "{page}");

    let (code, page, _) = policy(dir.path(), &["prove", "--json"], &[]);
    let report: Value = serde_json::from_str(&page).unwrap();
    assert_eq!((code, &report["holds"]), (Some(1), &json!(false)));
    let call = &report["results"][1]["answer"]["counterexamples"][0];
    assert_eq!((&call["call"], &call["allowed"]), (&json!("wicket__whoami"), &json!(true)));

    // The same call, by the cases' own words, is what the gate says.
    let case = format!(
        "[[case]]\nname = \"as told\"\ncall = \"wicket__whoami\"\nat = \"{}\"\nexpect = \"allow\"\nby = \"own-tools\"\n",
        call["at"].as_str().unwrap()
    );
    std::fs::write(dir.path().join("policies/cases.toml"), case).unwrap();
    let (code, page, _) = policy(dir.path(), &["test"], &[]);
    assert_eq!(code, Some(0), "{page}");
}

#[test]
fn a_change_is_told_by_what_becomes_allowed_and_denied() {
    if !solver("prove-diff") {
        return;
    }
    let dir = folder();
    let (code, page, _) = policy(dir.path(), &["diff", "older"], &[]);
    assert_eq!(code, Some(1), "{page}");
    assert!(
        page.starts_with("~ permit own-tools (policies/a.cedar:1)\ncalls become allowed, such as:\n"),
        "{page}"
    );
    assert!(page.contains("at 09:") && page.contains("allowed by `own-tools`"), "{page}");
    assert!(page.lines().all(|line| line.matches("in Europe/Berlin").count() < 2), "{page}");
    assert!(page.contains("no call becomes denied ("), "{page}");
    let (code, page, _) = policy(dir.path(), &["diff", "older", "--sample"], &[]);
    assert_eq!(code, Some(1), "{page}");
    assert!(page.contains("calls become allowed, such as:") && page.contains("and no proof"), "{page}");

    let (code, page, _) = policy(dir.path(), &["prove", "--against", "older"], &[]);
    assert_eq!(code, Some(1), "{page}");
    assert!(page.starts_with("wrong  nothing is allowed that `older` does not allow\n"), "{page}");
    // The other way round nothing is wider, and the same set is equivalent to itself in other words.
    std::fs::write(dir.path().join("policies/a.cedar"), POLICIES.replace(">= 9", ">= 10")).unwrap();
    std::fs::write(dir.path().join("older/a.cedar"), POLICIES.replace(">= 9", "> 9")).unwrap();
    let (code, page, _) =
        policy(dir.path(), &["prove", "--against", "older", "--equivalent", "--idle", "--errors"], &[]);
    assert_eq!(code, Some(0), "{page}");
    assert_eq!(page.lines().filter(|line| line.starts_with("proved ")).count(), 4, "{page}");
}

/// Git in this folder, untouched by what the machine or a hook says of other repositories.
fn git(dir: &Path, words: &[&str]) {
    let mut command = Command::new("git");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").current_dir(dir);
    command.args(["-c", "user.name=x", "-c", "user.email=x@example.com"]).args(words);
    assert!(command.output().unwrap().status.success(), "{words:?}");
}

#[test]
fn a_revision_of_git_is_compared_like_a_directory() {
    if Command::new("git").arg("--version").output().is_err() {
        return skip("prove-git", "git is not installed");
    }
    let dir = folder();
    let dir = dir.path();
    std::fs::write(dir.join("policies/.draft.cedar"), "no policy at all").unwrap();
    for words in [&["init", "-q"][..], &["add", "."], &["commit", "-qm", "one"]] {
        git(dir, words);
    }
    std::fs::write(dir.join("policies/a.cedar"), POLICIES.replace(">= 9", ">= 8")).unwrap();
    git(dir, &["commit", "-qam", "two"]);
    std::fs::write(dir.join("policies/a.cedar"), POLICIES.replace(">= 9", ">= 7")).unwrap();
    let diff = |words: &[&str]| policy(dir, &[&["diff", "--sample"], words].concat(), &[]);
    for (words, allowed, denied, place) in [
        (&["HEAD"][..], true, false, "policies/a.cedar:1"),
        (&["HEAD~1", "HEAD"], true, false, "HEAD:policies/a.cedar:1"),
        (&["HEAD", "HEAD~1"], false, true, "HEAD~1:policies/a.cedar:1"),
        (&["HEAD~1:older", "HEAD~1"], true, false, "HEAD~1:policies/a.cedar:1"),
        (&["older", "HEAD:older"], false, false, ""),
    ] {
        let (code, page, error) = diff(words);
        assert_eq!(code, Some(i32::from(allowed || denied)), "{words:?} {page} {error}");
        assert_eq!(page.contains("calls become allowed, such as:"), allowed, "{words:?} {page}");
        assert_eq!(page.contains("calls become denied, such as:"), denied, "{words:?} {page}");
        let first = match place {
            "" => "the policies are the same, word for word\n".to_owned(),
            place => format!("~ permit own-tools ({place})\n"),
        };
        assert!(page.starts_with(&first), "{words:?} {page}");
    }
    for (words, variables, expected) in [
        (&["diff", "nowhere"][..], &[][..], "`nowhere` is no directory here, and no revision of policies: "),
        (&["diff", "HEAD:connectors"], &[], "`HEAD:connectors` is no directory here"),
        (&["diff", "--", "--output=x"], &[], "it names nothing"),
        (
            &["diff", "HEAD"],
            &[("PATH", "/nowhere")],
            "git, which may know it as a revision, is not installed",
        ),
        (&["prove", "--against", "HEAD~9"], &[], "`HEAD~9` is no directory here"),
    ] {
        let (code, page, error) = policy(dir, words, variables);
        assert_eq!((code, page.as_str()), (Some(2), ""), "{words:?} {error}");
        assert!(error.contains(expected), "{words:?} {error}");
    }
}

/// What an agent stores stands on both sets: it may take away a difference, or be why there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_the_files_is_told_for_one_agent() {
    let gate = Gate::start(GateOptions::new(vec![])).await;
    let older = gate.dir().join("older");
    std::fs::create_dir(&older).unwrap();
    let whoami = "@id(\"who\") permit (principal, action == WicketMCP::Action::\"whoami\", resource);\n";
    std::fs::write(older.join("a.cedar"), whoami).unwrap();
    let file = gate.dir().join("policy.json");
    let store = async |body: Value| {
        std::fs::write(&file, body.to_string()).unwrap();
        gate.command(&["policy", "create", "--agent", "tester", file.to_str().unwrap()]).await
    };
    let diff = async |agent: &str| {
        gate.command(&["policy", "diff", older.to_str().unwrap(), "--sample", "--agent", agent]).await
    };
    gate.command(&["policy", "delete", "--agent", "tester", "baseline-wicket-read-tools", "--yes"]).await;
    let (same, page) = diff("tester").await;
    assert!(!same && page.contains("of calls of the agent `tester`, which stores"), "{page}");
    assert!(page.contains("calls become allowed, such as:") && page.contains("wicket__session"), "{page}");
    let closed =
        json!({"name": "Closed", "service": "wicket", "effect": "forbid", "tiers": ["read", "write"]});
    assert!(store(closed).await.0);
    let (same, page) = diff("tester").await;
    assert!(same && page.contains("no call of the sample becomes allowed"), "{page}");
    // A file took the key of a stored policy.
    std::fs::write(older.join("b.cedar"), "@id(\"closed\") permit (principal, action, resource);\n").unwrap();
    let (_, page) = diff("tester").await;
    assert!(page.contains("on the old files the stored policy `closed` does not load"), "{page}");
    assert!(
        gate.command(&["agent", "create", "outside", "--trust", "untrusted", "--service", "wicket"]).await.0
    );
    let (same, page) = diff("outside").await;
    assert!(same && page.contains("has an enforced policy of its own: every call is denied"), "{page}");
    let (found, page) = diff("nobody").await;
    assert!(!found && page.contains("nobody"), "{page}");
}

#[test]
fn without_a_solver_nothing_is_proved() {
    let dir = folder();
    std::fs::write(dir.path().join("policies/invariants.toml"), INVARIANTS).unwrap();
    let nowhere = [("WICKET_CVC5", ""), ("CVC5", ""), ("PATH", "/nowhere")];
    let (code, page, error) = policy(dir.path(), &["prove"], &nowhere);
    assert_eq!((code, page.as_str()), (Some(2), ""), "{error}");
    assert!(error.contains("nothing was proved") && error.contains("apt-get install cvc5"), "{error}");
    let (code, page, error) = policy(dir.path(), &["diff", "older"], &nowhere);
    assert_eq!(code, Some(1), "{error}");
    assert!(page.contains("this is a sample of 20000 made-up calls, and no proof"), "{page}");
    let (code, _, error) = policy(dir.path(), &["prove"], &[("WICKET_CVC5", "/nowhere/cvc5")]);
    assert_eq!(code, Some(2), "{error}");
    assert!(error.contains("`WICKET_CVC5` names `/nowhere/cvc5`, which is no file"), "{error}");
}

const OPEN: &str = "@id(\"all\")\npermit (principal, action, resource);\n";
const NEVER: &str =
    "[[invariant]]\nname = \"nobody asks who it is\"\nnever = \"allow\"\ntools = [\"wicket__whoami\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_that_breaks_an_invariant_is_not_taken() {
    if !solver("prove-reload") {
        return;
    }
    let mut gate = Gate::start(proving()).await;
    let whoami = async |gate: &Gate| gate.client().call("wicket__whoami", json!({})).await.succeeded();
    assert!(whoami(&gate).await);
    gate.write_policy("invariants.toml", NEVER);
    let (fine, page) = gate.command(&["reload"]).await;
    assert!(!fine && page.contains("the invariant `nobody asks who it is` does not hold"), "{page}");
    assert!(page.contains("wicket__whoami") && page.contains("policies/invariants.toml:1"), "{page}");
    assert!(whoami(&gate).await, "what was in force is in force no more");

    gate.write_policy(
        "forbid.cedar",
        "@id(\"no\")\nforbid (principal, action == WicketMCP::Action::\"whoami\", resource);\n",
    );
    let (fine, page) = gate.command(&["reload"]).await;
    assert!(fine, "{page}");
    assert!(!whoami(&gate).await);
    gate.write_policy("open.cedar", OPEN);
    let (fine, page) = gate.command(&["reload"]).await;
    assert!(fine, "a permit more breaks nothing: {page}");
    gate.remove_policy("forbid.cedar");
    let (fine, page) = gate.command(&["reload"]).await;
    assert!(!fine && page.contains("a call would be allowed"), "{page}");
    assert!(!whoami(&gate).await);

    // Who loses the file loses no guard unnoticed.
    gate.remove_policy("invariants.toml");
    let (fine, page) = gate.command(&["reload"]).await;
    assert!(!fine && page.contains("policies/invariants.toml: is missing"), "{page}");
    gate.write_policy("invariants.toml", NEVER);

    // Nor does a restart let in what a reload refuses.
    assert!(gate.stop().await.success());
    let started =
        Command::new(binary()).args(["run", "--config", "wicket.toml"]).current_dir(gate.dir()).output();
    let Output { status, stderr, .. } = started.unwrap();
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(
        !status.success() && said.contains("the invariant `nobody asks who it is` does not hold"),
        "{said}"
    );
}

/// By then the gate has seen a change of one file, and asks its solver.
const WATCHED: Duration = Duration::from_millis(80);

/// A gate that takes no set that breaks an invariant; it has none to keep at first.
fn proving() -> GateOptions {
    GateOptions::new(vec![])
        .with_config("[policies]\nprove = \"reload\"\n")
        .with_policy("invariants.toml", "")
}

const ANSWERED: &str =
    "[[invariant]]\nname = \"an agent can ask why\"\nnever = \"deny\"\ntools = [\"wicket__explain\"]\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_that_breaks_an_invariant_is_not_made() {
    if !solver("prove-save") {
        return;
    }
    let mut gate = Gate::start(proving()).await;
    gate.write_policy("invariants.toml", ANSWERED);
    let (fine, page) = gate.command(&["reload"]).await;
    assert!(fine, "{page}");
    let owner = gate.account("owner@example.com").await;
    let agent = owner.post("/api/agents", json!({ "name": "Mine" })).await.expect(201);
    let path = |rest: &str| format!("/api/agents/{}/policies{rest}", agent["id"].as_str().unwrap());
    let forbid = |tool: &str, mode: &str, enabled: bool| {
        let cedar = format!("forbid (principal, action == WicketMCP::Action::\"{tool}\", resource);");
        json!({ "name": format!("no {tool} {mode} {enabled}"), "cedar": cedar, "mode": mode, "enabled": enabled })
    };
    let closing = owner.post(&path(""), forbid("whoami", "enforced", true)).await.expect(201);
    let refused = owner.post(&path(""), forbid("explain", "enforced", true)).await.expect(422);
    let said = refused.to_string();
    assert!(said.contains("an invariant of the policies would not hold"), "{said}");
    assert!(
        said.contains("the invariant `an agent can ask why` does not hold: a call would be denied"),
        "{said}"
    );
    // What decides nothing breaks nothing, until it is to decide.
    owner.post(&path(""), forbid("explain", "shadow", true)).await.expect(201);
    let off = owner.post(&path(""), forbid("explain", "enforced", false)).await.expect(201);
    let toggle = path(&format!("/{}/toggle", off["id"].as_str().unwrap()));
    owner.post(&toggle, json!({ "enabled": true })).await.expect(422);
    let listed = owner.get(&path("")).await.expect(200);
    assert_eq!(listed["total"], 3, "{listed}");

    // Nor is a forbid deleted behind which something is open.
    let delete = async |agent: &str, key: &str| {
        let (fine, page) = gate.command(&["policy", "delete", "--agent", agent, key, "--yes"]).await;
        assert!(fine, "{page}");
    };
    delete("tester", "baseline-wicket-read-tools").await;
    gate.remove_policy("baseline.cedar");
    gate.write_policy("invariants.toml", NEVER);
    let (fine, page) = gate.command(&["reload"]).await;
    assert!(fine, "{page}");
    let open = "permit (principal, action == WicketMCP::Action::\"whoami\", resource);";
    owner.post(&path(""), json!({ "name": "asks", "cedar": open })).await.expect(201);
    let closing = path(&format!("/{}", closing["id"].as_str().unwrap()));
    let refused = owner.delete(&closing).await.expect(422).to_string();
    assert!(refused.contains("`nobody asks who it is` does not hold: a call would be allowed"), "{refused}");

    // A gate that is stopped proves nothing: its next start does, and names the agent.
    assert!(gate.stop().await.success());
    let delete = ["policy", "delete", "--agent", "Mine", "no-whoami-enforced-true", "--yes"];
    let (fine, page) = gate.command(&delete).await;
    assert!(fine, "{page}");
    let (fine, page) = gate.command(&["run"]).await;
    assert!(
        !fine && page.contains("agent `Mine`: the invariant `nobody asks who it is` does not hold"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_changes_at_one_moment_do_not_break_together_what_each_keeps() {
    if !solver("prove-race") {
        return;
    }
    let gate = Gate::start(proving()).await;
    let (fine, page) =
        gate.command(&["policy", "delete", "--agent", "tester", "baseline-wicket-read-tools", "--yes"]).await;
    assert!(fine, "{page}");
    gate.remove_policy("baseline.cedar");
    let forbid = "forbid (principal, action == WicketMCP::Action::\"whoami\", resource);";
    gate.write_policy("forbid.cedar", &format!("@id(\"no\")\n{forbid}\n"));
    // So many that both are proved at the same time, each for longer than the watcher waits.
    let by_hour = |hour: u8| {
        let name = format!("nobody asks who it is at {hour}");
        format!(
            "[[invariant]]\nname = \"{name}\"\nnever = \"allow\"\ntools = [\"wicket__whoami\"]\nwhen = \"context.time.hour == {hour}\"\n"
        )
    };
    gate.write_policy("invariants.toml", &(0..24).map(by_hour).collect::<String>());
    let (fine, page) = gate.command(&["reload"]).await;
    assert!(fine, "{page}");
    let owner = gate.account("owner@example.com").await;
    let agent = owner.post("/api/agents", json!({ "name": "Mine" })).await.expect(201);
    let policies = format!("/api/agents/{}/policies", agent["id"].as_str().unwrap());
    let stored = owner.post(&policies, json!({ "name": "no", "cedar": forbid })).await.expect(201);
    let open = "permit (principal, action == WicketMCP::Action::\"whoami\", resource);";
    owner.post(&policies, json!({ "name": "asks", "cedar": open })).await.expect(201);

    // Either forbid is enough. The watcher proves that the files' may go while the stored one goes.
    gate.remove_policy("forbid.cedar");
    tokio::time::sleep(WATCHED).await;
    let answer = owner.delete(&format!("{policies}/{}", stored["id"].as_str().unwrap())).await;
    let deleted = answer.status == 204;
    let (reloaded, page) = gate.command(&["reload"]).await;
    assert!(deleted != reloaded, "deleted: {deleted}, reloaded: {reloaded}: {page}");
    if !deleted {
        assert!([409, 422].contains(&answer.status.as_u16()), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_knows_is_refused_unless_it_is_accepted() {
    if !solver("prove-unknown") {
        return;
    }
    let unknown = NEVER.to_owned() + "when = \"context.time.hour > 24 && context.session.denials > 2\"\n";
    for accepted in [false, true] {
        let word = if accepted { "accept" } else { "refuse" };
        let config = format!(
            "[policies]\nprove = \"reload\"\nprove_unknown = \"{word}\"\nprove_question_ms_max = 1\n"
        );
        let options = GateOptions::new(vec![]).with_config(&config).with_policy("invariants.toml", "");
        let gate = Gate::start(options).await;
        gate.write_policy("invariants.toml", &unknown);
        let (fine, page) = gate.command(&["reload"]).await;
        assert_eq!(fine, accepted, "{page}\n{}", gate.log());
        let said = if accepted { gate.log() } else { page };
        assert!(said.contains("holds of `wicket__whoami` is unknown"), "{said}");
    }
}
