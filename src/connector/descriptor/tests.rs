//! What descriptors promise: documented defaults, and faults that say where and what to do.

use super::*;
use crate::connector::{EraChoice, HeaderValueSource, Transport};

const LOCK: &str = r#"{"service":"my-crm","tools":[
  {"name":"get","tier":"destructive","digest":"sha256:D","inputSchema":{"properties":{"org":{},"id":{},"deep":{}}}},
  {"name":"find","tier":"read","digest":"sha256:D","inputSchema":{"properties":{"q":{}}}}]}"#;

fn lock() -> Lock {
    let text = LOCK.replace("sha256:D", &format!("sha256:{}", "0".repeat(64)));
    Lock::parse(&SourceFile::new("my-crm.tools.json", &text)).unwrap()
}

const HTTP: &str = "[transport]\nkind = \"http\"\nurl = \"https://crm.example/mcp\"\n";
const STDIO: &str = "[transport]\nkind = \"stdio\"\ncommand = \"node\"\n";

fn load(text: &str) -> Result<Connector, Vec<String>> {
    let read = read_with_lock(&SourceFile::new("config/connectors/my-crm.toml", text), &lock());
    read.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn a_short_descriptor_has_the_documented_defaults() {
    let connector = load(HTTP).unwrap();
    assert_eq!(connector.display_name, "my-crm");
    assert_eq!(connector.namespace, "MyCrmMCP");
    assert!(!connector.optional && connector.requires.is_empty() && connector.redact.is_empty());
    assert_eq!(connector.on_change, OnChange::Quarantine);
    assert_eq!(connector.limits, Limits::default());
    assert_eq!((connector.limits.silence_ms_max, connector.limits.call_ms_max), (30_000, 600_000));
    let Transport::Http { url, headers, host: None, allow_private: false, era: EraChoice::Auto } =
        connector.transport
    else {
        panic!()
    };
    assert_eq!((url.as_str(), headers.len()), ("https://crm.example/mcp", 0));
}

#[test]
fn what_is_written_is_what_is_read() {
    let text = format!(
        "namespace = \"CRM\"\non_change = \"report\"\nredact = [\"note\"]\n{STDIO}args = [\"a\"]\n\
         env = {{ A = \"1\" }}\npass_env = [\"HOME\"]\nworking_dir = \"data\"\ntell_roots = true\n\
         [limits]\nin_flight_max = 2\n[tiers]\nwrite = [\"get\"]\n[groups]\nlook = [\"find\"]\n"
    );
    let connector = load(&text).unwrap();
    assert_eq!((connector.namespace.as_str(), connector.on_change), ("CRM", OnChange::Report));
    assert_eq!(connector.limits.in_flight_max, 2);
    assert_eq!(connector.tools["get"].tier, Tier::Write, "the descriptor goes before the lock");
    assert_eq!(connector.tools["find"].tier, Tier::Read);
    assert!(connector.groups["look"].contains("find"));
    let Transport::Stdio {
        command,
        args,
        env,
        pass_env,
        working_dir,
        tell_roots: true,
        era: EraChoice::Auto,
    } = &connector.transport
    else {
        panic!()
    };
    assert_eq!((command.as_str(), args.len(), env["A"].as_str()), ("node", 1, "1"));
    assert_eq!((pass_env.len(), working_dir.as_deref()), (1, Some("data")));
}

#[test]
fn debug_shows_no_header_and_no_environment() {
    let text =
        format!("{HTTP}headers = {{ X-Team = \"hush\", Authorization = {{ env = \"CRM_TOKEN\" }} }}\n");
    let connector = load(&text).unwrap();
    let Transport::Http { headers, .. } = &connector.transport else { panic!() };
    assert_eq!(headers[0], ("authorization".to_owned(), HeaderValueSource::Env("CRM_TOKEN".to_owned())));
    let shown = format!("{connector:?}");
    assert!(shown.contains("CRM_TOKEN") && !shown.contains("hush"), "{shown}");
    let shown = format!("{:?}", load(&format!("{STDIO}env = {{ KEY = \"hush\" }}\n")).unwrap());
    assert!(shown.contains("KEY") && !shown.contains("hush"), "{shown}");
}

#[test]
fn a_fault_names_its_line_and_what_to_do() {
    let check = |text: &str, expected: &[&str]| {
        let told = load(text).map(|_| ()).unwrap_err();
        assert_eq!(told.len(), expected.len(), "{text}\n{told:#?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with("config/connectors/my-crm.toml:"), "{told}");
            assert!(told.contains(expected), "{told}\n does not hold {expected}");
        }
    };
    let http = |more: &str| format!("{HTTP}{more}\n");
    check("", &["missing field `transport`"]);
    check(&format!("optoinal = true\n{HTTP}"), &["toml:1:1: unknown field `optoinal`"]);
    check(&http("[limits]\nsilence = 1"), &["toml:5:1: unknown field `silence`"]);
    check(
        &http("[limits]\nsilence_ms_max = 1"),
        &["toml:5:18: 1 is out of range (from 100 to 3600000; left out: 30000)"],
    );
    check(&http("[limits]\nin_flight_max = -1"), &["toml:5:17: "]);
    check(&format!("namespace = \"gitHub\"\n{HTTP}"), &["toml:1:13: `gitHub` is not a name for policies"]);
    check(&format!("namespace = \"Set\"\n{HTTP}"), &["Cedar's own"]);
    check(&format!("redact = [\"a..b\"]\n{HTTP}"), &["toml:1:11: `a..b` is not an argument path"]);
    check("[transport]\nkind = \"http\"", &["`url` is missing"]);
    check("[transport]\nkind = \"grpc\"", &["toml:2:8: unknown variant `grpc`"]);
    check(&STDIO.replace("command", "url"), &["`url` does not belong", "`command` is missing"]);
    for url in ["ftp://x/", "/mcp", "https://", "https://u:hush@x/", "https://x/#a"] {
        let told = load(&HTTP.replace("https://crm.example/mcp", url)).unwrap_err();
        assert!(told[0].contains("toml:3:7: `url` ") && !told[0].contains("hush"), "{told:?}");
    }
    check(
        &http("headers = { Authorization = \"Bearer hush\" }"),
        &["the value of `Authorization` is a secret"],
    );
    check(&http("headers = { Mcp-Session-Id = \"1\" }"), &["set by the gate itself"]);
    check(&http("headers = { \"X Y\" = \"1\" }"), &["not a header name"]);
    check(&http("headers = { X = \"a\\u0001\" }"), &["cannot be sent"]);
    check(&http("headers = { X = { env = \"1A\" } }"), &["not an environment variable"]);
    check(&http("headers = { X = \"1\", x = \"2\" }"), &["stands there twice"]);
    check(&http("host = \"a b\""), &["toml:4:8: not a host"]);
    check(&http("[tiers]\nread = [\"gte\"]"), &["toml:5:9: `gte` is not a tool of the lock"]);
    check(
        &http("[tiers]\nread = [\"get\"]\nwrite = [\"get\"]"),
        &["toml:6:10: `get` already stands under `read`"],
    );
    check(
        &http("[groups]\nread = []\nget = []\n\"A b\" = []"),
        &["not a group name", "of a tool or a tier", "of a tool or a tier"],
    );
    check(&http("[groups]\na = [\"gte\"]"), &["`gte` is not a tool"]);
}

#[test]
fn a_fault_in_a_resource_is_told_where_it_is() {
    let check = |text: &str, expected: &str| {
        let told = load(&format!("{HTTP}[[resource]]\n{text}\n")).map(|_| ()).unwrap_err();
        assert!(told.iter().any(|told| told.contains(expected)), "{text}\n{told:#?}");
    };
    let attributes = "attributes.org = { type = \"string\" }";
    check(
        "type = \"Service\"\nid = \"{org}\"\nattributes.org = { type = \"string\" }",
        "toml:5:8: type `Service` is already there",
    );
    check("type = \"thing\"", "`thing` is not a name for policies");
    check("type = \"A\"", "neither `id` nor `paths`");
    check("type = \"A\"\nid = \"org\"", "toml:6:6: `org` is not an id template");
    check(
        "type = \"A\"\nid = \"{org}/{id}\"\nattributes.org = { type = \"string\" }",
        "names no attribute `id`",
    );
    check("type = \"A\"\nid = \"{org}\"\nattributes.org = { type = \"bool\" }", "must be string or long");
    check(
        "type = \"A\"\nid = \"{org}\"\nattributes.org = { type = \"string\", harvested = true }",
        "no argument gives it",
    );
    check(
        "type = \"A\"\nid = \"{org}\"\nattributes.org = { type = \"string\", argument = \"*\" }",
        "may name several values",
    );
    check("type = \"A\"\nid = \"{in}\"\nattributes.in = { type = \"string\" }", "not an attribute's name");
    check(
        "type = \"A\"\nid = \"{id}\"\nattributes.id = { type = \"long\", fold_case = true }",
        "has no case",
    );
    check(
        &format!("type = \"A\"\nid = \"{{org}}\"\nparent = \"B\"\n{attributes}"),
        "toml:7:10: `B` is not a declared type",
    );
    check(
        &format!("type = \"A\"\nid = \"{{org}}\"\nparent = \"A\"\n{attributes}"),
        "stands, over its parents, in itself",
    );
    check(
        &format!("type = \"A\"\nid = \"{{org}}\"\ntools = [\"gte\"]\n{attributes}"),
        "`gte` is not a tool of the lock",
    );
    check(
        &format!("type = \"A\"\nid = \"{{org}}\"\ntools = [\"find\"]\n{attributes}"),
        "toml:7:10: `find` has no argument `org`",
    );
    check(
        &format!("type = \"A\"\nid = \"{{org}}\"\noverrides.find = {{ nope = \"q\" }}\n{attributes}"),
        "`nope` is not an attribute",
    );
    check("type = \"A\"\npaths = [\"id\"]\nid = \"{org}\"", "`paths` beside an id");
    check("type = \"A\"\npaths = []", "no argument holds a path");
    check("type = \"A\"\npaths = [\"id\"]\nbase = \"/a/../b\"", "not an absolute, normal path");
    check("type = \"A\"\npaths = [\"id\"]\nbase = \"data\"", "not an absolute, normal path");
    check(
        &format!("type = \"A\"\nid = \"{{org}}\"\nbase = \"/a\"\n{attributes}"),
        "belong to a type of `paths`",
    );
}

#[test]
fn a_descriptor_without_a_lock_can_be_dialled_and_offers_nothing() {
    let text = format!("{STDIO}[tiers]\nread = [\"unknown\"]\n[groups]\na = [\"unknown\"]\n");
    let connector = read_descriptor(&SourceFile::new("new.toml", &text)).unwrap();
    assert!(connector.tools.is_empty());
    assert_eq!(connector.namespace, "NewMCP");
}

/// The parser itself says which keys a table has; each must stand in the guide.
#[test]
fn the_guide_lists_every_key() {
    let guide = include_str!("../../../docs/guide/connectors.md");
    let tables = [
        "zz = 1".to_owned(),
        "[transport]\nzz = 1".to_owned(),
        format!("{HTTP}[limits]\nzz = 1"),
        format!("{HTTP}[tiers]\nzz = 1"),
        format!("{HTTP}[[resource]]\nzz = 1"),
        format!("{HTTP}[[resource]]\ntype = \"A\"\nattributes.a = {{ zz = 1 }}"),
    ];
    let mut keys = 0;
    for table in tables {
        let told = load(&table).unwrap_err().remove(0);
        let listed = told.split_once("expected one of ").unwrap_or_else(|| panic!("{told}")).1;
        for key in listed.split('`').skip(1).step_by(2) {
            assert!(guide.contains(&format!("`{key}`")), "the guide does not mention `{key}`");
            keys += 1;
        }
    }
    assert!(keys > 40, "{keys} keys only");
}
