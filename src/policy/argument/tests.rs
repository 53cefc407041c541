use serde_json::json;

use super::*;

#[test]
fn shapes_follow_the_json_schema_and_leave_out_what_cedar_cannot_hold() {
    let table = [
        (json!({"type": "string"}), Some("String")),
        (json!({"type": "integer"}), Some("Long")),
        (json!({"type": "boolean"}), Some("Bool")),
        (json!({"type": "number"}), Some("decimal")),
        (json!({"type": "array", "items": {"type": "string"}}), Some("Set<String>")),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}}),
            None,
        ),
        (json!({"type": "array"}), None),
        (json!({"enum": ["a", "b"]}), Some("String")),
        (json!({"enum": ["a", 1]}), None),
        (json!({"const": "a"}), Some("String")),
        (json!({"type": ["string", "null"]}), Some("String")),
        (json!({"type": ["string", "integer"]}), None),
        (json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), Some("Long")),
        (json!({"anyOf": [{"type": "integer"}, {"type": "string"}]}), None),
        (json!({"anyOf": []}), None),
        (json!({"$ref": "#/$defs/kind"}), Some("String")),
        (json!({"$ref": "#/$defs/loop"}), None),
        (json!({"$ref": "https://example.com/schema.json"}), None),
        (json!({"type": "object"}), None),
        (
            json!({"type": "object", "properties": {"a\"b": {"type": "string"}}}),
            Some("{\"a\\\"b\"?: String, \"a\\\"b#length\"?: Long}"),
        ),
        (json!({}), None),
    ];
    for (schema, expected) in table {
        let whole = json!({"type": "object", "properties": {"x": schema},
            "$defs": {"kind": {"enum": ["a"]}, "loop": {"$ref": "#/$defs/loop"}}});
        let shape = members_of(&whole).remove("x").map(|s| s.to_cedar());
        assert_eq!(shape.as_deref(), expected, "{whole}");
    }
}

#[test]
fn records_end_at_the_depth_bound() {
    let mut schema = json!({"type": "string"});
    for _ in 0..10 {
        schema = json!({"type": "object", "properties": {"a": schema}});
    }
    assert!(members_of(&schema).is_empty(), "an endless chain holds nothing readable");
}

/// What a call's argument `x` becomes, or why it cannot be held.
fn held(schema: Value, given: Value) -> String {
    let shape = members_of(&json!({"type": "object", "properties": {"x": schema}}));
    let only_x = Reach::Paths([vec!["x".to_owned()]].into());
    let (value, unreadable) = record(&shape, &json!({"x": given}), &only_x);
    match unreadable.first() {
        Some(fault) => format!("{}: {}", fault.path.join("."), fault.why),
        None => value.to_string(),
    }
}

#[test]
fn values_have_the_declared_type_or_are_reported() {
    let long = || json!({"type": "integer"});
    let decimal = || json!({"type": "number"});
    let texts = || json!({"type": "array", "items": {"type": "string"}});
    let table = [
        (json!({"type": "string"}), json!("a"), "{x: \"a\"}"),
        (json!({"type": "string"}), json!(1), "x: another type than the tool's schema declares"),
        (json!({"type": "string"}), json!(null), "x: null"),
        (long(), json!(5), "{x: 5}"),
        (long(), json!(5.0), "{x: 5}"),
        (long(), json!(-0.0), "{x: 0}"),
        (long(), json!(5.5), "x: not an integer of 64 bits"),
        (long(), json!(1e300), "x: not an integer of 64 bits"),
        (long(), json!(u64::MAX), "x: an integer beyond 64 bits"),
        (long(), json!("5"), "x: another type than the tool's schema declares"),
        (decimal(), json!(5), "{x: decimal(\"5.0\")}"),
        (decimal(), json!(0.1), "{x: decimal(\"0.1000\")}"),
        (decimal(), json!(-12.3456), "{x: decimal(\"-12.3456\")}"),
        (decimal(), json!(0.00001), "x: a number with more than four decimals"),
        (decimal(), json!(1e15), "x: a number beyond the range of decimals"),
        (decimal(), json!(u64::MAX), "x: a number beyond the range of decimals"),
        (texts(), json!(["b", "a", "b"]), "[\"a\", \"b\"]"),
        (texts(), json!(["a", 1]), "x: another type than the tool's schema declares"),
        (texts(), json!(["a", null]), "x: another type than the tool's schema declares"),
    ];
    for (schema, given, expected) in table {
        let found = held(schema, given.clone());
        let matches = found == expected
            || (expected.starts_with('[') && found.contains("\"a\"") && found.contains("\"b\""));
        assert!(matches, "{given}: {found}, expected {expected}");
    }
}

