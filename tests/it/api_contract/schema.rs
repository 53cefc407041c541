//! A value against a JSON schema (draft 2020-12, as far as the document uses it).
//!
//! Invariant: a keyword that is not known here is a fault, never passed over: what the document says is
//! checked whole, or the test is red. (schemathesis compares the same answers by another validator.)

use serde_json::{Map, Value};

/// Words about a schema that say nothing of values.
const NOTES: &[&str] =
    &["description", "title", "example", "examples", "default", "deprecated", "readOnly", "writeOnly"];

/// What is wrong with the value, with its place; empty where nothing is.
pub fn faults(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut check = Check { document, faults: Vec::new(), in_part: false };
    check.value(schema, value, "$");
    check.faults
}

struct Check<'a> {
    document: &'a Value,
    faults: Vec<String>,
    /// Whether a part of a whole is looked at: other parts may name what this one does not.
    in_part: bool,
}

impl Check<'_> {
    fn fault(&mut self, place: &str, what: &str) {
        self.faults.push(format!("{place}: {what}"));
    }

    fn fits(&self, schema: &Value, value: &Value, place: &str) -> Result<(), Vec<String>> {
        let mut check = Check { document: self.document, faults: Vec::new(), in_part: self.in_part };
        check.value(schema, value, place);
        if check.faults.is_empty() { Ok(()) } else { Err(check.faults) }
    }

    fn value(&mut self, schema: &Value, value: &Value, place: &str) {
        let Some(schema) = schema.as_object() else {
            if *schema != Value::Bool(true) {
                self.fault(place, "is nothing that the schema knows");
            }
            return;
        };
        for (keyword, rule) in schema {
            self.keyword(schema, keyword, rule, value, place);
        }
    }

    fn keyword(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        rule: &Value,
        value: &Value,
        place: &str,
    ) {
        match keyword {
            "$ref" => {
                let pointer =
                    rule.as_str().unwrap().strip_prefix('#').expect("a reference into the document");
                let named = self.document.pointer(pointer).unwrap_or_else(|| panic!("{rule} leads nowhere"));
                self.value(named, value, place);
            }
            "type" => self.kind(rule, value, place),
            "enum" if !rule.as_array().unwrap().contains(value) => {
                self.fault(place, &format!("{value} is none of {rule}"))
            }
            "const" if rule != value => self.fault(place, &format!("{value} is not {rule}")),
            "oneOf" | "anyOf" => self.alternatives(keyword, rule.as_array().unwrap(), value, place),
            "allOf" => self.parts(rule.as_array().unwrap(), value, place),
            "properties"
            | "required"
            | "additionalProperties"
            | "propertyNames"
            | "minProperties"
            | "maxProperties" => {
                if let Some(object) = value.as_object() {
                    self.object(schema, keyword, rule, object, place);
                }
            }
            "items" | "minItems" | "maxItems" | "uniqueItems" => {
                if let Some(array) = value.as_array() {
                    self.array(keyword, rule, array, place);
                }
            }
            "minLength" | "maxLength" | "pattern" | "format" => self.text(keyword, rule, value, place),
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                self.number(keyword, rule, value, place)
            }
            "enum" | "const" => {}
            note if NOTES.contains(&note) => {}
            unknown => self.fault(place, &format!("the keyword `{unknown}` is not known to this test")),
        }
    }

    fn kind(&mut self, rule: &Value, value: &Value, place: &str) {
        let is = |kind: &str| match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("{place}: no such type: {other}"),
        };
        let fits = match rule {
            Value::String(kind) => is(kind),
            Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
            _ => panic!("{place}: type {rule}"),
        };
        if !fits {
            self.fault(place, &format!("{value} is not {rule}"));
        }
    }

    /// Each part of a whole, and that what is there is in one of them.
    fn parts(&mut self, parts: &[Value], value: &Value, place: &str) {
        let within = std::mem::replace(&mut self.in_part, true);
        parts.iter().for_each(|part| self.value(part, value, place));
        self.in_part = within;
        let document = self.document;
        let known: Vec<&str> = parts.iter().flat_map(|part| names(document, part)).collect();
        for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
            if !within && !known.contains(&name.as_str()) {
                self.fault(&format!("{place}.{name}"), "is not in the document");
            }
        }
    }

    fn alternatives(&mut self, keyword: &str, parts: &[Value], value: &Value, place: &str) {
        let tried: Vec<Result<(), Vec<String>>> =
            parts.iter().map(|part| self.fits(part, value, place)).collect();
        let fitting = tried.iter().filter(|one| one.is_ok()).count();
        if fitting == 0 || (keyword == "oneOf" && fitting > 1) {
            let why: Vec<String> = tried.into_iter().filter_map(Result::err).flatten().collect();
            self.fault(place, &format!("fits {fitting} of {keyword}: {}", why.join("; ")));
        }
    }

    fn object(
        &mut self,
        schema: &Map<String, Value>,
        keyword: &str,
        rule: &Value,
        object: &Map<String, Value>,
        place: &str,
    ) {
        match keyword {
            "properties" => {
                for (name, value) in object {
                    if let Some(part) = rule.get(name) {
                        let within = std::mem::replace(&mut self.in_part, false);
                        self.value(part, value, &format!("{place}.{name}"));
                        self.in_part = within;
                    } else if schema.get("additionalProperties").is_none() && !self.in_part {
                        // The document describes what is answered whole: nothing comes along unnamed.
                        self.fault(&format!("{place}.{name}"), "is not in the document");
                    }
                }
            }
            "required" => {
                for name in rule.as_array().unwrap().iter().filter_map(Value::as_str) {
                    if !object.contains_key(name) {
                        self.fault(place, &format!("`{name}` is missing"));
                    }
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                for (name, value) in
                    object.iter().filter(|(name, _)| known.is_none_or(|known| !known.contains_key(*name)))
                {
                    self.value(rule, value, &format!("{place}.{name}"));
                }
            }
            "propertyNames" => object
                .keys()
                .for_each(|name| self.value(rule, &Value::from(name.as_str()), &format!("{place}.{name}"))),
            "minProperties" if (object.len() as u64) < rule.as_u64().unwrap() => {
                self.fault(place, "has too few")
            }
            "maxProperties" if (object.len() as u64) > rule.as_u64().unwrap() => {
                self.fault(place, "has too many")
            }
            _ => {}
        }
    }

    fn array(&mut self, keyword: &str, rule: &Value, array: &[Value], place: &str) {
        match keyword {
            "items" => {
                for (at, value) in array.iter().enumerate() {
                    self.value(rule, value, &format!("{place}[{at}]"));
                }
            }
            "minItems" if (array.len() as u64) < rule.as_u64().unwrap() => self.fault(place, "has too few"),
            "maxItems" if (array.len() as u64) > rule.as_u64().unwrap() => self.fault(place, "has too many"),
            "uniqueItems" if array.iter().enumerate().any(|(at, one)| array[..at].contains(one)) => {
                self.fault(place, "has one twice");
            }
            _ => {}
        }
    }

    fn text(&mut self, keyword: &str, rule: &Value, value: &Value, place: &str) {
        if keyword == "format" {
            return self.format(rule.as_str().unwrap(), value, place);
        }
        let Some(text) = value.as_str() else { return };
        let letters = text.chars().count() as u64;
        match keyword {
            "minLength" if letters < rule.as_u64().unwrap() => {
                self.fault(place, &format!("{value} is too short"))
            }
            "maxLength" if letters > rule.as_u64().unwrap() => {
                self.fault(place, &format!("{value} is too long"))
            }
            // No pattern is read here: schemathesis compares them.
            _ => {}
        }
    }

    fn format(&mut self, format: &str, value: &Value, place: &str) {
        if let Some(text) = value.as_str() {
            let fits = match format {
                "uuid" => text.len() == 36 && text.parse::<uuid::Uuid>().is_ok(),
                "date-time" => {
                    text.len() == 24 && text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
                }
                "date" => text.parse::<jiff::civil::Date>().is_ok(),
                "email" => {
                    text.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty())
                }
                "uri" => text.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some()),
                "ipv4" | "ipv6" | "ip" => text.parse::<std::net::IpAddr>().is_ok(),
                "password" | "byte" | "binary" => true,
                other => panic!("{place}: the format `{other}` is not known to this test"),
            };
            if !fits {
                self.fault(place, &format!("{value} is no {format}"));
            }
        }
        let bounds = match format {
            "int32" => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            "int64" => Some((i64::MIN, i64::MAX)),
            _ => None,
        };
        if let (Some((least, most)), Some(number)) = (bounds, value.as_i64())
            && !(least..=most).contains(&number)
        {
            self.fault(place, &format!("{value} is no {format}"));
        }
    }

    fn number(&mut self, keyword: &str, rule: &Value, value: &Value, place: &str) {
        let (Some(number), Some(bound)) = (value.as_f64(), rule.as_f64()) else { return };
        let fits = match keyword {
            "minimum" => number >= bound,
            "maximum" => number <= bound,
            "exclusiveMinimum" => number > bound,
            "exclusiveMaximum" => number < bound,
            _ => number % bound == 0.0,
        };
        if !fits {
            self.fault(place, &format!("{value} is against {keyword} {rule}"));
        }
    }
}

