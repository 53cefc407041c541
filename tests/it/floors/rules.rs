//! The rules themselves: `house.md` sections 3 and 4 as tables and a page of code.

use std::collections::BTreeSet;

use super::source::{Token, closing, tokens, without_tests};

/// Each module of the crate and its floor (`house.md` section 3).
const FLOORS: &[(&str, u8)] = &[
    ("model", 0),
    ("telemetry", 0),
    ("mcp", 1),
    ("policy", 1),
    ("connector", 1),
    ("keys", 1),
    ("store", 2),
    ("audit", 2),
    ("session", 2),
    ("proxy", 3),
    ("control", 4),
    ("worker", 4),
    ("app", 5),
    ("cli", 5),
    ("main", 5),
    ("lib", 5),
];

/// Looks at a sibling on the same floor that are allowed.
const SIBLINGS: &[(&str, &str)] = &[
    ("telemetry", "model"),
    ("policy", "connector"),
    ("audit", "store"),
    ("session", "store"),
    ("control", "worker"),
    ("app", "cli"),
    ("cli", "app"),
];

/// What floor 1 may not name: it gets time, randomness and bytes as arguments.
const IMPURE: &[&str] = &[
    "tokio",
    "std::fs",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "std::env",
    "std::process",
    "std::thread",
    "SystemTime::now",
    "Instant::now",
    "Timestamp::now",
    "getrandom",
];

const FILE_LINES_MAX: usize = 400;
const FUNCTION_LINES_MAX: usize = 70;
/// Files that are compiled for tests alone may hold longer tables.
const TEST_FILE_LINES_MAX: usize = 600;

/// Files and functions (`path::function`) that are longer, each with the reason. Keep it short.
const LONGER: &[(&str, &str)] = &[];

/// Everything wrong with these files (path from the repository's root, text).
pub fn faults_of(files: &[(String, String)]) -> Vec<String> {
    let all: Vec<_> = files.iter().map(|(path, text)| (path, text, tokens(text))).collect();
    let for_tests: BTreeSet<String> = all.iter().flat_map(|(path, _, all)| test_files(path, all)).collect();
    let mut faults = Vec::new();
    for (path, text, all) in &all {
        let beneath = |file: &String| path.starts_with(&format!("{}/", file.trim_end_matches(".rs")));
        let is_test =
            path.starts_with("tests/") || for_tests.contains(*path) || for_tests.iter().any(beneath);
        shape(path, text, all, is_test, &mut faults);
        if let Some(inside) = path.strip_prefix("src/") {
            floors(path, inside, all, is_test, &mut faults);
        }
    }
    faults
}

/// The files that this one declares as `#[cfg(test)] mod name;`.
fn test_files(path: &str, all: &[Token]) -> Vec<String> {
    let marker = ["#", "[", "cfg", "(", "test", ")", "]"];
    let starts = all.windows(marker.len()).enumerate();
    let marked =
        starts.filter(|(_, window)| window.iter().zip(marker).all(|(token, text)| token.text == text));
    let mut found = Vec::new();
    for (at, _) in marked {
        // Other attributes, such as `#[path]`, and a visibility may stand between.
        let mut at = at + marker.len();
        while let Some(token) = all.get(at).filter(|token| matches!(token.text.as_str(), "#" | "pub" | "(")) {
            at = if token.text == "(" { closing(all, at) } else { at };
            at = if token.text == "#" { closing(all, at + 1) } else { at } + 1;
        }
        let declared = all.get(at).is_some_and(|token| token.text == "mod")
            && all.get(at + 2).is_some_and(|token| token.text == ";");
        if let (true, Some(name)) = (declared, all.get(at + 1)) {
            let folder = path.trim_end_matches(".rs");
            found.push(format!("{folder}/{}.rs", name.text));
        }
    }
    found
}

fn longer_allowed(name: &str) -> bool {
    LONGER.iter().any(|(path, _)| *path == name)
}

fn shape(path: &str, text: &str, all: &[Token], is_test: bool, faults: &mut Vec<String>) {
    // `tests.rs` says in its name why it exists.
    if !text.starts_with("//! ") && !path.ends_with("/tests.rs") {
        faults.push(format!("{path}:1: does not open with `//!` and the reason it exists"));
    }
    if path.ends_with("/mod.rs") {
        faults.push(format!("{path}: is a mod.rs; write `foo.rs` beside `foo/`"));
    }
    let lines = text.lines().count();
    let lines_max = if is_test { TEST_FILE_LINES_MAX } else { FILE_LINES_MAX };
    if lines > lines_max && !longer_allowed(path) {
        faults.push(format!("{path}: {lines} lines, at most {lines_max}: split it"));
    }
    // How long a test may be is clippy's to say (`too_many_lines`), where a table may be expected.
    if is_test {
        return;
    }
    for (name, line, lines) in functions(all) {
        if lines > FUNCTION_LINES_MAX && !longer_allowed(&format!("{path}::{name}")) {
            faults.push(format!(
                "{path}:{line}: function `{name}` has {lines} lines of code, at most {FUNCTION_LINES_MAX}"
            ));
        }
    }
}

