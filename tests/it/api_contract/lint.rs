//! What every operation, parameter and shape of the document owes its reader.

use std::collections::BTreeSet;

use serde_json::Value;

use super::document::{Document, Operation};
use super::schema;

fn words(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().len() > 2)
}

/// What an operation says and answers.
fn of_operation(document: &Document, operation: Operation<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut want = |holds: bool, what: String| {
        if !holds {
            faults.push(format!("{} {}: {what}", operation.method, operation.path));
        }
    };
    want(words(&operation.body["summary"]), "no summary".to_owned());
    let tags = document.0["tags"].as_array().unwrap();
    want(
        tags.iter().any(|tag| tag["name"] == operation.body["tags"][0]),
        format!("no such tag: {}", operation.body["tags"]),
    );
    let security = operation.body["security"].as_array().is_some_and(|ways| !ways.is_empty());
    want(security, "no security line".to_owned());
    let responses = operation.body["responses"].as_object().unwrap();
    want(responses.keys().any(|status| status.starts_with('2') || status == "501"), "no success".to_owned());
    for status in ["429", "500", "503"] {
        want(responses.contains_key(status), format!("no {status}"));
    }
    let open =
        operation.body["security"].as_array().is_some_and(|ways| ways.contains(&serde_json::json!({})));
    want(
        open != responses.contains_key("401") || operation.changes(),
        "401 is for what takes a credential".to_owned(),
    );
    want(responses.contains_key("403"), "no 403".to_owned());
    let of_path = operation.path.contains('{');
    want(of_path == responses.contains_key("404"), "404 is for what names something in its path".to_owned());
    for status in ["413", "415"] {
        want(
            operation.takes_a_body() == responses.contains_key(status),
            format!("{status} is for what takes a body"),
        );
    }
    for (status, response) in responses {
        let response = document.resolved(response);
        want(words(&response["description"]), format!("{status} has no description"));
    }
    for (status, response) in responses {
        let contents = &document.resolved(response)["content"];
        faults.extend(of_contents(document, operation, &format!("the answer {status}"), contents));
    }
    if operation.takes_a_body() {
        faults.extend(of_contents(
            document,
            operation,
            "the body",
            &operation.body["requestBody"]["content"],
        ));
    }
    faults
}

/// Each body has an example, and the example is as its schema says.
fn of_contents(document: &Document, operation: Operation<'_>, what: &str, contents: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (media_type, content) in contents.as_object().into_iter().flatten() {
        let mut examples: Vec<&Value> = content.get("example").into_iter().collect();
        let named = content["examples"].as_object().into_iter().flatten();
        examples.extend(named.filter_map(|(_, example)| example.get("value")));
        if examples.is_empty() {
            faults.push(format!("{}: {what} ({media_type}) has no example", operation.id()));
        }
        for example in examples.into_iter().filter(|_| media_type.ends_with("json")) {
            let found = schema::faults(&document.0, &content["schema"], example);
            faults.extend(
                found.into_iter().map(|fault| format!("{}: the example of {what}: {fault}", operation.id())),
            );
        }
    }
    faults
}

/// Parameters say what they are and how far they go.
fn of_parameters(operation: Operation<'_>) -> Vec<String> {
    let mut faults = Vec::new();
    for parameter in operation.body["parameters"].as_array().into_iter().flatten() {
        let (name, schema) = (&parameter["name"], &parameter["schema"]);
        if !words(&parameter["description"]) {
            faults.push(format!("{}: the parameter {name} has no description", operation.id()));
        }
        if parameter["in"] == "query" && !bounded(schema) {
            faults.push(format!("{}: the parameter {name} has no limits: {schema}", operation.id()));
        }
    }
    let named: BTreeSet<&str> =
        operation.path.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
    let told: BTreeSet<&str> =
        operation.parameters("path").filter_map(|parameter| parameter["name"].as_str()).collect();
    if named != told {
        faults.push(format!("{}: the path has {named:?}, the parameters {told:?}", operation.id()));
    }
    faults
}

/// Whether a client can tell how far a value may go.
fn bounded(schema: &Value) -> bool {
    if schema.get("$ref").is_some() || schema.get("enum").is_some() {
        return true;
    }
    if let Some(parts) = schema["oneOf"].as_array() {
        return parts.iter().all(bounded);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null").collect()
        }
        _ => return false,
    };
    kinds.iter().all(|kind| match *kind {
        "integer" | "number" => schema.get("minimum").is_some() && schema.get("maximum").is_some(),
        "string" => schema.get("maxLength").is_some() || schema.get("format").is_some(),
        "array" => schema.get("maxItems").is_some() && bounded(&schema["items"]),
        _ => true,
    })
}

/// Shapes and their fields are told in words.
fn of_schemas(document: &Document) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, schema) in document.0["components"]["schemas"].as_object().unwrap() {
        if !words(&schema["description"]) {
            faults.push(format!("{name} has no description"));
        }
        if schema["example"].is_null() && schema.get("enum").is_none() {
            faults.push(format!("{name} has no example"));
        }
    }
    faults
}

/// References that lead nowhere.
fn dangling(document: &Value, part: &Value) -> Vec<String> {
    let own = part["$ref"].as_str().filter(|name| document.pointer(name.trim_start_matches('#')).is_none());
    let mut faults: Vec<String> = own.map(|name| format!("{name} leads nowhere")).into_iter().collect();
    match part {
        Value::Array(items) => faults.extend(items.iter().flat_map(|item| dangling(document, item))),
        Value::Object(fields) => faults.extend(fields.values().flat_map(|field| dangling(document, field))),
        _ => {}
    }
    faults
}

#[test]
fn the_document_says_what_a_client_must_know() {
    let document = Document::kept();
    let operations = document.operations();
    let mut faults = of_schemas(&document);
    faults.extend(dangling(&document.0, &document.0));
    let mut names = BTreeSet::new();
    for operation in &operations {
        if !names.insert(operation.id()) {
            faults.push(format!("two operations are called {}", operation.id()));
        }
        faults.extend(of_operation(&document, *operation));
        faults.extend(of_parameters(*operation));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}
