//! Examples of shapes whose own words give none: put together from those of their parts.

use serde_json::{Map, Value, json};

const SCHEMAS: &str = "#/components/schemas/";
/// How deep shapes are followed into each other.
const DEPTH_MAX: usize = 8;

/// Gives each named shape an example.
pub(super) fn complete(schemas: &mut Value) {
    let before = schemas.clone();
    let named = schemas.as_object_mut().into_iter().flatten();
    for (_, schema) in named {
        let example = of(&before, schema, "", 0);
        let fields = schema.as_object_mut().filter(|fields| !fields.contains_key("example"));
        if let (Some(fields), Some(example)) = (fields, example) {
            fields.insert("example".to_owned(), example);
        }
    }
}

/// An example of the schema, which is called so where it stands.
fn of(schemas: &Value, schema: &Value, name: &str, depth: usize) -> Option<Value> {
    if let Some(example) =
        schema.get("example").or_else(|| schema.get("default").filter(|value| !value.is_null()))
    {
        return Some(example.clone());
    }
    if depth > DEPTH_MAX {
        return None;
    }
    if let Some(named) = schema.get("$ref").and_then(Value::as_str) {
        return of(schemas, schemas.get(named.strip_prefix(SCHEMAS)?)?, name, depth + 1);
    }
    if let Some(first) = schema.get("enum").and_then(Value::as_array).and_then(|values| values.first()) {
        return Some(first.clone());
    }
    if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
        let mut whole = Map::new();
        for part in parts {
            whole.extend(of(schemas, part, name, depth + 1)?.as_object()?.clone());
        }
        return Some(Value::Object(whole));
    }
    for key in ["oneOf", "anyOf"] {
        if let Some(parts) = schema.get(key).and_then(Value::as_array) {
            let something =
                parts.iter().find(|part| part.get("type").and_then(Value::as_str) != Some("null"))?;
            return of(schemas, something, name, depth + 1);
        }
    }
    let kind = match schema.get("type").unwrap_or(&Value::Null) {
        Value::String(kind) => kind.as_str(),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null")?,
        // Any value.
        _ => return Some(json!({})),
    };
    match kind {
        "object" => object(schemas, schema, depth),
        "array" => {
            Some(Value::Array(of(schemas, schema.get("items")?, name, depth + 1).into_iter().collect()))
        }
        "string" => Some(Value::from(text(schema, name))),
        "integer" => {
            Some(schema.get("minimum").filter(|least| least.as_u64() > Some(0)).cloned().unwrap_or(json!(1)))
        }
        "number" => Some(json!(0.5)),
        "boolean" => Some(json!(true)),
        _ => Some(Value::Null),
    }
}

fn object(schemas: &Value, schema: &Value, depth: usize) -> Option<Value> {
    let mut example = Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, property) in properties {
        example.insert(name.clone(), of(schemas, property, name, depth + 1)?);
    }
    Some(Value::Object(example))
}

fn text<'a>(schema: &Value, name: &'a str) -> &'a str {
    match schema.get("format").and_then(Value::as_str) {
        Some("uuid") => "019700a3-5c00-7c3e-9a41-0e8f6b2d7c11",
        Some("date-time") => "2026-06-12T14:02:11.000Z",
        Some("email") => "bob@example.com",
        _ => name,
    }
}