/// Every function with a body: name, first line, lines that hold code.
fn functions(all: &[Token]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for (index, token) in all.iter().enumerate() {
        let Some(name) = all.get(index + 1).filter(|_| token.text == "fn") else { continue };
        if !name.text.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            continue;
        }
        let Some(open) = body_of(all, index + 2) else { continue };
        let mut lines: Vec<usize> = all[index..=closing(all, open)].iter().map(|token| token.line).collect();
        lines.dedup();
        found.push((name.text.clone(), token.line, lines.len()));
    }
    found
}

/// The `{` that opens the body of a function whose signature goes on at `at`; none for a declaration.
fn body_of(all: &[Token], mut at: usize) -> Option<usize> {
    while at < all.len() {
        match all[at].text.as_str() {
            "(" | "[" => at = closing(all, at),
            "{" => return Some(at),
            ";" => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

fn floors(path: &str, inside: &str, all: &[Token], is_test: bool, faults: &mut Vec<String>) {
    let module = inside.split(['/', '.']).next().unwrap_or_default();
    let floor_of = |name: &str| FLOORS.iter().find(|(module, _)| *module == name).map(|(_, floor)| *floor);
    let Some(floor) = floor_of(module) else {
        faults.push(format!("{path}: `{module}` is on no floor; add it to the table, or move it"));
        return;
    };
    for (line, other) in looks(all) {
        let Some(other_floor) = floor_of(&other) else { continue };
        if other == module || other_floor < floor {
            continue;
        }
        if other_floor > floor {
            faults
                .push(format!("{path}:{line}: `{module}` (F{floor}) looks up at `{other}` (F{other_floor})"));
        } else if !SIBLINGS.contains(&(module, other.as_str())) && module != "main" {
            faults.push(format!(
                "{path}:{line}: `{module}` looks at its sibling `{other}`, which is not listed"
            ));
        }
    }
    for line in supers_to_the_root(inside, all) {
        faults.push(format!("{path}:{line}: climbs by `super` to the crate root: write `crate::`"));
    }
    if module != "telemetry" {
        metrics_named(path, all, faults);
    }
    if floor == 1 && !is_test {
        purity(path, all, faults);
    }
}

/// Every `crate::module` and `wicket::module`, grouped or not.
fn looks(all: &[Token]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, token) in all.iter().enumerate() {
        let rooted = matches!(token.text.as_str(), "crate" | "wicket")
            && all.get(index + 1).is_some_and(|token| token.text == ":")
            && all.get(index + 2).is_some_and(|token| token.text == ":");
        if !rooted {
            continue;
        }
        match all.get(index + 3) {
            Some(open) if open.text == "{" => {
                let end = closing(all, index + 3);
                let mut at = index + 4;
                let mut expect_name = true;
                while at < end {
                    match all[at].text.as_str() {
                        "{" => at = closing(all, at),
                        "," => expect_name = true,
                        name if expect_name => {
                            found.push((all[at].line, name.to_owned()));
                            expect_name = false;
                        }
                        _ => {}
                    }
                    at += 1;
                }
            }
            Some(name) => found.push((name.line, name.text.clone())),
            None => {}
        }
    }
    found
}

/// Lines where a chain of `super::` leaves the module's own root. Nesting of inline modules counts.
fn supers_to_the_root(inside: &str, all: &[Token]) -> Vec<usize> {
    let depth_of_file = inside.split('/').count();
    let mut inline_ends: Vec<usize> = Vec::new();
    let mut found = Vec::new();
    let mut at = 0;
    while at < all.len() {
        inline_ends.retain(|end| *end > at);
        let opens_module = all[at].text == "mod" && all.get(at + 2).is_some_and(|token| token.text == "{");
        if opens_module {
            inline_ends.push(closing(all, at + 2));
        }
        if all[at].text == "super" {
            let line = all[at].line;
            let mut length = 0;
            while all.get(at).is_some_and(|token| token.text == "super") {
                length += 1;
                at += 3;
            }
            if length >= depth_of_file + inline_ends.len() {
                found.push(line);
            }
            continue;
        }
        at += 1;
    }
    found
}

fn path_named(all: &[Token], at: usize, path: &str) -> bool {
    let mut at = at;
    for (index, part) in path.split("::").enumerate() {
        if index > 0 {
            let colons = all.get(at).zip(all.get(at + 1));
            if !colons.is_some_and(|(first, second)| first.text == ":" && second.text == ":") {
                return false;
            }
            at += 2;
        }
        if all.get(at).is_none_or(|token| token.text != part) {
            return false;
        }
        at += 1;
    }
    true
}

fn purity(path: &str, all: &[Token], faults: &mut Vec<String>) {
    let code = without_tests(all);
    for at in 0..code.len() {
        for name in IMPURE.iter().filter(|name| path_named(&code, at, name)) {
            faults.push(format!("{path}:{}: `{name}` in a pure core", code[at].line));
        }
    }
}

fn metrics_named(path: &str, all: &[Token], faults: &mut Vec<String>) {
    for at in 0..all.len() {
        let named =
            ["counter", "gauge", "histogram", "describe_counter", "describe_gauge", "describe_histogram"]
                .iter()
                .any(|kind| path_named(all, at, &format!("metrics::{kind}")));
        if named {
            faults.push(format!("{path}:{}: names a metric; only `telemetry` does", all[at].line));
        }
    }
}
