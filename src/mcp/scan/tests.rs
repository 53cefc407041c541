use super::*;

fn kind_of(text: &str, limits: Limits) -> Option<JsonFaultKind> {
    scan(text.as_bytes(), limits).err().map(|fault| fault.kind())
}

#[test]
fn members_of_the_two_outer_levels_are_found_by_decoded_key() {
    let text = r#" {"id" : 7, "p\u0061rams":{"n\"m":"x\ty","deep":{"name":1},"list":[{"name":2}]}, "z":[{"id":8}]} "#;
    let document = scan(text.as_bytes(), Limits::REQUEST).unwrap();
    assert_eq!(document.root().raw(), text.trim());
    assert_eq!(document.get("id").unwrap().raw(), "7");
    assert_eq!(document.get_in("params", "n\"m").unwrap().string().unwrap(), "x\ty");
    assert_eq!(document.get_in("params", "deep").unwrap().raw(), r#"{"name":1}"#);
    assert!(document.get_in("deep", "name").is_none(), "the third level is not recorded");
    assert!(document.get("name").is_none(), "nor are objects in arrays");
    assert_eq!(document.keys().collect::<Vec<_>>(), ["id", "params", "z"]);
    let id = document.get("id").unwrap().range();
    assert_eq!(text.get(id).unwrap(), "7");
}

#[test]
fn a_member_is_cut_with_one_comma() {
    for (text, key, left) in [
        (r#"{"a":1}"#, "a", r#"{}"#),
        (r#"{ "a" : 1 }"#, "a", r#"{  }"#),
        (r#"{"a":1,"b":{"a":2}}"#, "a", r#"{"b":{"a":2}}"#),
        (r#"{"b":{"a":2} , "a":1 }"#, "a", r#"{"b":{"a":2} }"#),
        (r#"{"b":2, "a":1 , "c":3}"#, "a", r#"{"b":2, "c":3}"#),
        (r#"{"b":{"x":1,"y":2},"a":1,"c":{"z":3}}"#, "a", r#"{"b":{"x":1,"y":2},"c":{"z":3}}"#),
    ] {
        let document = scan(text.as_bytes(), Limits::REQUEST).unwrap();
        let mut cut = text.to_owned();
        cut.replace_range(document.cut_range(key).unwrap(), "");
        assert_eq!(cut, left, "{text}");
        assert!(document.cut_range("nothing").is_none());
    }
}

#[test]
fn kinds_and_integers_are_told_apart() {
    for (text, kind, integer) in [
        ("{}", Kind::Object, false),
        ("[]", Kind::Array, false),
        ("\"1\"", Kind::String, false),
        ("1", Kind::Number, true),
        ("-12", Kind::Number, true),
        ("1.0", Kind::Number, false),
        ("1e2", Kind::Number, false),
        ("true", Kind::Bool, false),
        ("null", Kind::Null, false),
    ] {
        let document = scan(text.as_bytes(), Limits::REQUEST).unwrap();
        assert_eq!((document.root().kind(), document.root().is_integer()), (kind, integer), "{text}");
    }
}

#[test]
fn depth_is_limited_and_the_limit_has_a_ceiling() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let limits = |depth_max| Limits { depth_max, keys_max: 10 };
    assert_eq!(kind_of(&nested(3), limits(3)), None);
    assert_eq!(kind_of(&nested(4), limits(3)), Some(JsonFaultKind::TooDeep));
    assert_eq!(kind_of("1", limits(0)), None);
    assert_eq!(kind_of("[]", limits(0)), Some(JsonFaultKind::TooDeep));
    let ceiling = usize::from(DEPTH_CEILING);
    assert_eq!(kind_of(&nested(ceiling), limits(u16::MAX)), None);
    assert_eq!(kind_of(&nested(ceiling + 1), limits(u16::MAX)), Some(JsonFaultKind::TooDeep));
    assert!(serde_json::from_str::<serde_json::Value>(&nested(ceiling)).is_ok());
}

#[test]
fn keys_and_items_are_counted_in_the_whole_text() {
    // Four keys, and one item after the first.
    let limits = Limits { depth_max: 64, keys_max: 5 };
    assert_eq!(kind_of(r#"[{"a":1,"b":2},{"a":1,"b":2}]"#, limits), None);
    assert_eq!(kind_of(r#"[{"a":1,"b":2},{"a":1,"b":2},{"a":1}]"#, limits), Some(JsonFaultKind::TooManyKeys));
    assert_eq!(kind_of("[[],[],[],[],[],[]]", limits), None);
    assert_eq!(kind_of("[[],[],[],[],[],[],[]]", limits), Some(JsonFaultKind::TooManyKeys));
    let many = |n: u32| format!("{{{}}}", (0..n).map(|i| format!("\"{i}\":0")).collect::<Vec<_>>().join(","));
    assert_eq!(kind_of(&many(100_000), Limits::REQUEST), None);
    assert_eq!(kind_of(&many(100_001), Limits::REQUEST), Some(JsonFaultKind::TooManyKeys));
}

#[test]
fn a_special_byte_is_found_at_every_place_of_a_word() {
    for length in 0..40 {
        for place in 0..length {
            for special in [b'"', b'\\', 0x00, 0x0a, 0x1f] {
                for filler in [b'a', b' ', 0x21, 0x23, 0x5b, 0x5d, 0x7f, 0x80, 0xff] {
                    let mut bytes = vec![filler; length];
                    bytes[place] = special;
                    assert_eq!(string::find_special(&bytes, 0), place, "{bytes:?}");
                }
            }
        }
        assert_eq!(string::find_special(&vec![0xa2; length], 0), length);
        assert_eq!(string::find_special(&vec![0xdc; length], 0), length);
    }
}

#[test]
fn a_fault_names_its_place_and_repeats_nothing() {
    let fault = scan(br#"{"secret":"a","secret":"b"}"#, Limits::REQUEST).unwrap_err();
    assert_eq!(fault.to_string(), "a key stands twice in the object that ends here (byte 27)");
    let fault = scan(b"[1,\xff]", Limits::REQUEST).unwrap_err();
    assert_eq!((fault.kind(), fault.offset()), (JsonFaultKind::Encoding, 3));
}
