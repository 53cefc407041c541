//! What the mapping promises: the narrowest resource that was surely meant, and no way around a directory.

use super::*;
use crate::connector::Connectors;
use crate::model::SourceFile;
use serde_json::json;

fn connectors(folder: &str, service: &str, edit: impl Fn(&str) -> String) -> Connectors {
    let file = |end: &str| {
        let path = format!("{}/{folder}/{service}{end}", env!("CARGO_MANIFEST_DIR"));
        (format!("{service}{end}"), std::fs::read_to_string(path).unwrap())
    };
    let (descriptor, lock) = (file(".toml"), file(".tools.json"));
    let files = [SourceFile::new(&descriptor.0, &edit(&descriptor.1)), SourceFile::new(&lock.0, &lock.1)];
    Connectors::read(&files).unwrap()
}

fn found(connectors: &Connectors, prefixed: &str, arguments: &Value) -> Resource {
    let (connector, tool) = connectors.tool(prefixed).unwrap();
    resource_of(connector, tool, arguments)
}

/// A resource and its parents, as uids joined by ` in `; `!path` where an argument was unreadable.
fn chain(resource: &Resource) -> String {
    let mut text = resource.uid();
    for path in &resource.unreadable {
        text += &format!(" !{path}");
    }
    for parent in &resource.parents {
        text += &format!(" in {}", chain(parent));
    }
    text
}

#[test]
fn a_call_acts_on_the_narrowest_resource_that_its_arguments_name() {
    let github = connectors("tests/data/connectors", "github", str::to_owned);
    let check = |tool: &str, arguments: Value, expected: &str| {
        assert_eq!(chain(&found(&github, &format!("github__{tool}"), &arguments)), expected, "{arguments}");
    };
    const SITE: &str = "GitHubMCP::Repository::\"acme/site\" in GitHubMCP::Service::\"github\"";
    const SERVICE: &str = "GitHubMCP::Service::\"github\"";
    let branch = format!("GitHubMCP::Branch::\"acme/site@feature/x\" in {SITE}");
    let site = json!({"owner": "acme", "repo": "site"});
    let with = |extra: Value| {
        let mut arguments = site.clone();
        arguments.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        arguments
    };
    check("push_files", with(json!({"branch": "feature/x"})), &branch);
    check("push_files", site.clone(), SITE);
    check("get_file_contents", site.clone(), SITE);
    check(
        "merge_pull_request",
        with(json!({"pull_number": 7})),
        &format!("GitHubMCP::PullRequest::\"acme/site#7\" in {SITE}"),
    );
    check(
        "update_pull_request",
        with(json!({"pullNumber": 7})),
        &format!("GitHubMCP::PullRequest::\"acme/site#7\" in {SITE}"),
    );
    check(
        "issue_write",
        with(json!({"issue_number": 7})),
        &format!("GitHubMCP::Issue::\"acme/site#7\" in {SITE}"),
    );
    check("issue_write", site.clone(), SITE);
    // GitHub ignores case in owner and repository, not in branches.
    check(
        "push_files",
        json!({"owner": "ACME", "repo": "Site", "branch": "Main"}),
        &format!("GitHubMCP::Branch::\"acme/site@Main\" in {SITE}"),
    );
    // Absent: less specific, in the end the service.
    check("push_files", json!({"owner": "acme", "branch": "main"}), SERVICE);
    check("push_files", json!({}), SERVICE);
    check("push_files", json!(null), SERVICE);
    check("push_files", json!([1]), SERVICE);
    check("search_code", with(json!({"q": "x"})), SERVICE);
    // Given and not readable: the service, and it is said.
    check("push_files", with(json!({"branch": ["main"]})), &format!("{SERVICE} !branch"));
    check("push_files", with(json!({"branch": null})), &format!("{SERVICE} !branch"));
    check("push_files", with(json!({"branch": ""})), &format!("{SERVICE} !branch"));
    check("push_files", json!({"owner": "acme/site", "repo": "x"}), &format!("{SERVICE} !owner"));
    check(
        "push_files",
        json!({"owner": "acme", "repo": "site@main", "branch": "x"}),
        &format!("{SERVICE} !repo"),
    );
    check("merge_pull_request", with(json!({"pull_number": "7"})), &format!("{SERVICE} !pull_number"));
    check("merge_pull_request", with(json!({"pull_number": 7.5})), &format!("{SERVICE} !pull_number"));
    check("push_files", with(json!({"branch": "x".repeat(5_000)})), &format!("{SERVICE} !branch"));
    // What the tool's schema does not declare is not read.
    check("create_pull_request", with(json!({"branch": "main", "pullNumber": 1})), SITE);
    check("merge_pull_request", with(json!({"pullNumber": 1})), SITE);
}

