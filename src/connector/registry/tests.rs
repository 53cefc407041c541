//! What the set promises: whole or not at all, and the files of this repository as they stand.

use super::*;
use crate::model::Tier;

/// The files of a folder of the repository, as the gate reads them.
fn folder(path: &str) -> Vec<SourceFile> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut files: Vec<_> = std::fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| SourceFile::new(path.to_str().unwrap(), &std::fs::read_to_string(&path).unwrap()))
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}

fn tiers(connector: &Connector, tier: Tier) -> Vec<&str> {
    connector.tools.values().filter(|t| t.tier == tier).map(|t| t.name.as_str()).collect()
}

#[test]
fn the_shipped_connectors_load_and_every_tool_was_tiered_by_hand() {
    let files = folder("config/connectors");
    let connectors = Connectors::read(&files).unwrap();
    let services: Vec<_> = connectors.iter().map(|c| c.service.as_str()).collect();
    assert_eq!(services, ["everything", "filesystem", "wicket"]);
    let filesystem = connectors.get("filesystem").unwrap();
    assert_eq!(tiers(filesystem, Tier::Write), ["create_directory", "edit_file", "write_file"]);
    assert_eq!(tiers(filesystem, Tier::Destructive), ["move_file"]);
    for connector in connectors.iter().filter(|c| c.service.as_str() != "wicket") {
        assert!(connector.optional && !connector.requires.is_empty(), "{}", connector.service);
        let text = files.iter().find(|f| f.name.ends_with(&format!("/{}.toml", connector.service))).unwrap();
        let written: toml::Table = text.text.parse().unwrap();
        let by_hand: usize =
            written["tiers"].as_table().unwrap().values().map(|list| list.as_array().unwrap().len()).sum();
        assert_eq!(by_hand, connector.tools.len(), "{}", connector.service);
        let lock = files.iter().find(|f| f.name.ends_with(&format!("/{}.tools.json", connector.service)));
        let lock = Lock::parse(lock.unwrap()).unwrap();
        assert_eq!(lock.to_json().unwrap(), folder_text(&files, connector), "the lock is in its stable form");
        for tool in &lock.tools {
            let served = &connector.tools[tool.name.as_str()];
            assert_eq!(served.tier, tool.tier, "{}: lock and descriptor agree", tool.name);
        }
    }
}

fn folder_text(files: &[SourceFile], connector: &Connector) -> String {
    let end = format!("/{}.tools.json", connector.service);
    files.iter().find(|f| f.name.ends_with(&end)).unwrap().text.to_string()
}

#[test]
fn the_fixtures_have_the_tiers_of_the_specification() {
    let connectors = Connectors::read(&folder("tests/data/connectors")).unwrap();
    let github = connectors.get("github").unwrap();
    let written = "add_comment_to_pending_review add_issue_comment add_reply_to_pull_request_comment \
        create_branch create_or_update_file create_pull_request issue_write pull_request_review_write \
        push_files request_copilot_review sub_issue_write update_pull_request update_pull_request_branch";
    assert_eq!(tiers(github, Tier::Write), written.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        tiers(github, Tier::Destructive),
        ["create_repository", "delete_file", "fork_repository", "merge_pull_request"]
    );
    assert_eq!(github.namespace, "GitHubMCP");
    assert_eq!(connectors.get("slack").unwrap().namespace, "SlackMCP");
}

#[test]
fn a_name_resolves_in_one_way_only() {
    let connectors = Connectors::read(&folder("tests/data/connectors")).unwrap();
    let check = |name: &str, expected: Result<(&str, &str), ResolveFault>| {
        let found = connectors.resolve(name).map(|(connector, tool)| (connector.service.to_string(), tool));
        let expected = expected.map(|(service, tool)| (service.to_owned(), tool));
        assert_eq!(found, expected, "{name}");
    };
    check("github__delete_file", Ok(("github", "delete_file")));
    check("github___x", Ok(("github", "_x")));
    check("github__a__b", Ok(("github", "a__b")));
    check("wicket__whoami", Ok(("wicket", "whoami")));
    check("delete_file", Err(ResolveFault::NoPrefix));
    check("github__", Err(ResolveFault::NoPrefix));
    check("__x", Err(ResolveFault::NoPrefix));
    check("GitHub__x", Err(ResolveFault::UnknownService("GitHub".to_owned())));
    assert!(connectors.tool("github__delete_file").is_some());
    assert!(connectors.tool("github__nope").is_none());
}

const LOCK: &str = r#"{"service":"crm","tools":[]}"#;
const STDIO: &str = "[transport]\nkind = \"stdio\"\ncommand = \"true\"\n";

#[test]
fn a_set_loads_whole_or_says_everything_that_is_wrong() {
    let file = |name: &str, text: &str| SourceFile::new(&format!("c/{name}"), text);
    let check = |files: &[SourceFile], expected: &[&str]| {
        let faults = Connectors::read(files).unwrap_err();
        let told: Vec<_> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.contains(expected), "{told}\n does not hold {expected}");
        }
    };
    check(
        &[file("crm.toml", STDIO)],
        &["c/crm.toml: no lock `crm.tools.json` beside it (run `wicket connector sync crm`"],
    );
    check(&[file("crm.tools.json", LOCK)], &["c/crm.tools.json: a lock without its descriptor"]);
    check(&[file("crm.tml", "")], &["c/crm.tml: neither a descriptor nor a lock"]);
    check(&[file("CRM.toml", "")], &["c/CRM.toml: `CRM` is not a service key"]);
    check(&[file("wicket.toml", "")], &["the gate's own connector"]);
    check(
        &[file("crm.toml", STDIO), file("crm.tools.json", r#"{"service":"x","tools":[]}"#)],
        &["of service `x`"],
    );
    check(
        &[file("crm.toml", STDIO), file("crm.tools.json", "{\n \"service\": 1")],
        &["c/crm.tools.json:2:13: not a lock"],
    );
    let two = |a: &str, b: &str| {
        vec![
            file("c-rm.toml", &format!("{a}{STDIO}")),
            file("c-rm.tools.json", &LOCK.replace("crm", "c-rm")),
            file("c_rm.toml", &format!("{b}{STDIO}")),
            file("c_rm.tools.json", &LOCK.replace("crm", "c_rm")),
        ]
    };
    check(&two("", ""), &["c/c_rm.toml: namespace `CRmMCP` is also that of `c-rm`"]);
    check(&two("", "namespace = \"Wicket\"\n"), &["namespace `Wicket` is the gate's own"]);
    check(&two("", "namespace = \"WicketMCP\"\n"), &["is also that of"]);
    assert!(Connectors::read(&two("", "namespace = \"Other\"\n")).is_ok());
}

#[test]
fn the_digest_covers_every_file_and_not_their_order() {
    let mut files = folder("tests/data/connectors");
    let digest = |files: &[SourceFile]| Connectors::read(files).unwrap().digest();
    let before = digest(&files);
    files.reverse();
    assert_eq!(digest(&files), before);
    let last = files.len() - 1;
    for index in [0, last] {
        let mut edited = files.clone();
        edited[index] = SourceFile::new(&edited[index].name, &format!("{}\n", edited[index].text));
        assert_ne!(digest(&edited), before, "{}", edited[index].name);
    }
    assert_ne!(digest(&[]), before);
}
