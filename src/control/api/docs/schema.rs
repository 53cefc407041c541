//! Schemas on the page: a kind in words, an object's fields as a table.

use serde_json::Value;

use super::html::{escape, identifier, inline, prose};

/// How deep a kind is told in words; what is deeper is behind a link.
const DEPTH_MAX: usize = 4;
const SCHEMAS: &str = "#/components/schemas/";

/// The schema in words: `string, at most 64 letters`, `array of Agent`.
pub(super) fn kind(document: &Value, schema: &Value) -> String {
    kind_at(document, schema, 0)
}

fn kind_at(document: &Value, schema: &Value, depth: usize) -> String {
    if let Some(name) = reference(schema) {
        return format!("<a href=\"#{}\">{}</a>", identifier("shape", name), escape(name));
    }
    if depth > DEPTH_MAX {
        return "…".to_owned();
    }
    for key in ["oneOf", "anyOf", "allOf"] {
        if let Some(parts) = schema.get(key).and_then(Value::as_array) {
            let parts: Vec<String> = parts.iter().map(|part| kind_at(document, part, depth + 1)).collect();
            return parts.join(if key == "allOf" { " with " } else { " or " });
        }
    }
    let values = schema.get("enum").and_then(Value::as_array);
    if let Some(values) = values {
        let values: Vec<String> =
            values.iter().map(|value| format!("<code>{}</code>", escape(&plain(value)))).collect();
        return values.join(" or ");
    }
    let mut words = vec![match schema.get("type") {
        Some(Value::String(name)) => named(document, schema, name, depth),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            names.map(|name| named(document, schema, name, depth)).collect::<Vec<_>>().join(" or ")
        }
        _ => "any value".to_owned(),
    }];
    words.extend(limits(schema));
    words.join(", ")
}

fn named(document: &Value, schema: &Value, name: &str, depth: usize) -> String {
    match name {
        "array" => {
            let items = schema.get("items").unwrap_or(&Value::Null);
            format!("array of {}", kind_at(document, items, depth + 1))
        }
        "object" => match schema.get("additionalProperties") {
            Some(values) if values.is_object() => {
                format!("object of {}", kind_at(document, values, depth + 1))
            }
            _ => "object".to_owned(),
        },
        "null" => "<code>null</code>".to_owned(),
        other => match schema.get("format").and_then(Value::as_str) {
            Some(format) if !format.starts_with("int") => format!("{} ({})", escape(other), escape(format)),
            _ => escape(other),
        },
    }
}

/// The bounds, in words.
fn limits(schema: &Value) -> Vec<String> {
    let of = |key: &str| schema.get(key).filter(|value| !value.is_null()).map(plain);
    let mut words = Vec::new();
    for (least, most, unit) in [
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " letters"),
        ("minItems", "maxItems", " of them"),
    ] {
        match (of(least), of(most)) {
            (Some(least), Some(most)) => words.push(format!("{least} to {most}{unit}")),
            (Some(least), None) => words.push(format!("at least {least}{unit}")),
            (None, Some(most)) => words.push(format!("at most {most}{unit}")),
            (None, None) => {}
        }
    }
    if let Some(pattern) = of("pattern") {
        words.push(format!("as <code>{}</code>", escape(&pattern)));
    }
    if let Some(default) = of("default") {
        words.push(format!("<code>{}</code> where it is not given", escape(&default)));
    }
    words
}

/// A value without the quotes of a JSON text.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn reference(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str).and_then(|name| name.strip_prefix(SCHEMAS))
}

/// The fields of an object that is described in place; nothing where the schema is a name.
pub(super) fn fields(document: &Value, schema: &Value) -> String {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return String::new() };
    let mut text =
        "<table>\n<thead><tr><th>Field</th><th>Kind</th><th>What it is</th></tr></thead>\n<tbody>\n"
            .to_owned();
    for (name, property) in properties {
        let about = property.get("description").and_then(Value::as_str);
        let about = about.or_else(|| described(document, property)).unwrap_or_default();
        let optional =
            if required.contains(&name.as_str()) { "" } else { "<br><small>may be absent</small>" };
        text.push_str(&format!(
            "<tr><td><code>{}</code>{optional}</td><td>{}</td><td>{}</td></tr>\n",
            escape(name),
            kind(document, property),
            prose(about)
        ));
    }
    text.push_str("</tbody>\n</table>\n");
    text
}

/// What the named schema says of itself.
fn described<'a>(document: &'a Value, schema: &Value) -> Option<&'a str> {
    let name = reference(schema)?;
    document.pointer("/components/schemas")?.get(name)?.get("description")?.as_str()
}

/// Every named schema.
pub(super) fn all(document: &Value) -> String {
    let mut text = "<section id=\"shapes\">\n<h2>Shapes</h2>\n".to_owned();
    let schemas = document.pointer("/components/schemas").and_then(Value::as_object);
    for (name, schema) in schemas.into_iter().flatten() {
        let about = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!(
            "<article id=\"{}\">\n<h3>{}</h3>\n{}",
            identifier("shape", name),
            escape(name),
            prose(about)
        ));
        if schema.get("properties").is_none() {
            text.push_str(&format!("<p>{}</p>\n", kind(document, schema)));
        }
        text.push_str(&fields(document, schema));
        text.push_str(&variants(document, schema));
        text.push_str("</article>\n");
    }
    text.push_str("</section>\n");
    text
}

/// The alternatives of a schema, each with its fields.
fn variants(document: &Value, schema: &Value) -> String {
    let mut text = String::new();
    for part in ["oneOf", "anyOf", "allOf"].iter().filter_map(|key| schema.get(*key)?.as_array()).flatten() {
        let about = part.get("description").and_then(Value::as_str).unwrap_or_default();
        let shown = fields(document, part);
        if !shown.is_empty() {
            text.push_str(&format!("<p>{}</p>\n{shown}", inline(about)));
        }
    }
    text
}