#[test]
fn a_resource_has_what_arguments_give_and_nothing_harvested() {
    let github = connectors("tests/data/connectors", "github", str::to_owned);
    let arguments =
        json!({"owner": "acme", "repo": "site", "pullNumber": 7, "isDraft": false, "draft": true});
    let resource = found(&github, "github__update_pull_request", &arguments);
    let text = |t: &str| AttributeValue::String(t.to_owned());
    let expected = [
        ("number".to_owned(), AttributeValue::Long(7)),
        ("owner".to_owned(), text("acme")),
        ("repo".to_owned(), text("site")),
    ];
    assert_eq!(resource.attributes, BTreeMap::from(expected));
    let declared = &github.get("github").unwrap().resource_type("GitHubMCP::PullRequest").unwrap().attributes;
    assert!(declared["number"].required && !declared["isDraft"].required);
    assert_eq!(declared["isDraft"].source, AttributeSource::Harvest);
    let (_, tool) = github.tool("github__push_files").unwrap();
    assert_eq!(tool.resource_type_names().collect::<Vec<_>>(), ["Branch", "Repository"]);
}

#[test]
fn every_required_attribute_is_there_whenever_the_type_is() {
    let github = connectors("tests/data/connectors", "github", str::to_owned);
    let values = [json!("a"), json!("A/b"), json!(3), json!(-1), json!(null), json!(["x"]), json!("")];
    let connector = github.get("github").unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for tool in connector.tools.values() {
        for a in &values {
            for b in &values {
                let arguments = json!({"owner": "o", "repo": a, "branch": b, "pullNumber": b, "pull_number": b, "issue_number": b});
                let mut next = vec![resource_of(connector, tool, &arguments)];
                while let Some(resource) = next.pop() {
                    if let Some(declared) = connector.resource_type(&resource.type_name) {
                        for (name, attribute) in &declared.attributes {
                            assert!(
                                !attribute.required || resource.attributes.contains_key(name),
                                "{resource:?}"
                            );
                        }
                        assert!(resource.unreadable.is_empty());
                    }
                    seen.insert(resource.type_name.clone());
                    next.extend(resource.parents);
                }
            }
        }
    }
    assert_eq!(seen.len(), 5, "{seen:?}");
}

