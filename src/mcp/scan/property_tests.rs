//! The scanner against serde_json: the same texts are accepted, but for duplicate keys, and what is
//! recorded means the same. `grown` and `mutated` are shared with the tests of messages.

use std::collections::HashSet;
use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::{JsonFaultKind, Limits, scan, scan_text};

/// The reference: whatever serde_json reads, unless an object has a key twice.
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Walk;
        impl<'de> Visitor<'de> for Walk {
            type Value = Strict;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }
            fn visit_bool<E>(self, _: bool) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_str<E>(self, _: &str) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_unit<E>(self) -> Result<Strict, E> {
                Ok(Strict)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Strict, A::Error> {
                while items.next_element::<Strict>()?.is_some() {}
                Ok(Strict)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Strict, A::Error> {
                let mut seen = HashSet::new();
                while let Some(key) = members.next_key::<String>()? {
                    if !seen.insert(key) {
                        return Err(A::Error::custom("duplicate key"));
                    }
                    members.next_value::<Strict>()?;
                }
                Ok(Strict)
            }
        }
        deserializer.deserialize_any(Walk)
    }
}

fn space() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\n\t"), 1 => Just("\r\n")]
}

/// The inner part of a string: plain text, escapes, and now and then something forbidden.
fn string_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        6 => "[a-zA-Z0-9 _é€😀{}:,/]{0,12}",
        1 => prop::sample::select(vec![r"\n", r#"\""#, r"\\", r"\/", r"\u0041", r"\u00e9", r"\ud83d\ude00", r"\u0000"])
            .prop_map(str::to_owned),
        1 => prop_oneof![40 => Just(""), 1 => Just(r"\ud83d"), 1 => Just("\n"), 1 => Just(r"\x")].prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn key_text() -> impl Strategy<Value = String> {
    let pool =
        vec!["a", r"\u0061", "b", "c", "name", "id", r"\u006eame", "é", r"\u00e9", "progressToken", ""];
    prop_oneof![3 => prop::sample::select(pool).prop_map(str::to_owned), 5 => "[a-z]{3,9}", 1 => string_text()]
}

fn number_text() -> impl Strategy<Value = String> {
    prop_oneof![
        40 => "-?(0|[1-9][0-9]{0,5})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?",
        1 => "-?[0-9]{1,3}(\\.[0-9]{0,2})?([eE][+-]?[0-9]{0,4})?",
        1 => "[1-9][0-9]{300,320}(\\.[0-9]{1,3})?",
        1 => "[0-9]\\.[0-9]{1,18}[eE]30[6-9]",
    ]
}

/// A document's text; most are valid, some are not.
pub(in crate::mcp) fn grown() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        prop::sample::select(vec!["null", "true", "false", "{}", "[]"]).prop_map(str::to_owned),
        number_text(),
        string_text().prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(6, 96, 12, |inner| {
        let item = (space(), inner.clone(), space()).prop_map(|(a, value, b)| format!("{a}{value}{b}"));
        let member = (space(), key_text(), space(), inner, space())
            .prop_map(|(a, key, b, value, c)| format!("{a}\"{key}\"{b}:{b}{value}{c}"));
        prop_oneof![
            prop::collection::vec(item, 0..6).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..14).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// The bytes with one of them changed, taken away or doubled.
pub(in crate::mcp) fn mutated(mut bytes: Vec<u8>, place: prop::sample::Index, with: u8, how: u8) -> Vec<u8> {
    if bytes.is_empty() {
        return vec![with];
    }
    let place = place.index(bytes.len());
    match how % 4 {
        0 => bytes[place] = with,
        1 => drop(bytes.remove(place)),
        2 => bytes.insert(place, with),
        _ => bytes.truncate(place),
    }
    bytes
}

pub(in crate::mcp) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Accepts exactly what the reference accepts, and never panics.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let ours = scan(bytes, Limits::REPLY);
    let theirs = serde_json::from_slice::<Strict>(bytes);
    match &ours {
        Ok(_) => prop_assert!(theirs.is_ok(), "accepted, but {:?}", theirs.err()),
        Err(fault) if matches!(fault.kind(), JsonFaultKind::TooDeep | JsonFaultKind::TooManyKeys) => {}
        // The largest doubles: serde_json's parser may round them into the range.
        Err(fault) if fault.kind() == JsonFaultKind::NumberRange => {}
        Err(fault) => prop_assert!(theirs.is_err(), "refused: {fault}, yet the reference accepts"),
    }
    Ok(())
}

proptest! {
    #![proptest_config(cases(3_000))]

    #[test]
    fn documents_are_accepted_exactly_when_serde_json_and_unique_keys_allow(text in grown()) {
        agrees(text.as_bytes())?;
    }

    #[test]
    fn one_changed_byte_never_panics_and_never_divides_the_parsers(
        text in grown(), place: prop::sample::Index, with: u8, how: u8
    ) {
        agrees(&mutated(text.into_bytes(), place, with, how))?;
    }

    #[test]
    fn a_soup_of_tokens_never_divides_the_parsers(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"a\"", "\"b\"", "\"\\u0061\"", "1", "-", "0", ".", "e", "null", "true",
            " ", "\n", "\"", "\\", "\\ud83d", "\u{feff}", "\0",
        ]), 0..24)
    ) {
        agrees(tokens.concat().as_bytes())?;
    }

    #[test]
    fn numbers_are_accepted_exactly_when_serde_json_reads_them(text in number_text()) {
        let ours = scan_text(&text, Limits::REQUEST).is_ok();
        let finite = text.parse::<f64>().is_ok_and(f64::is_finite);
        let theirs = serde_json::from_str::<Json>(&text).is_ok();
        prop_assert_eq!(ours, finite && theirs, "{}", text);
    }

    #[test]
    fn recorded_members_mean_what_serde_json_reads(text in grown()) {
        let Ok(document) = scan_text(&text, Limits::REPLY) else { return Ok(()) };
        let value: Json = serde_json::from_str(&text).unwrap();
        let Some(members) = value.as_object() else { return Ok(()) };
        prop_assert_eq!(document.keys().count(), members.len());
        for (key, expected) in members {
            let found = document.get(key).unwrap();
            prop_assert_eq!(text.get(found.range()).unwrap(), found.raw());
            prop_assert_eq!(&serde_json::from_str::<Json>(found.raw()).unwrap(), expected);
            let decoded = found.string();
            prop_assert_eq!(decoded.as_deref(), expected.as_str());
            let mut left = text.clone();
            left.replace_range(document.cut_range(key).unwrap(), "");
            let mut rest = members.clone();
            rest.remove(key);
            prop_assert_eq!(serde_json::from_str::<Json>(&left).unwrap(), Json::Object(rest));
            for (inner, expected) in expected.as_object().into_iter().flatten() {
                let found = document.get_in(key, inner).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Json>(found.raw()).unwrap(), expected);
            }
        }
    }
}
