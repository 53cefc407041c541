use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::*;
use crate::mcp::scan::property_tests::{cases, grown};

fn tool(raw: &str) -> Definition {
    Definition::read(raw).unwrap()
}

#[test]
fn a_listing_keeps_what_can_be_offered_and_names_what_cannot() {
    let good = r#"{ "name":"get_File.v2","description":"é \u0041","inputSchema":{"type":"object","x":1.0}, "_meta":{} }"#;
    let raw = format!(
        r#"{{"tools":[{good},{{"name":"a b","inputSchema":{{}}}},{{"name":"n"}},{{"inputSchema":{{}}}},7,
            {{"name":"get_File.v2","inputSchema":{{}}}},{{"name":"","inputSchema":{{}}}}],"nextCursor":"c\u0031"}}"#
    );
    let listing = read_listing(&raw).unwrap();
    assert_eq!(listing.definitions.len(), 1);
    assert_eq!(&*listing.definitions[0].raw, good, "byte for byte");
    assert_eq!(listing.next_cursor.as_deref(), Some("c1"));
    let refused: Vec<&str> = listing.refused.iter().map(|refused| refused.name.as_str()).collect();
    assert_eq!(refused, ["a b", "n", "", "", "get_File.v2", ""]);
}

#[test]
fn what_is_no_listing_is_refused() {
    let twice = r#"{"tools":[{"name":"a","name":"b","inputSchema":{}}]}"#;
    assert!(matches!(read_listing(twice), Err(ListingFault::Json(_))));
    for text in ["{}", "[]", r#"{"tools":{}}"#, r#"{"tools":[],"nextCursor":1}"#, r#"{"tools":null}"#] {
        assert_eq!(read_listing(text), Err(ListingFault::Shape), "{text}");
    }
    let many = format!(r#"{{"tools":[{}]}}"#, vec!["{}"; DEFINITIONS_MAX + 1].join(","));
    assert_eq!(read_listing(&many), Err(ListingFault::TooMany));
    assert_eq!(read_listing(r#"{"tools":[],"nextCursor":null}"#), Ok(Listing::default()));
    let large =
        format!(r#"{{"name":"a","inputSchema":{{}},"description":"{}"}}"#, "x".repeat(DEFINITION_BYTES_MAX));
    assert_eq!(Definition::read(&large).unwrap_err().why, "it is longer than 1 MiB");
}

#[test]
fn only_the_name_is_prefixed() {
    let service = ServiceKey::parse("github").unwrap();
    let raw =
        r#"{ "title":"name", "inputSchema":{"properties":{"name":{}}}, "n\u0061me" : "get" , "x":"\u0041" }"#;
    let expected = raw.replace(r#": "get" "#, r#": "github__get" "#);
    assert_eq!(prefixed(&service, &tool(raw)), expected);
}

#[test]
fn the_digest_sees_meaning_and_not_layout() {
    let base =
        tool(r#"{"name":"a","inputSchema":{"type":"object","required":["x","y"]},"description":"é/"}"#);
    let same = tool(
        r#" { "description" : "\u00e9\/", "inputSchema":{"required":["x","y"],"type":"object"},"name":"\u0061"} "#,
    );
    assert_eq!(base.digest, same.digest);
    for other in [
        r#"{"name":"b","inputSchema":{"type":"object","required":["x","y"]},"description":"é/"}"#,
        r#"{"name":"a","inputSchema":{"type":"object","required":["y","x"]},"description":"é/"}"#,
        r#"{"name":"a","inputSchema":{"type":"object","required":["x","y"]},"description":"e\u0301/"}"#,
        r#"{"name":"a","inputSchema":{"type":"object","required":["x","y"]},"description":"é/","annotations":{}}"#,
        r#"{"name":"a","inputSchema":{"type":"object","required":["x","y",null]},"description":"é/"}"#,
    ] {
        assert_ne!(base.digest, tool(other).digest, "{other}");
    }
    // Read as a lock reads it: a number that a server writes otherwise is no other definition.
    let whole = |number: &str| {
        tool(&format!(r#"{{"name":"a","inputSchema":{{"type":"object","minimum":{number}}}}}"#)).digest
    };
    assert_eq!(whole("1"), whole("1.0"));
    assert_ne!(whole("1"), whole("1.5"));
    let value = json!({"b": [1, 1.5, "x\"\n", null, true], "a": {"z": {}, "é": [], "Z": 0}});
    assert_eq!(canonical_json(&value), r#"{"a":{"Z":0,"z":{},"é":[]},"b":[1,1.5,"x\"\n",null,true]}"#);
}

#[test]
fn pages_follow_each_other_and_cover_the_list() {
    let items: Vec<usize> = (0..23).collect();
    let digest = catalogue_digest(["a", "b"]);
    for page_size in [0, 1, 5, 22, 23, 24, usize::MAX] {
        let (mut seen, mut cursor) = (Vec::new(), None);
        loop {
            let page = page(&items, &digest, cursor.as_deref(), page_size).unwrap();
            assert!(!page.items.is_empty() && page.items.len() <= page_size.max(1));
            seen.extend_from_slice(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, items, "pages of {page_size}");
    }
    let none: [u8; 0] = [];
    assert_eq!(page(&none, &digest, None, 5), Ok(Page { items: &none, next_cursor: None }));
}

#[test]
fn a_cursor_serves_only_its_own_catalogue() {
    let items = [1, 2, 3];
    let (digest, other) = (catalogue_digest(["ab", "c"]), catalogue_digest(["a", "bc"]));
    let cursor = page(&items, &digest, None, 1).unwrap().next_cursor.unwrap();
    assert!(page(&items, &digest, Some(&cursor), 1).is_ok());
    assert_eq!(page(&items, &other, Some(&cursor), 1), Err(BadCursor));
    assert_eq!(page(&items[..1], &digest, Some(&cursor), 1), Err(BadCursor), "beyond the list");
    let start = super::page::cursor_at(&digest, 0).unwrap();
    for bad in [
        "",
        "x",
        "AAAA",
        &cursor.replacen(char::is_alphanumeric, "", 1),
        &format!("{cursor}A"),
        &format!("{cursor}="),
        &start,
        &"A".repeat(1 << 20),
    ] {
        assert_eq!(page(&items, &digest, Some(bad), 1), Err(BadCursor));
    }
}

/// The value with the members of each object in the opposite order.
fn reversed(value: &Json) -> Json {
    match value {
        Json::Array(items) => items.iter().map(reversed).collect(),
        Json::Object(members) => {
            Json::Object(members.iter().rev().map(|(key, value)| (key.clone(), reversed(value))).collect())
        }
        scalar => scalar.clone(),
    }
}

proptest! {
    #![proptest_config(cases(800))]

    #[test]
    fn prefixing_changes_the_meaning_of_the_name_alone(extra in grown(), after: bool) {
        let (a, b) = ("\"name\":\"t\"".to_owned(), format!("\"inputSchema\":{{}} ,\"extra\": {extra}"));
        let raw = if after { format!("{{{b},{a}}}") } else { format!("{{{a},{b}}}") };
        let Ok(definition) = Definition::read(&raw) else { return Ok(()) };
        let offered = prefixed(&ServiceKey::parse("s").unwrap(), &definition);
        let mut value: Json = serde_json::from_str(&raw).unwrap();
        value["name"] = json!("s__t");
        prop_assert_eq!(serde_json::from_str::<Json>(&offered).unwrap(), value.clone());
        prop_assert_eq!(canonical_json(&reversed(&value)), canonical_json(&value));
    }
}