/// The properties that a schema names, its parts' too.
fn names<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a str> {
    if let Some(pointer) = schema["$ref"].as_str() {
        return names(document, document.pointer(pointer.trim_start_matches('#')).unwrap());
    }
    let own = schema["properties"].as_object().into_iter().flat_map(|properties| properties.keys());
    let parts = schema["allOf"].as_array().into_iter().flatten().flat_map(|part| names(document, part));
    own.map(String::as_str).chain(parts).collect()
}

/// The validator bites.
#[test]
fn what_does_not_fit_is_found() {
    use serde_json::json;
    let document = json!({"components": {"schemas": {"Name": {"type": "string", "maxLength": 3}}}});
    let table = [
        (json!({"type": "string"}), json!(1), 1),
        (json!({"type": ["string", "null"]}), json!(null), 0),
        (json!({"$ref": "#/components/schemas/Name"}), json!("four"), 1),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "required": ["a"]}),
            json!({"a": 0}),
            1,
        ),
        (
            json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}),
            json!({"b": 0}),
            2,
        ),
        (json!({"type": "object", "additionalProperties": {"type": "integer"}}), json!({"b": "x"}), 1),
        (json!({"type": "object", "additionalProperties": false}), json!({"b": "x"}), 1),
        (json!({"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Name"}]}), json!(true), 1),
        (json!({"oneOf": [{"type": "integer"}, {"type": "number"}]}), json!(1), 1),
        (json!({"type": "array", "items": {"enum": ["a"]}, "maxItems": 1}), json!(["a", "b"]), 2),
        (json!({"type": "string", "format": "uuid"}), json!("no"), 1),
        (json!({"type": "string", "format": "date-time"}), json!("2026-06-12T14:02:11Z"), 1),
        (json!({"type": "integer", "format": "int32"}), json!(3_000_000_000_i64), 1),
        (json!({"type": "integer", "surprise": 1}), json!(1), 1),
        (json!({"allOf": [{"type": "integer"}, {"maximum": 3}]}), json!(4), 1),
        (
            json!({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {"properties": {}}}}]}),
            json!({"a": 1, "b": {}}),
            0,
        ),
        (
            json!({"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {"properties": {}}}}]}),
            json!({"c": 1, "b": {"d": 1}}),
            2,
        ),
    ];
    for (schema, value, expected) in table {
        let found = faults(&document, &schema, &value);
        assert_eq!(found.len(), expected, "{schema} {value}: {found:?}");
    }
}
