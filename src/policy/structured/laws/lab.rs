//! Two connectors that have one of everything a structured policy can ask about, and what their tools
//! declare, as a table that generator and reference read.

use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value as Json, json};

use crate::connector::{Connectors, Lock};
use crate::model::{ServiceKey, SourceFile};

const LAB: &str = r#"
[transport]
kind = "http"
url = "https://lab.example/mcp"
[tiers]
read = ["get_file", "search"]
write = ["put_file", "post", "edit_page"]
destructive = ["close_item", "pay"]
[[resource]]
type = "Branch"
id = "{owner}/{repo}@{branch}"
parent = "Repository"
[resource.attributes]
owner = { type = "string", fold_case = true }
repo = { type = "string", fold_case = true }
branch = { type = "string" }
isProtected = { type = "bool", harvested = true }
visibility = { type = "string", harvested = true }
[[resource]]
type = "Item"
id = "{owner}/{repo}#{number}"
parent = "Repository"
[resource.attributes]
owner = { type = "string", fold_case = true }
repo = { type = "string", fold_case = true }
number = { type = "long" }
isDraft = { type = "bool", harvested = true }
priority = { type = "long", harvested = true }
labels = { type = "string_set", harvested = true }
[[resource]]
type = "Repository"
id = "{owner}/{repo}"
parent = "Owner"
[resource.attributes]
owner = { type = "string", fold_case = true }
repo = { type = "string", fold_case = true }
visibility = { type = "string", harvested = true }
[[resource]]
type = "Owner"
id = "{owner}"
[resource.attributes]
owner = { type = "string", fold_case = true }
[[resource]]
type = "Channel"
id = "{channelId}"
[resource.attributes]
channelId = { type = "string", argument = "channel_id" }
isPrivate = { type = "bool", harvested = true }
[[resource]]
type = "Page"
id = "{pageId}"
[resource.attributes]
pageId = { type = "string", argument = "page_id" }
"#;

const MAIL: &str = r#"
[transport]
kind = "http"
url = "https://mail.example/mcp"
[tiers]
read = ["inbox"]
write = ["send"]
"#;

/// What a tool declares of an argument.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Text,
    Long,
    Bool,
    Decimal,
    Texts,
    Longs,
    Record(&'static [(&'static str, Kind)]),
}

/// A tool of the laboratory.
pub(super) struct Lab {
    pub(super) service: &'static str,
    pub(super) name: &'static str,
    pub(super) tier: &'static str,
    pub(super) arguments: &'static [(&'static str, Kind)],
}

const TARGET: Kind = Kind::Record(&[("account", Kind::Text), ("level", Kind::Long)]);

pub(super) const TOOLS: [Lab; 9] = [
    Lab {
        service: "lab",
        name: "get_file",
        tier: "read",
        arguments: &[("owner", Kind::Text), ("repo", Kind::Text), ("path", Kind::Text)],
    },
    Lab {
        service: "lab",
        name: "search",
        tier: "read",
        arguments: &[("query", Kind::Text), ("limit", Kind::Long), ("pages", Kind::Longs)],
    },
    Lab {
        service: "lab",
        name: "put_file",
        tier: "write",
        arguments: &[
            ("owner", Kind::Text),
            ("repo", Kind::Text),
            ("branch", Kind::Text),
            ("path", Kind::Text),
            ("force", Kind::Bool),
            ("labels", Kind::Texts),
        ],
    },
    Lab {
        service: "lab",
        name: "post",
        tier: "write",
        arguments: &[("channel_id", Kind::Text), ("query", Kind::Text)],
    },
    Lab { service: "lab", name: "edit_page", tier: "write", arguments: &[("page_id", Kind::Text)] },
    Lab {
        service: "lab",
        name: "close_item",
        tier: "destructive",
        arguments: &[
            ("owner", Kind::Text),
            ("repo", Kind::Text),
            ("number", Kind::Long),
            ("force", Kind::Bool),
        ],
    },
    Lab {
        service: "lab",
        name: "pay",
        tier: "destructive",
        arguments: &[("amount", Kind::Decimal), ("target", TARGET), ("labels", Kind::Texts)],
    },
    Lab { service: "mail", name: "inbox", tier: "read", arguments: &[] },
    Lab {
        service: "mail",
        name: "send",
        tier: "write",
        arguments: &[("path", Kind::Text), ("amount", Kind::Decimal)],
    },
];

/// Kinds of resources, the arguments that name one, and the kind above.
pub(super) const TYPES: [(&str, &[&str], Option<&str>); 6] = [
    ("Branch", &["owner", "repo", "branch"], Some("Repository")),
    ("Item", &["owner", "repo", "number"], Some("Repository")),
    ("Repository", &["owner", "repo"], Some("Owner")),
    ("Owner", &["owner"], None),
    ("Channel", &["channel_id"], None),
    ("Page", &["page_id"], None),
];

impl Lab {
    /// Whether a call of the tool can act on a resource of this kind.
    pub(super) fn can_name(&self, kind: &str) -> bool {
        let needed = TYPES.iter().find(|(name, ..)| *name == kind).map_or(&[][..], |(_, needed, _)| needed);
        self.service == "lab" && needed.iter().all(|need| self.arguments.iter().any(|(name, _)| name == need))
    }
}

/// The kinds above this one, nearest first.
pub(super) fn above(kind: &str) -> Vec<&'static str> {
    let mut found = Vec::new();
    let mut next = TYPES.iter().find(|(name, ..)| *name == kind).and_then(|(.., above)| *above);
    while let Some(name) = next {
        found.push(name);
        next = TYPES.iter().find(|(other, ..)| *other == name).and_then(|(.., above)| *above);
    }
    found
}

fn schema(kind: Kind) -> Json {
    match kind {
        Kind::Text => json!({"type": "string"}),
        Kind::Long => json!({"type": "integer"}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Decimal => json!({"type": "number"}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Longs => json!({"type": "array", "items": {"type": "integer"}}),
        Kind::Record(members) => object(members),
    }
}

fn object(members: &[(&str, Kind)]) -> Json {
    let properties: Map<String, Json> =
        members.iter().map(|(name, kind)| ((*name).to_owned(), schema(*kind))).collect();
    json!({"type": "object", "properties": properties})
}

/// The two connectors.
pub(super) fn connectors() -> Arc<Connectors> {
    static READ: LazyLock<Arc<Connectors>> = LazyLock::new(|| {
        let mut files = vec![];
        for (service, descriptor) in [("lab", LAB), ("mail", MAIL)] {
            let key = ServiceKey::parse(service).unwrap();
            let tools = TOOLS.iter().filter(|tool| tool.service == service);
            let tools = tools.map(|tool| json!({"name": tool.name, "inputSchema": object(tool.arguments)}));
            let lock = Lock::from_definitions(&key, &tools.collect::<Vec<_>>(), None).unwrap();
            files.push(SourceFile::new(&format!("connectors/{service}.toml"), descriptor));
            files
                .push(SourceFile::new(&format!("connectors/{service}.tools.json"), &lock.to_json().unwrap()));
        }
        let read = Connectors::read(&files);
        Arc::new(read.unwrap_or_else(|faults| {
            panic!("{}", faults.iter().map(|fault| format!("{fault}\n")).collect::<String>())
        }))
    });
    Arc::clone(&READ)
}
