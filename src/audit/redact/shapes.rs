//! What secrets look like inside a string, whatever the member that holds them is called.
//!
//! Plain scans, each linear in the text. A hit masks the whole string.

use super::is_sensitive_name;

/// A shape's name, which signs a text must show to hold it at all, and whether it does.
type Shape = (&'static str, fn(Signs) -> bool, fn(&str) -> bool);

const SHAPES: [Shape; 7] = [
    ("member key", |signs| signs.run_of_32, has_member_key),
    ("pem block", |signs| signs.longest_run >= 10, |text| text.contains("-----BEGIN")),
    ("bearer token", |signs| signs.space && signs.longest_run >= 5, has_authorization_scheme),
    ("jwt", |signs| signs.dot && signs.longest_run >= 8, has_jwt),
    ("service key", |signs| signs.longest_run >= 10, has_service_key),
    ("url with user", |signs| signs.colon && signs.at, has_url_with_user),
    ("named secret", |signs| signs.colon || signs.equals, has_named_secret),
];

/// The name of the first secret shape found in the text.
pub fn secret_shape(text: &str) -> Option<&'static str> {
    if text.len() < 8 {
        return None;
    }
    let signs = Signs::of(text);
    SHAPES.into_iter().find(|(_, may, holds)| may(signs) && holds(text)).map(|(name, ..)| name)
}

/// What one look at every byte tells: most texts of most calls can hold no secret, and are looked at
/// no further. Each sign is necessary for the shapes that ask for it, none is sufficient.
#[derive(Debug, Clone, Copy, Default)]
struct Signs {
    /// The longest run of base64url characters, in bytes, and whether one is as long as a member key.
    longest_run: usize,
    run_of_32: bool,
    space: bool,
    dot: bool,
    colon: bool,
    equals: bool,
    at: bool,
}

impl Signs {
    fn of(text: &str) -> Self {
        let mut signs = Self::default();
        let mut run = 0usize;
        for byte in text.bytes() {
            if is_base64url(byte) {
                run += 1;
                continue;
            }
            signs.ended(std::mem::take(&mut run));
            match byte {
                b' ' => signs.space = true,
                b'.' => signs.dot = true,
                b':' => signs.colon = true,
                b'=' => signs.equals = true,
                b'@' => signs.at = true,
                _ => {}
            }
        }
        signs.ended(run);
        signs
    }

    fn ended(&mut self, run: usize) {
        self.longest_run = self.longest_run.max(run);
        self.run_of_32 |= run == 32;
    }
}

/// A member key of this gate: a run of exactly 32 base64url characters that mixes cases and digits.
fn has_member_key(text: &str) -> bool {
    let runs = text.split(|c: char| !u8::try_from(c).is_ok_and(is_base64url));
    runs.filter(|run| run.len() == 32).any(|run| {
        let has = |kind: fn(&u8) -> bool| run.bytes().any(|b| kind(&b));
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
    })
}

fn run(text: &str, is_member: impl Fn(u8) -> bool) -> usize {
    text.bytes().take_while(|b| is_member(*b)).count()
}

