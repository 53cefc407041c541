//! What is refused, and in which words.

use serde::Deserialize;

use super::*;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "only its shape matters")]
struct Shape {
    name: String,
    rows: Option<u32>,
    tags: Option<Vec<String>>,
    inner: Option<Box<Shape>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asked {
    limit: Option<u32>,
    search: Option<String>,
}

fn said(problem: &Problem) -> serde_json::Value {
    let body = super::super::problem::shown(problem);
    serde_json::json!([body["errors"][0]["field"], body["errors"][0]["detail"]])
}

#[test]
fn a_body_is_refused_with_its_place() {
    let deep = format!("{{\"name\":\"a\",\"inner\":{}", "{\"name\":\"b\",\"inner\":".repeat(4_000));
    let long = format!("{{\"{}\":1}}", "a".repeat(100_000));
    let table: &[(&[u8], &str, &str)] = &[
        (b"", "body", "is empty; a JSON object is taken"),
        (b"{", "body", "is not JSON: EOF while parsing an object at line 1 column 1"),
        (
            b"{\"name\":\"a\"} 1",
            "body",
            "is more than one JSON value: trailing characters at line 1 column 14",
        ),
        (b"[]", "body", "is no JSON object"),
        (b" [\"a\",null,null,null]", "body", "is no JSON object"),
        (b"7", "body", "is no JSON object"),
        (b"{}", "body.name", "is missing"),
        (b"{\"name\":\"a\",\"name\":\"b\"}", "body.name", "is given twice"),
        (b"{\"name\":7}", "body.name", "invalid type: integer `7`, expected a string at line 1 column 9"),
        (b"{\"name\":\"a\",\"rows\":-1}", "body.rows", "expected a whole number, not negative"),
        (b"{\"name\":\"a\",\"rows\":1.5}", "body.rows", "expected a whole number, not negative"),
        (b"{\"name\":\"a\",\"tags\":[\"b\",3]}", "body.tags[1]", "expected a string"),
        (
            b"{\"name\":\"a\",\"inner\":{\"name\":\"b\",\"colour\":1}}",
            "body.inner.colour",
            "unknown field `colour`",
        ),
        (b"{\"name\":\"a\",\"inner\":{}}", "body.inner.name", "is missing"),
        (b"{\"name\":\"\xff\"}", "body", "is not UTF-8 after byte 9"),
        (b"{\"name\":\"\\u0000\"}", "body", "U+0000"),
        (b"{\"name\":\"a\\\\\\u0000\"}", "body", "U+0000"),
        (deep.as_bytes(), "body", "recursion limit exceeded"),
        (long.as_bytes(), "body.aaaa", "unknown field"),
    ];
    for (body, field, detail) in table {
        let shown = String::from_utf8_lossy(body).chars().take(80).collect::<String>();
        let problem = read::<Shape>(body).err().unwrap_or_else(|| panic!("{shown} was read"));
        let said = said(&problem);
        assert!(said[0].as_str().unwrap().starts_with(field), "{shown}: {said}");
        assert!(said[1].as_str().unwrap().contains(detail), "{shown}: {said}");
        assert!(said.to_string().len() < 1_000, "{shown}: long");
    }
    assert!(read::<Shape>(b" {\"name\":\"a\\\\u0000\"} ").is_ok(), "a backslash is a letter like others");
}

#[test]
fn a_query_is_refused_with_its_place() {
    let long = format!("/x?search={}", "a".repeat(10_000));
    let table: &[(&str, &str, &str)] = &[
        ("/x?limit=1&limit=2", "query.limit", "is given twice"),
        ("/x?limit=-1", "query.limit", "a whole number is taken, not negative"),
        ("/x?limit=99999999999", "query.limit", "is out of range"),
        ("/x?limit=", "query.limit", "is empty; a whole number is taken"),
        ("/x?sort=up", "query.sort", "unknown field `sort`"),
        ("/x?search=%ff", "query.search", "is not UTF-8"),
        ("/x?search=a%00b", "query.search", "U+0000"),
        ("/x?search=%zz", "query.search", "`%` is not followed"),
        (&long, "query", "bytes are taken at most"),
    ];
    for (path, field, detail) in table {
        let problem =
            query::<Asked>(&path.parse().unwrap()).err().unwrap_or_else(|| panic!("{path} was read"));
        let said = said(&problem);
        assert_eq!(said[0], *field, "{path}: {said}");
        assert!(said[1].as_str().unwrap().contains(detail), "{path}: {said}");
    }
    let asked =
        query::<Asked>(&"/x?limit=3&search=a%20b+%C3%A9".parse().unwrap()).unwrap_or_else(|_| panic!());
    assert_eq!((asked.limit, asked.search.as_deref()), (Some(3), Some("a b é")));
}
