//! The route table of the reference, as data: `reference.toml`.

use super::document::{Document, Operation};

/// Who may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
pub enum Authority {
    #[serde(rename = "anybody")]
    Anybody,
    #[serde(rename = "account")]
    Account,
    #[serde(rename = "person")]
    Person,
    #[serde(rename = "part")]
    Part,
    #[serde(rename = "owner")]
    Owner,
    #[serde(rename = "self")]
    Own,
    #[serde(rename = "owner or member")]
    OwnerOrMember,
    #[serde(rename = "invited")]
    Invited,
}

/// One route.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub method: String,
    /// With `:name` for its parts.
    pub path: String,
    pub says: String,
    #[serde(default)]
    pub parameters: Vec<String>,
    pub authority: Authority,
    /// It only says that it is not there yet.
    #[serde(default)]
    pub next: bool,
}

#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    route: Vec<Route>,
    beyond: Vec<Route>,
}

/// Every route of the reference, then those beyond it.
pub fn routes() -> (Vec<Route>, Vec<Route>) {
    let tables: Tables = toml::from_str(include_str!("reference.toml")).unwrap();
    (tables.route, tables.beyond)
}

impl Route {
    /// The operation of the document, whatever its path's parts are called there.
    pub fn operation<'a>(&self, document: &'a Document) -> Option<Operation<'a>> {
        let same = |operation: &Operation<'_>| {
            operation.method == self.method.to_ascii_lowercase() && shape(operation.path) == shape(&self.path)
        };
        document.operations().into_iter().find(same)
    }

    /// Whether this is the operation's row.
    pub fn is(&self, operation: Operation<'_>) -> bool {
        operation.method == self.method.to_ascii_lowercase() && shape(operation.path) == shape(&self.path)
    }
}

/// The path without the names of its parts.
fn shape(path: &str) -> Vec<&str> {
    path.split('/').map(|part| if part.starts_with([':', '{']) { ":" } else { part }).collect()
}

/// A route that went missing is found: the reference's forty-six and what is beyond.
#[test]
fn every_route_of_the_reference_is_in_the_document() {
    let document = Document::kept();
    let (reference, beyond) = routes();
    assert_eq!(reference.len(), 46, "the reference has as many routes");
    let mut faults = Vec::new();
    for route in reference.iter().chain(&beyond) {
        let Some(operation) = route.operation(&document) else {
            faults.push(format!("{} {} is missing ({})", route.method, route.path, route.says));
            continue;
        };
        for name in &route.parameters {
            if !operation.parameters("query").any(|parameter| parameter["name"] == name.as_str()) {
                faults.push(format!("{} {} does not take `{name}`", route.method, route.path));
            }
        }
        if operation.absent() != route.next {
            faults.push(format!(
                "{} {}: 501 is documented: {}",
                route.method,
                route.path,
                operation.absent()
            ));
        }
    }
    for operation in document.operations() {
        if !reference.iter().chain(&beyond).any(|route| route.is(operation)) {
            faults.push(format!(
                "{} {} is in no table: add it to reference.toml",
                operation.method, operation.path
            ));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
