//! Real bundles for tests, here and on the floors above: also in tests a permit comes out of a
//! decision.

use std::sync::Arc;

use serde_json::json;

use super::{Bundle, Denial, Permit, Scenario, Sources, Verdict};
use crate::connector::{Connectors, Lock};
use crate::model::{CallId, Diagnostic, Reason, ServiceKey, SourceFile, Timestamp};

const DEPOT: &str = r#"
display_name = "Depot"
[transport]
kind = "http"
url = "https://depot.example/mcp"
[tiers]
read = ["get_file", "search"]
write = ["put_file", "pay"]
destructive = ["delete_file"]
[groups]
files = ["get_file", "put_file", "delete_file"]
[[resource]]
type = "Repository"
id = "{owner}/{repo}"
parent = "Owner"
[resource.attributes]
owner = { type = "string" }
repo = { type = "string" }
visibility = { type = "string", harvested = true }
[[resource]]
type = "Owner"
id = "{owner}"
[resource.attributes]
owner = { type = "string" }
"#;

const NOTES: &str = r#"
[transport]
kind = "http"
url = "https://notes.example/mcp"
[tiers]
read = ["list"]
write = ["add"]
"#;

/// `depot` (files in repositories, payments) and `notes`, beside the built-in `wicket`.
pub(crate) fn connectors() -> Arc<Connectors> {
    let text = json!({"type": "string"});
    let file = json!({"type": "object", "properties": {"owner": text, "repo": text, "path": text,
        "force": {"type": "boolean"}, "labels": {"type": "array", "items": text}}});
    let depot = json!([
        {"name": "get_file", "inputSchema": file},
        {"name": "put_file", "inputSchema": file},
        {"name": "delete_file", "inputSchema": file},
        {"name": "search", "inputSchema": {"type": "object", "properties": {"query": text, "limit": {"type": "integer"}}}},
        {"name": "pay", "inputSchema": {"type": "object", "properties": {"amount": {"type": "number"},
            "target": {"type": "object", "properties": {"account": text}}}}},
    ]);
    let notes = json!([
        {"name": "list", "inputSchema": {"type": "object"}},
        {"name": "add", "inputSchema": {"type": "object", "properties": {"text": text}}},
    ]);
    let mut files = vec![];
    for (service, descriptor, tools) in [("depot", DEPOT, depot), ("notes", NOTES, notes)] {
        let key = ServiceKey::parse(service).unwrap();
        let lock = Lock::from_definitions(&key, tools.as_array().unwrap(), None).unwrap();
        files.push(SourceFile::new(&format!("connectors/{service}.toml"), descriptor));
        files.push(SourceFile::new(&format!("connectors/{service}.tools.json"), &lock.to_json().unwrap()));
    }
    match Connectors::read(&files) {
        Ok(connectors) => Arc::new(connectors),
        Err(faults) => panic!("{}", faults.iter().map(|f| format!("{f}\n")).collect::<String>()),
    }
}

/// One policy file over [`connectors`].
pub(crate) fn sources(text: &str) -> Sources {
    Sources {
        show: Default::default(),
        policies: vec![SourceFile::new("policies/a.cedar", text)],
        cases: None,
        connectors: connectors(),
    }
}

/// What is wrong with one policy file.
pub(crate) fn faults(text: &str) -> Vec<Diagnostic> {
    Bundle::build(&sources(text)).err().unwrap_or_default()
}

/// A bundle of one policy file.
pub(crate) fn bundle(text: &str) -> Bundle {
    match Bundle::build(&sources(text)) {
        Ok(bundle) => bundle,
        Err(faults) => panic!("{}", faults.iter().map(|f| format!("{f}\n")).collect::<String>()),
    }
}

/// Sunday, 22 November 2026, half past nine in the morning in UTC.
pub(crate) fn sunday() -> Timestamp {
    Timestamp::parse("2026-11-22T09:30:00Z").unwrap()
}

/// A permit for this call, by a policy `all` that permits everything.
pub(crate) fn permit(call: CallId) -> Permit {
    let bundle = bundle("@id(\"all\") permit(principal, action, resource);");
    let scenario = Scenario::new("wicket__whoami", sunday());
    match scenario.ask(&bundle, |question| bundle.authorise(&super::Question { call, ..*question })) {
        Ok(Verdict::Allow(permit)) => permit,
        other => panic!("{other:?}"),
    }
}

/// A denial of this call, by default.
pub(crate) fn denial(call: CallId) -> Denial {
    Denial::of(call, Reason::NoPermit, bundle("").digest())
}
