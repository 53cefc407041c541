//! Requests that must be refused, made from the document: each value that it bounds, beyond its bound.

use serde_json::{Value, json};

use super::document::{Document, Operation};
use super::requests::Asked;
use super::world::{Credential, World};

/// A request that must be refused.
pub struct Wrong {
    /// What is wrong with it, for people.
    pub what: String,
    pub method: String,
    pub path: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// The statuses that say so.
    pub statuses: &'static [u16],
    /// Where the answer says that it is wrong; empty where it need not say.
    pub field: String,
}

/// Bytes that are more than any route takes.
const TOO_MANY_BYTES: usize = (256 << 10) + 1;

fn json_type() -> (&'static str, String) {
    ("content-type", "application/json".to_owned())
}

/// Every wrong request that the document gives rise to.
pub fn all(world: &World, document: &Document, operation: Operation<'_>, asked: &Asked) -> Vec<Wrong> {
    let mut wrong = in_path(world, operation, asked);
    // What this release does not have reads nothing: it has nothing to refuse.
    if !operation.absent() {
        wrong.extend(in_query(world, document, operation, asked));
        wrong.extend(in_body(world, document, operation, asked));
    }
    wrong.extend(by_method(world, operation, asked));
    wrong
}

fn good(world: &World, operation: Operation<'_>, asked: &Asked, what: &str) -> Wrong {
    Wrong {
        what: what.to_owned(),
        method: operation.method.to_owned(),
        path: asked.path(world, operation),
        headers: asked.body.iter().map(|_| json_type()).collect(),
        body: asked.body(world).map(|body| body.to_string().into_bytes()).unwrap_or_default(),
        statuses: &[400],
        field: String::new(),
    }
}

/// Parts of the path that name nothing.
fn in_path(world: &World, operation: Operation<'_>, asked: &Asked) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for parameter in operation.parameters("path") {
        let name = parameter["name"].as_str().unwrap();
        // What is not in this release looks no further than the agent and its member.
        if operation.absent() && !["id", "memberId"].contains(&name) {
            continue;
        }
        for value in [
            "x",
            "019700a3-5c00-7c3e-9a41-0e8f6b2d7c11",
            "ts_019700a3-5c00-7c3e-9a41-0e8f6b2d7c11",
            "%00",
            "%ff",
            "%2e%2e",
        ] {
            let mut one = good(world, operation, asked, &format!("path.{name}={value}"));
            let template = operation.path.replace(&format!("{{{name}}}"), value);
            one.path = world.filled(&template, &asked.path);
            one.statuses = &[404];
            wrong.push(one);
        }
    }
    wrong
}

fn in_query(world: &World, document: &Document, operation: Operation<'_>, asked: &Asked) -> Vec<Wrong> {
    let path = operation.path;
    let bare = world.filled(path, &asked.path);
    let mut wrong = Vec::new();
    let mut add = |query: String, field: &str| {
        let mut one = good(world, operation, asked, &format!("?{query}"));
        one.path = format!("{bare}?{query}");
        one.field = field.to_owned();
        wrong.push(one);
    };
    let takes_any = operation.parameters("query").next().is_some();
    add("surprise=1".to_owned(), if takes_any { "query.surprise" } else { "query" });
    for parameter in operation.parameters("query") {
        let name = parameter["name"].as_str().unwrap();
        let field = format!("query.{name}");
        let schema = document.resolved(&parameter["schema"]);
        for value in beyond(document, schema) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            add(format!("{name}={}", escaped(&value)), &field);
        }
        add(format!("{name}=a&{name}=b"), "query");
        add(format!("{name}=%ff"), &field);
        add(format!("{name}=%00"), &field);
    }
    wrong
}

fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte.is_ascii_alphanumeric() || byte == b'-' {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02x}"),
    };
    text.bytes().map(escape).collect()
}

/// Values that this schema does not take.
fn beyond(document: &Document, schema: &Value) -> Vec<Value> {
    let schema = document.resolved(schema);
    if let Some(parts) = schema["oneOf"].as_array() {
        let something = parts.iter().find(|part| part["type"] != "null");
        return something.map(|part| beyond(document, part)).unwrap_or_default();
    }
    if schema.get("enum").is_some() {
        return vec![json!("surprise")];
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| *kind != "null").cloned().unwrap_or_default(),
        kind => kind.clone(),
    };
    let mut values = Vec::new();
    match kind.as_str().unwrap_or_default() {
        "integer" => {
            values.push(json!("many"));
            values.extend(schema["maximum"].as_i64().map(|most| json!(most + 1)));
            values.extend(schema["minimum"].as_i64().map(|least| json!(least - 1)));
            values.push(json!("99999999999999999999999999"));
        }
        "boolean" => values.push(json!("maybe")),
        "string" => {
            values.extend(
                schema["maxLength"]
                    .as_u64()
                    .filter(|most| *most < 4_000)
                    .map(|most| json!("a".repeat(most as usize + 1))),
            );
            values.extend(schema["minLength"].as_u64().filter(|least| *least > 0).map(|_| json!("")));
            values.extend(
                ["uuid", "date-time", "email"]
                    .iter()
                    .filter(|one| schema["format"] == **one)
                    .map(|_| json!("surprise")),
            );
        }
        _ => {}
    }
    values
}

