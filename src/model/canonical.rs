//! One text for one JSON value, so that two parties that hold the same value compute the same
//! digest whatever order and white space it came in.
//!
//! After RFC 8785 (JSON Canonicalization Scheme): no white space, members sorted by the UTF-16
//! code units of their names, strings escaped in the shortest way. One deliberate difference:
//! integers keep all their digits, where RFC 8785 would round those beyond 2^53; rounding would
//! give two different schemas one digest.

use serde_json::Value;

/// The canonical text of a value.
pub fn canonical_json(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

fn write_value(text: &mut String, value: &Value) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => write_number(text, number),
        Value::String(string) => write_string(text, string),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_value(text, item);
            }
            text.push(']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            text.push('{');
            for (index, (name, member)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(text, name);
                text.push(':');
                write_value(text, member);
            }
            text.push('}');
        }
    }
}

/// `1.0`, `1e0` and `1` are one number; anything else keeps the shortest digits that read back.
fn write_number(text: &mut String, number: &serde_json::Number) {
    /// Above this, not every integer is a double, so a double's digits say more than an integer's.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(double) if double.fract() == 0.0 && double.abs() <= EXACT_MAX => {
            // Adding zero turns `-0` into `0`.
            text.push_str(&format!("{:.0}", double + 0.0));
        }
        _ => text.push_str(&number.to_string()),
    }
}

fn write_string(text: &mut String, string: &str) {
    text.push_str(&Value::from(string).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_has_one_text() {
        let cases = [
            (r#"{ "b": 1, "a": [true, null, "x"] }"#, r#"{"a":[true,null,"x"],"b":1}"#),
            ("[1.0, 1e0, 1, -0.0, 1.50]", "[1,1,1,0,1.5]"),
            ("[9007199254740993, 18446744073709551615]", "[9007199254740993,18446744073709551615]"),
            (r#""\u00e9\u001f\/\n""#, "\"é\\u001f/\\n\""),
            // U+FB01 sorts after U+1F600 by UTF-16 code units, before it by code points.
            ("{\"\u{fb01}\":1,\"\u{1f600}\":2}", "{\"\u{1f600}\":2,\"\u{fb01}\":1}"),
        ];
        for (given, expected) in cases {
            let value: Value = serde_json::from_str(given).unwrap();
            let text = canonical_json(&value);
            assert_eq!(text, expected);
            assert_eq!(canonical_json(&serde_json::from_str(&text).unwrap()), text);
        }
    }
}