fn is_base64url(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

fn is_token68(b: u8) -> bool {
    is_base64url(b) || matches!(b, b'.' | b'~' | b'+' | b'/' | b'=')
}

/// The text behind each place where `needle` (ASCII, lower case) stands, case-insensitively.
fn behind<'t>(text: &'t str, needle: &'static str) -> impl Iterator<Item = &'t str> {
    let wanted = needle.as_bytes();
    text.as_bytes()
        .windows(wanted.len())
        .enumerate()
        .filter(move |(_, window)| window.eq_ignore_ascii_case(wanted))
        .filter_map(move |(at, _)| text.get(at + wanted.len()..))
}

/// `Bearer …` and `Basic …` (RFC 9110, 11.4) with at least 8 characters behind.
fn has_authorization_scheme(text: &str) -> bool {
    let holds = |rest: &str| run(rest.trim_start_matches([' ', '\t']), is_token68) >= 8;
    behind(text, "bearer ").any(holds)
        || behind(text, "basic ").any(|rest| {
            let credentials = rest.trim_start_matches(' ');
            let length = run(credentials, is_token68);
            // `basic functionality` is prose: base64 has digits, upper case or padding.
            length >= 8
                && credentials
                    .bytes()
                    .take(length)
                    .any(|b| b.is_ascii_digit() || b.is_ascii_uppercase() || b == b'=')
        })
}

/// Three base64url parts with dots, the first an encoded `{"` (RFC 7519).
fn has_jwt(text: &str) -> bool {
    behind(text, "eyj").any(|rest| {
        let header = run(rest, is_base64url);
        let Some(payload) = rest.get(header..).and_then(|r| r.strip_prefix('.')) else { return false };
        header >= 7 && run(payload, is_base64url) >= 8
    })
}

/// Prefixes that providers give to their keys, with the least number of characters behind.
const SERVICE_KEYS: [(&str, usize); 26] = [
    ("akia", 16),
    ("asia", 16),
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 20),
    ("xoxa-", 10),
    ("xoxb-", 10),
    ("xoxp-", 10),
    ("xoxr-", 10),
    ("xoxs-", 10),
    ("xoxe.", 10),
    ("xapp-", 10),
    ("sk_live_", 10),
    ("sk_test_", 10),
    ("rk_live_", 10),
    ("whsec_", 16),
    ("aiza", 30),
    ("glpat-", 16),
    ("npm_", 30),
    ("sk-", 20),
    ("hf_", 24),
    ("lin_api_", 20),
    ("ntn_", 30),
];

fn has_service_key(text: &str) -> bool {
    // One pass: a key begins where the character before it is no part of a word.
    let mut at_start = true;
    for (at, byte) in text.bytes().enumerate() {
        if at_start
            && matches!(
                byte.to_ascii_lowercase(),
                b'a' | b'g' | b'x' | b's' | b'r' | b'w' | b'n' | b'h' | b'l'
            )
        {
            let rest = text.get(at..).unwrap_or_default();
            let hit = SERVICE_KEYS.iter().any(|(prefix, least)| {
                let head = rest.as_bytes().get(..prefix.len());
                head.is_some_and(|h| h.eq_ignore_ascii_case(prefix.as_bytes()))
                    && rest.get(prefix.len()..).is_some_and(|r| run(r, is_base64url) >= *least)
            });
            if hit {
                return true;
            }
        }
        at_start = !byte.is_ascii_alphanumeric();
    }
    false
}

/// `scheme://user:password@host` and `scheme://token@host` (RFC 3986, 3.2.1).
fn has_url_with_user(text: &str) -> bool {
    behind(text, "://").any(|rest| {
        let authority =
            rest.split(|c: char| matches!(c, '/' | '?' | '#' | '"' | '\'') || c.is_whitespace()).next();
        authority.is_some_and(|a| a.contains('@'))
    })
}

/// `password=…`, `"api_key": "…"`, `Authorization: …`: a sensitive name that is given a value.
fn has_named_secret(text: &str) -> bool {
    let mut rest = text;
    while let Some(at) = rest.find([':', '=']) {
        let (before, after) = rest.split_at(at);
        let after = after.get(1..).unwrap_or_default();
        let name = before.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\'));
        let start = name.rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')));
        let name = start.map_or(name, |s| name.get(s..).unwrap_or_default());
        let value = after.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '\\'));
        let given = value.chars().next().is_some_and(|c| !matches!(c, ',' | '}' | ']' | ';' | '&'));
        if given && name.len() <= 80 && is_sensitive_name(name) {
            return true;
        }
        rest = after;
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of secrets and what stands around them, so that random texts come near every shape.
    const PIECES: [&str; 30] = [
        "bearer ",
        "Basic ",
        "BEARER  ",
        "abcdefgh",
        "A1b2C3d4",
        "=",
        "==",
        ":",
        "://",
        "@",
        "/",
        ".",
        "eyJ",
        "eyj",
        "-----BEGIN",
        "ghp_",
        "xoxe.",
        "xoxb-",
        "sk-",
        "akia",
        "password",
        "api_key",
        "token",
        "\"",
        " ",
        "\t",
        "é",
        "K6BWltblpTallNXbcZlJXue1XpMu6PNO",
        "0123456789",
        ",",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_shows_no_sign_of_a_shape_does_not_hold_it(
            pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..12)
        ) {
            let text = pieces.concat();
            let signs = Signs::of(&text);
            for (name, may, holds) in SHAPES {
                prop_assert!(may(signs) || !holds(&text), "{name}: {text}");
            }
        }
    }
}