#[test]
fn values_that_cedar_cannot_hold_are_not_rounded() {
    let check = |kind, given: &str, expected: Option<AttributeValue>| {
        let given: Value = serde_json::from_str(given).unwrap();
        assert_eq!(read_value(kind, false, &given), expected, "{given}");
    };
    let decimal = |text: &str| Some(AttributeValue::Decimal(text.to_owned()));
    check(AttributeType::Decimal, "1.5", decimal("1.5"));
    check(AttributeType::Decimal, "-3", decimal("-3.0"));
    check(AttributeType::Decimal, "0.0001", decimal("0.0001"));
    check(AttributeType::Decimal, "0.00001", None);
    check(AttributeType::Decimal, "1e300", None);
    check(AttributeType::Decimal, "922337203685477", decimal("922337203685477.0"));
    check(AttributeType::Decimal, "922337203685478", None);
    check(AttributeType::Decimal, "\"1.5\"", None);
    check(AttributeType::Long, "9223372036854775807", Some(AttributeValue::Long(i64::MAX)));
    check(AttributeType::Long, "9223372036854775808", None);
    check(AttributeType::Long, "1.0", None);
    check(AttributeType::Bool, "1", None);
    let set =
        |items: &[&str]| Some(AttributeValue::StringSet(items.iter().map(|i| (*i).to_owned()).collect()));
    check(AttributeType::StringSet, r#"["b", "a", "b"]"#, set(&["a", "b"]));
    check(AttributeType::StringSet, r#"["b", 1]"#, None);
    check(AttributeType::StringSet, "\"b\"", None);
}

/// The filesystem connector as it is shipped, with a base as an operator would add it.
fn filesystem() -> Connectors {
    connectors("config/connectors", "filesystem", |text| format!("{text}\nbase = \"/srv/scratch\"\n"))
}

#[test]
fn a_directory_cannot_be_dodged_by_spelling() {
    let files = filesystem();
    let secret = "/srv/scratch/secret";
    let spellings = [
        "/srv/scratch/secret/a.txt",
        "secret/a.txt",
        "./secret//./a.txt",
        "/srv/scratch/open/../secret/a.txt",
        "open/../../scratch/secret/a.txt",
        "/../../srv/scratch/secret/a.txt",
        "/srv//scratch/secret/a.txt/",
        "secret/x/../a.txt/.",
        "/srv/scratch/secret",
        // Composed only in NFC: the Kelvin sign is `K`.
        "/srv/scratch/secret/\u{212a}",
    ];
    for spelling in spellings {
        let resource = found(&files, "filesystem__read_text_file", &json!({"path": spelling}));
        let Some(AttributeValue::StringSet(touches)) = resource.attributes.get("touches") else {
            panic!("{spelling}: {resource:?}")
        };
        assert!(touches.contains(secret), "{spelling}: {touches:?}");
        assert_eq!(resource.attributes["raw"], AttributeValue::String(spelling.to_owned()));
        assert_eq!(resource.attributes["within"], resource.attributes["touches"]);
    }
    let resource = found(&files, "filesystem__read_text_file", &json!({"path": "/srv/scratch/secretary"}));
    let AttributeValue::StringSet(touches) = &resource.attributes["touches"] else { panic!() };
    assert!(!touches.contains(secret));
    let kelvin = found(&files, "filesystem__read_text_file", &json!({"path": "/\u{212a}"}));
    assert_eq!(kelvin.uid(), "FilesystemMCP::Path::\"/K\"");
}

#[test]
fn the_parts_of_one_path_are_told() {
    let files = filesystem();
    let check = |path: &str, expected: [&str; 4]| {
        let resource = found(&files, "filesystem__write_file", &json!({"path": path}));
        let part = |name: &str| match resource.attributes.get(name) {
            Some(AttributeValue::String(text)) => text.clone(),
            _ => "-".to_owned(),
        };
        assert_eq!(
            ["path", "directory", "name", "extension"].map(part),
            expected.map(str::to_owned),
            "{path}"
        );
    };
    check("a/b.tar.GZ", ["/srv/scratch/a/b.tar.GZ", "/srv/scratch/a", "b.tar.GZ", "gz"]);
    check("/b", ["/b", "/", "b", "-"]);
    check("/", ["/", "/", "", "-"]);
    check("/a/.env", ["/a/.env", "/a", ".env", "-"]);
    check("/a/x.", ["/a/x.", "/a", "x.", "-"]);
}

#[test]
fn several_paths_are_within_what_holds_all_and_touch_what_holds_any() {
    let files = filesystem();
    let set = |resource: &Resource, name: &str| match resource.attributes.get(name) {
        Some(AttributeValue::StringSet(items)) => items.iter().cloned().collect::<Vec<_>>().join(" "),
        other => format!("{other:?}"),
    };
    let both = found(
        &files,
        "filesystem__move_file",
        &json!({"source": "/w/secret/k", "destination": "/w/open/./k"}),
    );
    assert_eq!(both.uid(), "FilesystemMCP::Path::\"[\\\"/w/open/k\\\",\\\"/w/secret/k\\\"]\"");
    assert_eq!(set(&both, "within"), "/ /w");
    assert_eq!(set(&both, "touches"), "/ /w /w/open /w/open/k /w/secret /w/secret/k");
    assert_eq!(set(&both, "paths"), "/w/open/k /w/secret/k");
    assert_eq!(both.attributes["recursive"], AttributeValue::Bool(true));
    for absent in ["path", "raw", "directory", "name", "extension"] {
        assert!(!both.attributes.contains_key(absent), "{absent}");
    }
    let read = |paths: Value| found(&files, "filesystem__read_multiple_files", &json!({"paths": paths}));
    assert_eq!(set(&read(json!(["/w/a", "/w/b"])), "within"), "/ /w");
    assert_eq!(read(json!(["/w/a", "/w/./a"])).uid(), "FilesystemMCP::Path::\"/w/a\"");
    assert_eq!(read(json!(["/w/a", "/w/./a"])).attributes.get("raw"), None);
    assert!(read(json!(["/w/a", "~/x"])).uid().contains("Service"));
    let many: Vec<String> = (0..200).map(|n| format!("/w/{n}/{}", "x".repeat(100))).collect();
    let uid = read(json!(many)).uid();
    assert!(uid.starts_with("FilesystemMCP::Path::\"paths sha256:"), "{uid}");
}

#[test]
fn a_path_that_only_the_server_could_resolve_is_unreadable() {
    let files = filesystem();
    let deep = "/x".repeat(129);
    let long = format!("/{}", "x".repeat(4_096));
    let too_many: Vec<String> = (0..257).map(|n| format!("/{n}")).collect();
    let heavy: Vec<String> =
        (0..200).map(|n| format!("/{n}{}", format!("/{}", "y".repeat(60)).repeat(60))).collect();
    let bad = [
        json!("~/x"),
        json!("~"),
        json!(""),
        json!("a\\b"),
        json!("/a\u{0}b"),
        json!("/a\nb"),
        json!(deep),
        json!(long),
        json!(7),
        json!(null),
        json!({"path": "/a"}),
        json!([["/a"]]),
        json!(["/a", 1]),
        json!(too_many),
        json!(heavy),
    ];
    for path in bad {
        let resource = found(&files, "filesystem__write_file", &json!({"path": path}));
        let shown: String = path.to_string().chars().take(60).collect();
        assert_eq!(chain(&resource), "FilesystemMCP::Service::\"filesystem\" !path", "{shown}");
    }
    let shipped = connectors("config/connectors", "filesystem", str::to_owned);
    let relative = found(&shipped, "filesystem__write_file", &json!({"path": "notes.txt"}));
    assert_eq!(chain(&relative), "FilesystemMCP::Service::\"filesystem\" !path", "no base is known");
    let none = found(&files, "filesystem__list_allowed_directories", &json!({"path": "/a"}));
    assert_eq!(chain(&none), "FilesystemMCP::Service::\"filesystem\"");
}

#[test]
fn a_normal_path_is_absolute_plain_and_stays_as_it_is() {
    use proptest::prelude::*;
    let names = prop::sample::select(vec![
        "",
        ".",
        "..",
        "a",
        "b.c",
        "...",
        ".x",
        " ",
        "é",
        "e\u{301}",
        "x\u{323}\u{307}",
    ]);
    let paths = prop::collection::vec(names, 1..12).prop_map(|names| names.join("/"));
    proptest!(|(path in paths)| {
        let normal = path::normalise(&path, Some("/base/dir"));
        prop_assume!(!path.is_empty());
        let normal = normal.unwrap();
        prop_assert!(normal.starts_with('/'));
        prop_assert!(normal == "/" || normal.split('/').skip(1).all(|n| !matches!(n, "" | "." | "..")), "{}", normal);
        let again = path::normalise(&normal, None);
        prop_assert_eq!(again.as_deref(), Some(normal.as_str()));
        // The standard library's reading of the same text, with `..` resolved by hand.
        let mut expected = std::path::PathBuf::new();
        for part in std::path::Path::new("/base/dir").join(&path).components() {
            match part {
                std::path::Component::ParentDir => drop(expected.pop()),
                part => expected.push(part),
            }
        }
        let expected: String = unicode_normalization::UnicodeNormalization::nfc(expected.to_str().unwrap()).collect();
        prop_assert_eq!(normal, expected);
    });
}

#[test]
fn a_url_stands_for_its_host_or_is_unreadable() {
    let fetch = connectors("config/available/fetch", "fetch", str::to_owned);
    const SERVICE: &str = "FetchMCP::Service::\"fetch\"";
    for (arguments, expected) in [
        (
            json!({"url": "https://Docs.Example.com:8443/a"}),
            format!("FetchMCP::Host::\"docs.example.com\" in {SERVICE}"),
        ),
        (json!({"url": "https://good.com@evil.com/"}), format!("{SERVICE} !url")),
        (json!({"url": ["https://good.com/"]}), format!("{SERVICE} !url")),
        (json!({}), SERVICE.to_owned()),
    ] {
        assert_eq!(chain(&found(&fetch, "fetch__fetch", &arguments)), expected, "{arguments}");
    }
}
