//! A deserializer's complaint in the words of the API, and texts that no handler should see.

use crate::control::api::problem::Problem;

/// Letters of a complaint that are repeated; a request cannot make its refusal long.
const LETTERS_MAX: usize = 300;

/// What serde calls a type, and what a client knows it as.
const KINDS: &[(&str, &str)] = &[
    ("a sequence", "an array"),
    ("a map", "an object"),
    ("i8", "a whole number"),
    ("i16", "a whole number"),
    ("i32", "a whole number"),
    ("i64", "a whole number"),
    ("u8", "a whole number, not negative"),
    ("u16", "a whole number, not negative"),
    ("u32", "a whole number, not negative"),
    ("u64", "a whole number, not negative"),
    ("usize", "a whole number, not negative"),
    ("f32", "a number"),
    ("f64", "a number"),
    ("unit", "nothing"),
];

/// The refusal of one value: its place beneath `root`, and why.
pub(super) fn refused(root: &str, path: &str, message: &str) -> Problem {
    let named = |prefix: &str| message.strip_prefix(prefix)?.split_once('`').map(|(name, _)| name);
    let missing = named("missing field `");
    let twice = named("duplicate field `");
    let path = if path == "." || path == "?" { "" } else { path };
    let name = missing.or(twice.filter(|name| !path.ends_with(name)));
    let mut place = root.to_owned();
    for part in [Some(path), name].into_iter().flatten().filter(|part| !part.is_empty()) {
        if !part.starts_with('[') {
            place.push('.');
        }
        place.push_str(part);
    }
    let detail = match (missing, twice) {
        (Some(_), _) => "is missing".to_owned(),
        (_, Some(_)) => "is given twice".to_owned(),
        _ => plain(message),
    };
    Problem::field(cut(&place), detail)
}

/// The complaint without names of types.
pub(super) fn plain(message: &str) -> String {
    let message = match message {
        "invalid digit found in string" => "a whole number is taken, not negative",
        "cannot parse integer from empty string" => "is empty; a whole number is taken",
        "number too large to fit in target type" | "number too small to fit in target type" => {
            "is out of range"
        }
        other => other,
    };
    let message = message.replacen("unknown variant", "unknown value", 1);
    let Some((said, expected)) = message.split_once("expected ") else { return cut(&message) };
    let (kind, rest) =
        expected.split_once(" at line").map_or((expected, ""), |(kind, _)| expected.split_at(kind.len()));
    let known = KINDS.iter().find(|(name, _)| *name == kind).map(|(_, known)| *known);
    let known = known.or_else(|| kind.starts_with("struct ").then_some("an object"));
    match known {
        Some(known) => cut(&format!("{said}expected {known}{rest}")),
        None => cut(&message),
    }
}

fn cut(text: &str) -> String {
    if text.chars().count() <= LETTERS_MAX {
        return text.to_owned();
    }
    text.chars().take(LETTERS_MAX).chain(['…']).collect()
}

/// Whether a JSON text has a NUL in one of its strings, written out or escaped.
pub(super) fn has_nul(json: &[u8]) -> bool {
    let mut bytes = json.iter().copied().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            0 => return true,
            b'\\' => {
                // What stands after a backslash begins no escape of its own.
                bytes.next();
                if json.get(at..).is_some_and(|rest| rest.starts_with(b"\\u0000")) {
                    return true;
                }
            }
            _ => {}
        }
    }
    false
}

/// Whether what a query says is text.
///
/// # Errors
/// [`Problem`]: a broken escape, bytes that are not UTF-8, NUL.
pub(super) fn query_is_text(query: &str) -> Result<(), Problem> {
    for pair in query.split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let refused = |detail: &str| {
            let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
            let place = if plain && !name.is_empty() { format!("query.{name}") } else { "query".to_owned() };
            Err(Problem::field(cut(&place), detail))
        };
        let Some(bytes) = decoded(pair) else {
            return refused("`%` is not followed by two hexadecimal digits");
        };
        match std::str::from_utf8(&bytes) {
            Err(_) => return refused("is not UTF-8"),
            Ok(text) if text.contains('\0') => {
                return refused("holds the letter U+0000, which no text may have");
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// The bytes that percent signs stand for.
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    Some(decoded)
}