fn in_body(world: &World, document: &Document, operation: Operation<'_>, asked: &Asked) -> Vec<Wrong> {
    let Some(body) = asked.body(world) else {
        return Vec::new();
    };
    let schema = document.resolved(&operation.body["requestBody"]["content"]["application/json"]["schema"]);
    let mut wrong = Vec::new();
    let mut add = |what: &str, bytes: Vec<u8>, field: &str, statuses: &'static [u16]| {
        let mut one = good(world, operation, asked, what);
        (one.body, one.field, one.statuses) = (bytes, field.to_owned(), statuses);
        wrong.push(one);
    };
    for (what, bytes) in [
        ("an empty body", Vec::new()),
        ("no JSON", b"{\"a\"".to_vec()),
        ("an array", b"[]".to_vec()),
        ("null", b"null".to_vec()),
        ("two values", b"{} {}".to_vec()),
        ("no UTF-8", b"{\"a\":\"\xff\"}".to_vec()),
        ("deep", format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)).into_bytes()),
    ] {
        add(what, bytes, "body", &[400]);
    }
    add("too large", format!("{{\"a\":\"{}\"}}", "a".repeat(TOO_MANY_BYTES)).into_bytes(), "", &[413]);
    let with = |name: &str, value: Value| {
        let mut changed = body.clone();
        changed[name] = value;
        changed.to_string().into_bytes()
    };
    add("an unknown field", with("surprise", json!(1)), "body.surprise", &[400]);
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let mut less = body.clone();
        less.as_object_mut().unwrap().remove(name);
        add(&format!("without {name}"), less.to_string().into_bytes(), &format!("body.{name}"), &[400]);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let field = format!("body.{name}");
        add(&format!("{name} of another kind"), with(name, json!({"surprise": [1]})), &field, &[400]);
        add(&format!("{name} with NUL"), with(name, json!("a\0")), "body", &[400]);
        for value in beyond(document, property) {
            let shown: String = value.to_string().chars().take(40).collect();
            add(&format!("{name}={shown}"), with(name, value), &field, &[400]);
        }
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp"] {
        let mut one = good(world, operation, asked, kind);
        (one.headers, one.statuses) = (vec![("content-type", kind.to_owned())], &[415]);
        wrong.push(one);
    }
    let mut packed = good(world, operation, asked, "compressed");
    packed.headers.push(("content-encoding", "gzip".to_owned()));
    packed.statuses = &[415];
    wrong.push(packed);
    wrong
}

/// Methods that the path does not take.
fn by_method(world: &World, operation: Operation<'_>, asked: &Asked) -> Vec<Wrong> {
    let other = |method: &str| {
        let mut one = good(world, operation, asked, method);
        (one.method, one.statuses) = (method.to_owned(), &[405]);
        one
    };
    ["PATCH", "OPTIONS", "TRACE"].map(other).into_iter().collect()
}

impl Wrong {
    /// What is wrong with the answer to it; empty where it is refused as it should be.
    pub async fn faults(
        &self,
        world: &World,
        document: &Document,
        operation: Operation<'_>,
        who: &Credential,
    ) -> Vec<String> {
        let answer = world.send_bytes(who, &self.method, &self.path, self.body.clone(), &self.headers).await;
        let said = |fault: String| format!("{} ({}): {fault}: {}", operation.id(), self.what, answer.json());
        if !self.statuses.contains(&answer.status.as_u16()) {
            return vec![said(format!("{} instead of {:?}", answer.status, self.statuses))];
        }
        let mut faults = Vec::new();
        if answer.status == 405 {
            let allowed = answer.header("allow").unwrap_or_default().to_ascii_lowercase();
            if !allowed.split(',').any(|method| method.trim() == operation.method) {
                faults.push(said(format!("`Allow: {allowed}`")));
            }
        } else {
            faults.extend(document.faults(operation, &answer).into_iter().map(said));
        }
        let place = answer.json()["errors"][0]["field"].as_str().unwrap_or_default().to_owned();
        if !place.starts_with(&self.field) {
            faults.push(said(format!("the place is `{place}`, not `{}`", self.field)));
        }
        faults
    }
}
