//! Headers that repeat parts of a request's body (MCP 2026-07-28, streamable HTTP, request metadata):
//! how values are written, and which arguments of a tool are mirrored into `Mcp-Param-*`.
//!
//! Invariants: what is written here is a valid header value, whatever the argument holds, and reads
//! back as the same value; the gate decides on the body, never on a header; a schema whose annotations
//! break the rules is told apart ([`lint`]) and mirrors nothing.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

/// The annotation in an input schema.
const ANNOTATION: &str = "x-mcp-header";
/// What a mirrored argument's header begins with.
pub const PREFIX: &str = "Mcp-Param-";
/// Marks of a value that is written in base64.
const OPENS: &str = "=?base64?";
const CLOSES: &str = "?=";
/// Integers beyond this are not mirrored alike by all clients.
const SAFE_INTEGER_MAX: i64 = (1 << 53) - 1;
/// Annotations of one tool.
const ANNOTATIONS_MAX: usize = 64;
/// Levels of a schema that are looked through.
const DEPTH_MAX: usize = 64;

/// What is wrong with annotations, or with the headers of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderFault(Cow<'static, str>);

impl HeaderFault {
    fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for HeaderFault {}

/// A value as a header carries it: as it is, or in base64 where that would not be safe.
pub fn encode(text: &str) -> Cow<'_, str> {
    let fits = text.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
    let padded = text.starts_with([' ', '\t']) || text.ends_with([' ', '\t']);
    let marked = text.starts_with(OPENS) && text.ends_with(CLOSES);
    let plain = fits && !padded && !marked;
    if plain { Cow::Borrowed(text) } else { Cow::Owned(format!("{OPENS}{}{CLOSES}", STANDARD.encode(text))) }
}

/// The value that a header carries; nothing where it is marked as base64 and is none, or where it
/// holds what no header may.
pub fn decode(header: &str) -> Option<Cow<'_, str>> {
    if !header.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
        return None;
    }
    let Some(inner) = header.strip_prefix(OPENS).and_then(|rest| rest.strip_suffix(CLOSES)) else {
        return Some(Cow::Borrowed(header));
    };
    let bytes = STANDARD.decode(inner).ok()?;
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// One mirrored argument.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotated<'a> {
    header: &'a str,
    kind: Primitive,
    path: Vec<&'a str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Primitive {
    String,
    Integer,
    Boolean,
}

/// Whether every annotation of an input schema keeps the rules. A client drops a tool where one does
/// not; so the operator is to hear of it.
///
/// # Errors
/// The first annotation that breaks one, and which rule.
pub fn lint(schema: &Value) -> Result<(), HeaderFault> {
    let mut found = 0;
    count(schema, 0, &mut found)?;
    if annotations(schema)?.len() != found {
        return Err(HeaderFault::new(
            "`x-mcp-header` stands where it cannot be reached through `properties` alone",
        ));
    }
    Ok(())
}

/// Counts the annotations anywhere in the schema, but for data that is no schema.
fn count(schema: &Value, depth: usize, found: &mut usize) -> Result<(), HeaderFault> {
    if depth > DEPTH_MAX {
        return Err(HeaderFault::new("the schema is nested too deeply to look for `x-mcp-header` in it"));
    }
    match schema {
        Value::Object(members) => {
            for (key, value) in members {
                match key.as_str() {
                    ANNOTATION => *found += 1,
                    "const" | "default" | "enum" | "examples" | "required" => {}
                    // The names in it are the parameters' own.
                    "properties" | "$defs" | "definitions" | "patternProperties" | "dependentSchemas" => {
                        for value in value.as_object().into_iter().flat_map(Map::values) {
                            count(value, depth + 1, found)?;
                        }
                    }
                    _ => count(value, depth + 1, found)?,
                }
            }
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| count(item, depth + 1, found)),
        _ => Ok(()),
    }
}

/// The annotations that `properties` lead to.
fn annotations(schema: &Value) -> Result<Vec<Annotated<'_>>, HeaderFault> {
    let mut out = Vec::new();
    walk(schema, &mut Vec::new(), &mut out)?;
    let mut seen = HashSet::new();
    for annotated in &out {
        if !seen.insert(annotated.header.to_ascii_lowercase()) {
            let header = annotated.header;
            return Err(HeaderFault::new(format!("two parameters have the `x-mcp-header` `{header}`")));
        }
    }
    Ok(out)
}

fn walk<'a>(
    schema: &'a Value,
    path: &mut Vec<&'a str>,
    out: &mut Vec<Annotated<'a>>,
) -> Result<(), HeaderFault> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return Ok(()) };
    if path.len() >= DEPTH_MAX {
        return Err(HeaderFault::new("the schema is nested too deeply to look for `x-mcp-header` in it"));
    }
    for (name, property) in properties {
        path.push(name);
        if let Some(annotation) = property.get(ANNOTATION) {
            out.push(annotated(annotation, property, path)?);
            if out.len() > ANNOTATIONS_MAX {
                return Err(HeaderFault::new(format!("more than {ANNOTATIONS_MAX} `x-mcp-header`")));
            }
        }
        walk(property, path, out)?;
        path.pop();
    }
    Ok(())
}

