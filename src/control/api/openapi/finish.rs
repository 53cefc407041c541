//! What the handlers' own words leave to be said, and what they say too much.
//!
//! Invariant: a response is struck only where the route cannot answer so: it never hides one that can
//! happen (`tests/it/api_contract.rs` and schemathesis compare answers with the document).

use serde_json::{Map, Value, json};

use super::example;

/// The document as it is served.
pub(super) fn finish(mut document: Value) -> Value {
    if let Some(schemas) = document.pointer_mut("/components/schemas") {
        example::complete(schemas);
        no_nul(schemas);
    }
    let schemas = document.pointer("/components/schemas").cloned().unwrap_or_default();
    let tags: Vec<Value> = document.get("tags").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut used: Vec<String> = Vec::new();
    for (method, operation) in operations(&mut document) {
        let unsafe_method = method != "get";
        used.extend(operation.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(text));
        no_null(operation);
        operation.get_mut("parameters").into_iter().for_each(no_nul);
        strike_what_cannot_be(operation, unsafe_method);
        ask_for_the_word(operation, unsafe_method);
        show_examples(operation, &schemas);
        complete(operation, &schemas);
    }
    if let Some(responses) = document.pointer_mut("/components/responses").and_then(Value::as_object_mut) {
        responses.values_mut().for_each(name_the_request);
    }
    let tags = tags
        .into_iter()
        .filter(|tag| tag.get("name").and_then(text).is_some_and(|name| used.contains(&name)));
    if let Some(document) = document.as_object_mut() {
        document.insert("tags".to_owned(), tags.collect());
    }
    document
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Each operation with its method.
fn operations(document: &mut Value) -> impl Iterator<Item = (String, &mut Map<String, Value>)> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).into_iter();
    let items = paths.flat_map(|paths| paths.values_mut()).filter_map(Value::as_object_mut);
    items.flat_map(|item| item.iter_mut()).filter_map(|(method, operation)| {
        operation.as_object_mut().map(|operation| (method.clone(), operation))
    })
}

/// A parameter may be absent; there is no null in a path, a query or a header.
fn no_null(operation: &mut Map<String, Value>) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten();
    for kind in parameters.filter_map(|parameter| parameter.pointer_mut("/schema/type")) {
        let something = kind.as_array().and_then(|kinds| kinds.iter().find(|one| *one != "null")).cloned();
        if let Some(something) = something {
            *kind = something;
        }
    }
}

/// Says of every text that nothing narrower describes that it has no U+0000 (see `api::extract`).
fn no_nul(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(no_nul),
        Value::Object(words) => {
            let kind = words.get("type").unwrap_or(&Value::Null);
            let is_text =
                kind == "string" || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("string")));
            if is_text && !["pattern", "format", "enum", "const"].iter().any(|word| words.contains_key(*word))
            {
                words.insert("pattern".to_owned(), Value::from(r"^[^\x00]*$"));
            }
            let examples = ["example", "examples", "default"];
            words
                .iter_mut()
                .filter(|(word, _)| !examples.contains(&word.as_str()))
                .for_each(|(_, inner)| no_nul(inner));
        }
        _ => {}
    }
}

/// Strikes refusals of the shared set that this route cannot answer with.
fn strike_what_cannot_be(operation: &mut Map<String, Value>, unsafe_method: bool) {
    let ways = operation.get("security").and_then(Value::as_array);
    let open = ways.is_none_or(|ways| ways.contains(&json!({})));
    let body = operation.contains_key("requestBody");
    let parameters = operation.get("parameters").and_then(Value::as_array);
    let of_path = |parameter: &Value| parameter.get("in").and_then(Value::as_str) == Some("path");
    let in_path = parameters.is_some_and(|all| all.iter().any(of_path));
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    responses.retain(|status, response| {
        let shared = response.get("$ref").is_some();
        let possible = match status.as_str() {
            // What opens something may not open.
            "401" => !open || unsafe_method,
            "404" => in_path,
            "409" | "410" | "412" | "422" => unsafe_method,
            "413" | "415" => body,
            _ => true,
        };
        !shared || possible
    });
}

/// A session's unsafe request carries the session's word beside its cookie.
fn ask_for_the_word(operation: &mut Map<String, Value>, unsafe_method: bool) {
    if !unsafe_method {
        return;
    }
    let ways = operation.get_mut("security").and_then(Value::as_array_mut).into_iter().flatten();
    for way in ways.filter_map(Value::as_object_mut) {
        if way.contains_key("session") {
            way.insert("csrf".to_owned(), json!([]));
        }
    }
}

/// Each answer says what it is, and how the request is called.
fn complete(operation: &mut Map<String, Value>, schemas: &Value) {
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten();
    for (status, response) in responses {
        name_the_request(response);
        let named = response.get("$ref").is_some();
        let said = response.get("description").and_then(Value::as_str).is_some_and(|said| !said.is_empty());
        if named || said {
            continue;
        }
        let contents = response.get("content").and_then(Value::as_object).into_iter();
        let mut of_schema =
            contents.flat_map(|contents| contents.values()).filter_map(|content| described(content, schemas));
        let reason =
            http::StatusCode::try_from(status.as_str()).ok().and_then(|status| status.canonical_reason());
        let text = of_schema.next().or(reason).unwrap_or("An answer").to_owned();
        drop(of_schema);
        if let Some(response) = response.as_object_mut() {
            response.insert("description".to_owned(), Value::from(text));
        }
    }
}

/// What the named schema of a content says of itself.
fn described<'a>(content: &Value, schemas: &'a Value) -> Option<&'a str> {
    named(content, schemas)?.get("description")?.as_str()
}

fn named<'a>(content: &Value, schemas: &'a Value) -> Option<&'a Value> {
    let name = content.get("schema")?.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")?;
    schemas.get(name)
}

fn name_the_request(response: &mut Value) {
    let Some(response) = response.as_object_mut() else { return };
    if response.contains_key("$ref") {
        return;
    }
    let headers = response.entry("headers").or_insert_with(|| json!({}));
    if let Some(headers) = headers.as_object_mut() {
        headers.insert("x-request-id".to_owned(), json!({"$ref": "#/components/headers/RequestId"}));
    }
}

/// Bodies show the example of their schema, where they have none of their own.
fn show_examples(operation: &mut Map<String, Value>, schemas: &Value) {
    if let Some(body) = operation.get_mut("requestBody") {
        show(body, schemas);
    }
    let responses = operation.get_mut("responses").and_then(Value::as_object_mut).into_iter();
    responses.flat_map(|responses| responses.values_mut()).for_each(|response| show(response, schemas));
}

fn show(body: &mut Value, schemas: &Value) {
    let contents = body.get_mut("content").and_then(Value::as_object_mut).into_iter();
    for content in contents.flat_map(|contents| contents.values_mut()).filter_map(Value::as_object_mut) {
        if content.contains_key("example") || content.contains_key("examples") {
            continue;
        }
        let schema = json!({"schema": content.get("schema")});
        if let Some(example) = named(&schema, schemas).and_then(|schema| schema.get("example")).cloned() {
            content.insert("example".to_owned(), example);
        }
    }
}
