//! One request of each operation that goes well, as data: `requests.toml`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::document::Operation;
use super::world::World;

/// How an operation is asked so that it is carried out.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// Who may: one of `world::PEOPLE`, or `nobody`.
    #[serde(rename = "as", default = "owner")]
    pub who: String,
    /// The status of the answer.
    pub status: u16,
    /// Which value stands for a part of the path, where it is not the one of its name.
    #[serde(default)]
    pub path: BTreeMap<String, String>,
    /// The query, without `?`.
    pub query: Option<String>,
    pub body: Option<Value>,
}

fn owner() -> String {
    "owner".to_owned()
}

impl Asked {
    /// The path of the operation with everything put in.
    pub fn path(&self, world: &World, operation: Operation<'_>) -> String {
        let path = world.filled(operation.path, &self.path);
        self.query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"))
    }

    /// The body with everything put in.
    pub fn body(&self, world: &World) -> Option<Value> {
        self.body.as_ref().map(|body| world.filled_body(body))
    }
}

/// Every request, by the operation's name.
pub fn all() -> BTreeMap<String, Asked> {
    toml::from_str(include_str!("requests.toml")).unwrap()
}

/// The one of this operation; red where there is none.
pub fn of<'a>(all: &'a BTreeMap<String, Asked>, operation: Operation<'_>) -> &'a Asked {
    let id = operation.id();
    all.get(id).unwrap_or_else(|| {
        panic!(
            "{} {} (`{id}`) has no request: add it to tests/it/api_contract/requests.toml",
            operation.method, operation.path
        )
    })
}
