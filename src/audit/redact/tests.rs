use serde_json::Value;

use super::*;

fn redacted(json: &str) -> Value {
    serde_json::from_str(&redact(json, &[], RedactLimits::default())).unwrap()
}

#[test]
fn sensitive_names_are_masked_in_any_nesting_and_spelling() {
    let names = [
        "password",
        "Passwd",
        "db_password",
        "client-secret",
        "API_KEY",
        "x-api-key",
        "Authorization",
        "Cookie",
        "set-cookie",
        "private_key",
        "privateKey",
        "credentials",
        "accessToken",
        "refresh_token",
        "token",
        "AWS_SECRET_ACCESS_KEY",
        "jwt",
        "pwd",
    ];
    for name in names {
        let json =
            format!(r#"{{"a":[{{"b":{{"{name}":{{"deep":"hunter2"}}}}}}],"{name}":"hunter2","ok":1}}"#);
        let out = redact(&json, &[], RedactLimits::default());
        assert!(!out.contains("hunter2"), "{name}: {out}");
        assert!(out.contains("\"ok\":1"), "{out}");
    }
    for name in ["path", "max_tokens", "token_count", "author", "passenger", "title", "monkey"] {
        let out = redact(&format!(r#"{{"{name}":"visible"}}"#), &[], RedactLimits::default());
        assert!(out.contains("visible"), "{name}: {out}");
    }
}

#[test]
fn secret_shapes_are_masked_wherever_they_stand() {
    let secrets = [
        ("Authorization: Bearer abcdef0123456789", "bearer token"),
        ("curl -H 'bearer abcdefgh12'", "bearer token"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2ln", "jwt"),
        ("x\n-----BEGIN RSA PRIVATE KEY-----\nMIIE", "pem block"),
        ("key AKIAIOSFODNN7EXAMPLE here", "service key"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "service key"),
        ("my key is K6BWltblpTallNXbcZlJXue1XpMu6PNO.", "member key"),
        ("github_pat_11ABCDEFG0123456789abc", "service key"),
        ("(xoxb-123456789012-abcdef)", "service key"),
        ("postgres://user:hunter2@db.example/x", "url with user"),
        ("clone https://x-access-token@github.com/a/b", "url with user"),
        ("password=hunter2", "named secret"),
        (r#"{\"api_key\": \"hunter2\"}"#, "named secret"),
        ("Basic dXNlcjpodW50ZXIy", "bearer token"),
    ];
    for (text, shape) in secrets {
        assert_eq!(secret_shape(text), Some(shape), "{text}");
        let json = serde_json::to_string(&serde_json::json!({"list": [text], "plain": "kept"})).unwrap();
        let out = redacted(&json);
        assert_eq!(out["list"][0], format!("[redacted: {shape}]"));
        assert_eq!(out["plain"], "kept");
    }
    let plain = [
        "README.md",
        "basic functionality of the thing",
        "https://example.com/a@b",
        "mail me at a@b.example",
        "fn main() { let x: u8 = 1; }",
        "the bearer of news",
        "asia is a continent",
        "time: 10:30",
        "a=b",
    ];
    for text in plain {
        assert_eq!(secret_shape(text), None, "{text}");
    }
}

#[test]
fn a_secret_used_as_a_member_name_is_masked_too() {
    let out = redact(r#"{"ghp_0123456789abcdefghijABCDEFGHIJ":1}"#, &[], RedactLimits::default());
    assert_eq!(out, r#"{"[redacted: service key]":1}"#);
}

#[test]
fn a_connectors_own_paths_are_masked_through_lists() {
    let json = r#"{"message":[{"body":{"x":1},"to":"a"}],"body":"kept","list":["a","b"]}"#;
    for (path, expect) in [
        ("message.body", r#"{"message":[{"body":"[redacted]","to":"a"}],"body":"kept","list":["a","b"]}"#),
        ("message.*.body", r#"{"message":[{"body":"[redacted]","to":"a"}],"body":"kept","list":["a","b"]}"#),
        (
            "list.*",
            r#"{"message":[{"body":{"x":1},"to":"a"}],"body":"kept","list":["[redacted]","[redacted]"]}"#,
        ),
        ("list", r#"{"message":[{"body":{"x":1},"to":"a"}],"body":"kept","list":"[redacted]"}"#),
        ("other", json),
    ] {
        let paths = [ArgumentPath::parse(path).unwrap()];
        assert_eq!(redact(json, &paths, RedactLimits::default()), expect, "{path}");
    }
}

#[test]
fn long_strings_tell_their_length_and_a_secret_across_the_cut_is_seen() {
    let out = redacted(&format!(r#"{{"content":"{}"}}"#, "é".repeat(1_000)));
    let text = out["content"].as_str().unwrap();
    assert!(text.starts_with("éé") && text.ends_with("… [2000 bytes]"), "{text}");
    let across = format!(r#"{{"content":"{} AKIAIOSFODNN7EXAMPLE {}"}}"#, "x".repeat(245), "y".repeat(4_000));
    assert_eq!(redacted(&across)["content"], "[redacted: service key]");
}

#[test]
fn the_output_is_bounded_and_still_json_whatever_comes_in() {
    let wide =
        format!("{{{}}}", (0..10_000).map(|i| format!("\"k{i}\":[{i}]")).collect::<Vec<_>>().join(","));
    let long = format!("[{}]", (0..10_000).map(|i| format!("\"item {i}\"")).collect::<Vec<_>>().join(","));
    let deep = format!("{}1{}", "{\"a\":[".repeat(60), "]}".repeat(60));
    let monster = format!("{{\"{}\":\"{}\"}}", "k".repeat(100_000), "\\u0001".repeat(100_000));
    for json in [&wide, &long, &deep, &monster] {
        let out = redact(json, &[], RedactLimits::default());
        assert!(out.len() < 7 << 10, "{}", out.len());
        serde_json::from_str::<Value>(&out).unwrap();
    }
    assert!(redact(&wide, &[], RedactLimits::default()).contains("more"));
    assert_eq!(
        redact(r#"{"a":1.5,"b":null,"c":[true,-3]}"#, &[], RedactLimits::default()),
        r#"{"a":1.5,"b":null,"c":[true,-3]}"#
    );
    assert_eq!(redact("{\"a\":", &[], RedactLimits::default()), "{\"…\":\"not readable\"}");
}
