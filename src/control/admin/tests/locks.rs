//! Locks: what an upstream serves becomes what is accepted by an operator's word alone.

use std::path::Path;

use super::*;
use crate::model::{Digest, Tier, ToolName};

const DESCRIPTOR: &str = "[transport]\nkind = \"http\"\nurl = \"https://notes.example/mcp\"\n";

fn definition(name: &str, description: &str, hints: &str) -> Definition {
    let raw = format!(
        r#"{{"name":"{name}","description":"{description}","inputSchema":{{"type":"object"}},"annotations":{hints}}}"#
    );
    Definition { name: ToolName::parse(name).unwrap(), digest: Digest::of(raw.as_bytes()), raw: raw.into() }
}

fn lock_at(dir: &Path) -> crate::connector::Lock {
    let text = std::fs::read_to_string(dir.join("connectors/notes.tools.json")).unwrap();
    crate::connector::Lock::parse(&SourceFile::new("notes.tools.json", &text)).unwrap()
}

#[tokio::test]
async fn a_lock_is_first_written_by_sync_and_then_only_by_accept() {
    let bench = bench().await;
    let service = ServiceKey::parse("notes").unwrap();
    std::fs::write(bench.dir.path().join("connectors/notes.toml"), DESCRIPTOR).unwrap();
    *bench.served.lock() =
        vec![definition("list", "lists", r#"{"readOnlyHint":true}"#), definition("wipe", "wipes", "{}")];
    let drift = |reply| match reply {
        AdminReply::Drift(drift) => drift,
        other => panic!("{other:?}"),
    };
    let sync = AdminRequest::ConnectorSync { service: service.clone() };
    let first = drift(bench.ask(sync.clone()).await.unwrap());
    assert!(first.written && first.bundle.is_some(), "{first:?}");
    let lock = lock_at(bench.dir.path());
    assert_eq!(lock.tool("list").unwrap().tier, Tier::Read);
    assert_eq!(lock.tool("wipe").unwrap().tier, Tier::Destructive);
    assert!(bench.stopped.bundle().unwrap().connectors().get("notes").is_some());

    // The upstream changes both: neither sync nor diff writes, accept writes what it is told.
    *bench.served.lock() =
        vec![definition("list", "LISTS", r#"{"readOnlyHint":true}"#), definition("wipe", "WIPES", "{}")];
    for request in [sync, AdminRequest::ConnectorDiff { service: service.clone() }] {
        let drift = drift(bench.ask(request).await.unwrap());
        assert_eq!((drift.written, drift.changes.len()), (false, 2), "{drift:?}");
        assert_eq!(lock_at(bench.dir.path()).tools, lock.tools);
    }
    let headed = r#"{"name":"odd","inputSchema":{"type":"object","properties":{"a":{"type":"array",
        "items":{"type":"string","x-mcp-header":"A"}}}}}"#;
    let name = ToolName::parse("odd").unwrap();
    bench.served.lock().push(Definition { name, digest: Digest::of(b"odd"), raw: headed.into() });
    let diff = AdminRequest::ConnectorDiff { service: service.clone() };
    let warned = drift(bench.ask(diff).await.unwrap()).warnings;
    assert!(warned.len() == 1 && warned[0].message.contains("leave `odd` out"), "{warned:?}");
    bench.served.lock().pop();
    let list = ToolName::parse("list").unwrap();
    let accept = AdminRequest::ConnectorAccept {
        service: service.clone(),
        tools: [list.clone()].into(),
        tiers: [(list, Tier::Write)].into(),
        anyway: false,
    };
    drift(bench.ask(accept).await.unwrap());
    let accepted = lock_at(bench.dir.path());
    assert_eq!(accepted.tool("list").unwrap().description.as_deref(), Some("LISTS"));
    assert_eq!(accepted.tool("list").unwrap().tier, Tier::Write);
    assert_eq!(accepted.tool("wipe"), lock.tool("wipe"));
    assert_eq!(bench.changes().last(), Some(&("connector.accept".into(), "completed".into())));
}
