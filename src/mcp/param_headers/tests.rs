use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn values_are_written_as_the_specification_shows() {
    for (value, header) in [
        ("us-west1", "us-west1"),
        ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
        (" padded ", "=?base64?IHBhZGRlZCA=?="),
        ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
        ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ("=?base64?open", "=?base64?open"),
        ("=?BASE64?a?=", "=?BASE64?a?="),
        ("", ""),
        ("a\tb", "a\tb"),
        ("\ta", "=?base64?CWE=?="),
        ("\u{7f}", "=?base64?fw==?="),
    ] {
        assert_eq!(encode(value), header, "{value:?}");
        assert_eq!(decode(header).as_deref(), Some(value), "{header:?}");
    }
    for bad in ["=?base64?*?=", "=?base64?a?=", "=?base64?/w==?=", "a\nb", "ü"] {
        assert_eq!(decode(bad), None, "{bad}");
    }
}

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "x-mcp-header": {"type": "string"},
        "inner": {"type": "object", "properties": {"id": {"type": "string", "x-mcp-header": "Inner-Id"}}},
        "plain": {"type": "string", "default": {"x-mcp-header": "no schema"}}}})
}

#[test]
fn arguments_are_mirrored_by_their_annotations() {
    let check = |arguments: Value, expect: &[(&str, &str)]| {
        let headers = expected(&schema(), &arguments).unwrap();
        let mut headers: Vec<_> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        headers.sort_unstable();
        assert_eq!(headers, expect, "{arguments}");
    };
    assert_eq!(lint(&schema()), Ok(()));
    check(json!({}), &[]);
    check(json!({"region": null, "plain": "x", "inner": 7}), &[]);
    check(
        json!({"region": "eu ", "count": -7, "dry": false, "inner": {"id": "ü"}}),
        &[
            ("Mcp-Param-Count", "-7"),
            ("Mcp-Param-Dry", "false"),
            ("Mcp-Param-Inner-Id", "=?base64?w7w=?="),
            ("Mcp-Param-Region", "=?base64?ZXUg?="),
        ],
    );
    check(json!({"count": 42.0}), &[("Mcp-Param-Count", "42")]);
    for bad in [
        json!({"count": 1.5}),
        json!({"count": 9_007_199_254_740_992_i64}),
        json!({"count": "1"}),
        json!({"region": 1}),
        json!({"region": ["a"]}),
        json!({"dry": "true"}),
    ] {
        assert!(expected(&schema(), &bad).is_err(), "{bad}");
    }
}

#[test]
fn annotations_that_break_a_rule_are_found() {
    let one = |property: Value| json!({"type": "object", "properties": {"a": property}});
    for (schema, part) in [
        (one(json!({"type": "string", "x-mcp-header": ""})), "token"),
        (one(json!({"type": "string", "x-mcp-header": "a b"})), "token"),
        (one(json!({"type": "string", "x-mcp-header": "a\r\nb"})), "token"),
        (one(json!({"type": "string", "x-mcp-header": 7})), "not a string"),
        (one(json!({"type": "number", "x-mcp-header": "A"})), "integer"),
        (one(json!({"type": "object", "x-mcp-header": "A"})), "integer"),
        (one(json!({"x-mcp-header": "A"})), "integer"),
        (one(json!({"type": "array", "items": {"type": "string", "x-mcp-header": "A"}})), "reached"),
        (one(json!({"anyOf": [{"type": "string", "x-mcp-header": "A"}]})), "reached"),
        (json!({"$defs": {"a": {"type": "string", "x-mcp-header": "A"}}}), "reached"),
        (
            json!({"properties": {"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}}}),
            "two parameters",
        ),
    ] {
        let fault = lint(&schema).unwrap_err().to_string();
        assert!(fault.contains(part), "{schema}: {fault}");
    }
    let mut deep = json!({"x-mcp-header": "A"});
    for _ in 0..200 {
        deep = json!({"items": deep});
    }
    assert!(lint(&deep).is_err());
}

#[test]
fn a_clients_own_headers_must_equal_its_body() {
    let arguments = json!({"region": "ü", "count": 42});
    let verdict = |headers: &[(&str, Option<&str>)]| {
        check(&schema(), &arguments, headers.iter().copied()).map_err(|fault| fault.to_string())
    };
    let region = ("mcp-param-region", Some("=?base64?w7w=?="));
    for good in ["42", "42.0", "4.2e1"] {
        assert_eq!(
            verdict(&[region, ("MCP-PARAM-COUNT", Some(good)), ("mcp-param-other", Some("x"))]),
            Ok(())
        );
    }
    for (headers, part) in [
        (&[region][..], "`Mcp-Param-Count` is missing"),
        (&[region, ("mcp-param-count", Some("43"))], "differs"),
        (&[region, ("mcp-param-count", Some("042"))], "differs"),
        (&[region, ("mcp-param-count", None)], "malformed"),
        (&[("mcp-param-region", Some("=?base64?*?=")), ("mcp-param-count", Some("42"))], "malformed"),
        (&[region, region, ("mcp-param-count", Some("42"))], "more than once"),
        (&[region, ("mcp-param-count", Some("42")), ("mcp-param-dry", Some("true"))], "no such argument"),
    ] {
        assert!(verdict(headers).unwrap_err().contains(part), "{headers:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_written_is_a_header_and_reads_back(text in any::<String>()) {
        let header = encode(&text).into_owned();
        prop_assert!(http::HeaderValue::try_from(&header).is_ok());
        let back = decode(&header);
        prop_assert_eq!(back.as_deref(), Some(text.as_str()));
    }
}