#[test]
fn lengths_are_counted_by_the_gate_and_never_sent() {
    let schema = json!({"type": "object", "properties": {
        "x": {"type": "string"}, "list": {"type": "array", "items": {"type": "integer"}},
        "in": {"type": "object", "properties": {"y": {"type": "string"}}}, "n": {"type": "integer"},
        "real": {"type": "string"}, "real#length": {"type": "string"}}});
    let shape = members_of(&schema);
    let names: Vec<&str> = shape.keys().map(String::as_str).filter(|name| name.contains('#')).collect();
    assert_eq!(names, ["list#length", "real#length", "real#length#length", "x#length"]);
    assert_eq!(shape["real#length"], Shape::Text, "an argument that is really called so is itself");
    let read = |path: &[&str], arguments: Value| {
        let reach = Reach::Paths([path.iter().map(|name| (*name).to_owned()).collect()].into());
        let (value, unreadable) = record(&shape, &arguments, &reach);
        (
            value.to_string(),
            unreadable.first().map(|fault| format!("{}: {}", fault.path.join("."), fault.why)),
        )
    };
    let other = "another type than the tool's schema declares";
    for (path, arguments, value, fault) in [
        (&["x#length"][..], json!({"x": "aß\u{1f600}"}), "{\"x#length\": 3}", None),
        (&["x#length"], json!({"x": ""}), "{\"x#length\": 0}", None),
        (&["x#length"], json!({}), "{}", None),
        (&["x#length"], json!({"x#length": 7}), "{}", None),
        (&["x#length"], json!({"x": "a", "x#length": 7}), "{\"x#length\": 1}", None),
        (&["x#length"], json!({"x": 5}), "{}", Some(format!("x#length: {other}"))),
        (&["x#length"], json!({"x": ["a"]}), "{}", Some(format!("x#length: {other}"))),
        (&["x#length"], json!({"x": null}), "{}", Some("x#length: null".to_owned())),
        (&["list#length"], json!({"list": [1, 1, "a"]}), "{\"list#length\": 3}", None),
        (&["list#length"], json!({"list": "abc"}), "{}", Some(format!("list#length: {other}"))),
    ] {
        assert_eq!(read(path, arguments.clone()), (value.to_owned(), fault), "{arguments}");
    }
    let (value, _) = read(&["in", "y#length"], json!({"in": {"y": "abcd"}}));
    assert!(value.contains("\"y#length\": 4"), "{value}");
}

#[test]
fn too_many_values_are_unreadable_and_unread_ones_are_not_looked_at() {
    let schema = json!({"type": "object", "properties": {"x": {"type": "array", "items": {"type": "integer"}},
        "y": {"type": "string"}}});
    let shape = members_of(&schema);
    let arguments = json!({"x": (0..=VALUES_MAX).collect::<Vec<_>>(), "y": "a"});
    let (_, unreadable) = record(&shape, &arguments, &Reach::Whole);
    assert_eq!(unreadable.first().map(|u| u.why), Some("too many values"));
    let only_y = Reach::Paths([vec!["y".to_owned()]].into());
    let (value, unreadable) = record(&shape, &arguments, &only_y);
    assert_eq!((value.to_string().as_str(), unreadable.len()), ("{y: \"a\"}", 0));
}