fn annotated<'a>(
    annotation: &'a Value,
    property: &Value,
    path: &[&'a str],
) -> Result<Annotated<'a>, HeaderFault> {
    let at = path.join(".").escape_default().take(200).collect::<String>();
    let fault = |what: &str| Err(HeaderFault::new(format!("the `x-mcp-header` of `{at}` {what}")));
    let Some(header) = annotation.as_str() else { return fault("is not a string") };
    if header.is_empty() || header.len() > 128 || !header.bytes().all(is_token) {
        return fault("is not a token of 1 to 128 characters, as header names are");
    }
    let kind = match property.get("type").and_then(Value::as_str) {
        Some("string") => Primitive::String,
        Some("integer") => Primitive::Integer,
        Some("boolean") => Primitive::Boolean,
        _ => return fault("stands at what is not a string, an integer or a boolean"),
    };
    Ok(Annotated { header, kind, path: path.to_vec() })
}

/// A character of RFC 9110 tokens.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The headers that a call of a tool with this input schema carries: their names, and their values
/// ready to be sent.
///
/// # Errors
/// The schema's annotations break the rules, or an argument cannot be mirrored.
pub fn expected(schema: &Value, arguments: &Value) -> Result<Vec<(String, String)>, HeaderFault> {
    let mut headers = Vec::new();
    for annotated in annotations(schema)? {
        if let Some(text) = annotated.text_in(arguments)? {
            headers.push((format!("{PREFIX}{}", annotated.header), encode(&text).into_owned()));
        }
    }
    Ok(headers)
}

impl Annotated<'_> {
    /// The argument as text; nothing where it is absent or null.
    fn text_in<'v>(&self, arguments: &'v Value) -> Result<Option<Cow<'v, str>>, HeaderFault> {
        let value = self.path.iter().try_fold(arguments, |value, step| value.get(step));
        let fault = || {
            let header = self.header;
            HeaderFault::new(format!("the argument of `{PREFIX}{header}` is not of the declared type"))
        };
        match (value, self.kind) {
            (None | Some(Value::Null), _) => Ok(None),
            (Some(Value::String(text)), Primitive::String) => Ok(Some(Cow::Borrowed(text))),
            (Some(Value::Bool(flag)), Primitive::Boolean) => Ok(Some(flag.to_string().into())),
            (Some(Value::Number(number)), Primitive::Integer) => {
                let number = whole(number).ok_or_else(fault)?;
                Ok(Some(number.to_string().into()))
            }
            _ => Err(fault()),
        }
    }
}

/// The integer that a JSON number is (`42`, and `42.0` as well), within the safe range.
#[expect(clippy::cast_possible_truncation, reason = "a whole number within the safe range")]
fn whole(number: &serde_json::Number) -> Option<i64> {
    let safe = |number: &i64| (-SAFE_INTEGER_MAX..=SAFE_INTEGER_MAX).contains(number);
    let of_float = |float: f64| (float.fract() == 0.0 && float.abs() < 9.1e15).then_some(float as i64);
    number.as_i64().or_else(|| number.as_f64().and_then(of_float)).filter(safe)
}

/// Checks a client's own headers against the body: what is mirrored must be there, once, and equal;
/// headers that no annotation names are nobody's concern. `headers` are the names, in any case, and
/// raw values of the request that begin with [`PREFIX`]; a value that is no text is `None`.
///
/// # Errors
/// Which header is missing, malformed or different: 400, -32020.
pub fn check<'h>(
    schema: &Value,
    arguments: &Value,
    headers: impl Iterator<Item = (&'h str, Option<&'h str>)> + Clone,
) -> Result<(), HeaderFault> {
    // A tool whose annotations break the rules has none.
    let Ok(annotations) = annotations(schema) else { return Ok(()) };
    for annotated in annotations {
        let header = annotated.header;
        let fault = |what: &str| Err(HeaderFault::new(format!("`{PREFIX}{header}` {what}")));
        let of_it = |(name, value): (&str, Option<&'h str>)| {
            let tail = name.get(..PREFIX.len()).filter(|head| head.eq_ignore_ascii_case(PREFIX));
            let tail = tail.and_then(|_| name.get(PREFIX.len()..));
            tail.is_some_and(|tail| tail.eq_ignore_ascii_case(header)).then_some(value)
        };
        let mut sent = headers.clone().filter_map(of_it);
        // An argument of another type is refused by the upstream, not for its header.
        let Ok(wanted) = annotated.text_in(arguments) else { continue };
        match (wanted, sent.next(), sent.next()) {
            (None, None, _) => {}
            (None, Some(_), _) => return fault("is there, and the body has no such argument"),
            (Some(_), None, _) => return fault("is missing"),
            (Some(_), Some(_), Some(_)) => return fault("is there more than once"),
            (Some(wanted), Some(value), None) => {
                let Some(value) = value.and_then(decode) else { return fault("is malformed") };
                let same =
                    value == wanted || (annotated.kind == Primitive::Integer && same_number(&value, &wanted));
                if !same {
                    return fault("differs from the body");
                }
            }
        }
    }
    Ok(())
}

fn same_number(header: &str, wanted: &str) -> bool {
    let number = serde_json::from_str::<serde_json::Number>(header).ok();
    number.and_then(|number| whole(&number)).is_some_and(|number| number.to_string() == wanted)
}

#[cfg(test)]
mod tests;
