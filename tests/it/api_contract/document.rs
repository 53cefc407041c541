//! The OpenAPI document, and an answer against it.

use serde_json::Value;

use super::schema;
use crate::harness::Answer;

/// The document of the gate under test.
pub struct Document(pub Value);

/// One operation of it.
#[derive(Clone, Copy)]
pub struct Operation<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a Value,
}

impl Operation<'_> {
    /// Its name.
    pub fn id(&self) -> &str {
        self.body["operationId"]
            .as_str()
            .unwrap_or_else(|| panic!("{} {} has no name", self.method, self.path))
    }

    /// Whether it can change something.
    pub fn changes(&self) -> bool {
        self.method != "get"
    }

    /// Whether anybody may ask.
    pub fn open(&self) -> bool {
        self.body["security"] == serde_json::json!([{}])
    }

    /// Its parameters at this place (`path`, `query`, `header`).
    pub fn parameters(&self, place: &str) -> impl Iterator<Item = &Value> {
        let all = self.body["parameters"].as_array().into_iter().flatten();
        all.filter(move |parameter| parameter["in"] == place)
    }

    /// Whether it takes a body.
    pub fn takes_a_body(&self) -> bool {
        self.body.get("requestBody").is_some()
    }

    /// Whether this release only says that it does not have it.
    pub fn absent(&self) -> bool {
        self.body["responses"].get("501").is_some()
    }
}

impl Document {
    /// The one in the repository; a unit test keeps it the same as the one that is served.
    pub fn kept() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
        Self(serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
    }

    /// Every operation, by path and method.
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let paths = self.0["paths"].as_object().unwrap();
        let items = paths.iter().flat_map(|(path, item)| {
            item.as_object().unwrap().iter().map(move |(method, body)| Operation { method, path, body })
        });
        items.collect()
    }

    /// The part that a reference leads to, or the part itself.
    pub fn resolved<'a>(&'a self, part: &'a Value) -> &'a Value {
        match part["$ref"].as_str() {
            Some(name) => {
                self.0.pointer(name.trim_start_matches('#')).unwrap_or_else(|| panic!("{name} leads nowhere"))
            }
            None => part,
        }
    }

    /// What the document says against this answer; empty where it is as documented.
    pub fn faults(&self, operation: Operation<'_>, answer: &Answer) -> Vec<String> {
        let status = answer.status.as_str();
        let Some(response) = operation.body["responses"].get(status) else {
            return vec![format!(
                "the status {status} is not documented: {}",
                String::from_utf8_lossy(&answer.body)
            )];
        };
        let mut faults = Vec::new();
        if answer.header("x-request-id").is_none_or(str::is_empty) {
            faults.push("no x-request-id".to_owned());
        }
        let contents = self.resolved(response)["content"].as_object();
        let media_type =
            answer.header("content-type").map(|value| value.split(';').next().unwrap_or_default().trim());
        match (contents, media_type) {
            (None, None) if answer.body.is_empty() => {}
            (None, _) => faults.push(format!("{status} has a body, and the document has none")),
            (Some(contents), Some(media_type)) if contents.contains_key(media_type) => {
                let schema = &contents[media_type]["schema"];
                if media_type.ends_with("json") {
                    faults.extend(self.body_faults(schema, answer));
                }
            }
            (Some(_), media_type) => faults.push(format!("{status} as {media_type:?} is not documented")),
        }
        faults.into_iter().map(|fault| format!("{status}: {fault}")).collect()
    }

    fn body_faults(&self, schema: &Value, answer: &Answer) -> Vec<String> {
        let Ok(body) = serde_json::from_slice::<Value>(&answer.body) else {
            return vec!["the body is not JSON".to_owned()];
        };
        let mut faults = schema::faults(&self.0, schema, &body);
        if answer.header("content-type") == Some("application/problem+json") {
            faults.extend(problem_faults(&body, answer));
        }
        faults
    }
}

/// What a problem owes beside its schema.
fn problem_faults(body: &Value, answer: &Answer) -> Vec<String> {
    let mut faults = Vec::new();
    if body["status"] != answer.status.as_u16() {
        faults.push(format!("says status {}", body["status"]));
    }
    if body["requestId"].as_str() != answer.header("x-request-id") {
        faults.push("says another request id than the header".to_owned());
    }
    if body["type"] != format!("/api/docs/errors#{}", body["code"].as_str().unwrap_or_default()) {
        faults.push(format!("has the type {}", body["type"]));
    }
    if body["detail"].as_str().is_none_or(str::is_empty) {
        faults.push("says nothing".to_owned());
    }
    faults
}
