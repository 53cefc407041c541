//! The floors hold: nobody in `src/` looks up, and a sibling only where it is listed here.
//!
//! Reads the sources as text (comments and strings taken out), so that a wrong `use` is red before
//! anybody has argued about it. Also keeps files and functions short, files opened by the reason
//! they exist, pure floors pure, and metrics named in one place.

#[path = "floors/rules.rs"]
mod rules;
#[path = "floors/source.rs"]
mod source;

use std::path::Path;

use rules::faults_of;

/// Every `*.rs` beneath `dir`, with its path from the root of the repository.
fn tree(dir: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join(dir)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                files.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn the_house_stands_as_drawn() {
    let mut files = tree("src");
    assert!(files.len() > 20, "only {} files were read: wrong folder?", files.len());
    files.extend(tree("tests/it"));
    files.extend(tree("benches"));
    let faults = faults_of(&files);
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// Each rule is shown to bite: one planted fault, one complaint that names it.
#[test]
fn planted_faults_are_found() {
    let long_function = format!("//! Why.\nfn long() {{\n{}}}\n", "    call();\n".repeat(71));
    let long_file = format!("//! Why.\n{}", "const A: u8 = 1;\n".repeat(401));
    let table: &[(&str, &str, &str)] = &[
        ("src/policy/engine.rs", "//! Why.\nuse crate::proxy::Handle;\n", "looks up at `proxy`"),
        ("src/mcp/scan.rs", "//! Why.\nuse crate::{model::Tier, store};\n", "looks up at `store`"),
        ("src/store/keys.rs", "//! Why.\nuse crate::audit::Journal;\n", "sibling `audit`"),
        ("src/mcp.rs", "//! Why.\nfn f() { crate::policy::go() }\n", "sibling `policy`"),
        (
            "src/mcp/reply/a.rs",
            "//! Why.\nuse super::super::super::policy::x;\n",
            "`super` to the crate root",
        ),
        ("src/main.rs", "//! Why.\nfn main() { wicket::store::open() }\n", ""),
        ("src/policy/live.rs", "//! Why.\nuse tokio::sync::Mutex;\n", "`tokio` in a pure core"),
        ("src/mcp/scan.rs", "//! Why.\nfn f() { std::fs::read(p); }\n", "`std::fs` in a pure core"),
        ("src/keys/seal.rs", "//! Why.\nfn f() { SystemTime::now(); }\n", "`SystemTime::now` in a pure core"),
        ("src/mcp/scan.rs", "//! Why.\n#[cfg(test)]\nmod tests { fn f() { std::fs::read(p); } }\n", ""),
        ("src/proxy/relay.rs", "//! Why.\nfn f() { metrics::counter!(\"x\"); }\n", "names a metric"),
        ("src/proxy/relay.rs", "use std::fmt;\n", "does not open with `//!`"),
        ("src/proxy/mod.rs", "//! Why.\n", "mod.rs"),
        ("src/helper/x.rs", "//! Why.\n", "on no floor"),
        ("src/proxy/relay.rs", &long_function, "`long` has 73 lines"),
        ("src/proxy/relay.rs", &long_file, "402 lines"),
        ("src/proxy/relay.rs", "//! Why.\n// crate::app\nconst S: &str = \"crate::app\";\n", ""),
        ("src/policy/query.rs", "//! Why.\nuse crate::connector::Resource;\n", ""),
        ("src/audit/index.rs", "//! Why.\nuse crate::store::Store;\n", ""),
        ("src/proxy/exchange.rs", "//! Why.\nuse crate::{mcp, model, policy::Bundle, audit};\n", ""),
    ];
    for (path, text, expected) in table {
        let found = faults_of(&[((*path).to_owned(), (*text).to_owned())]);
        match (expected.is_empty(), found.as_slice()) {
            (true, []) => {}
            (false, [only]) if only.contains(expected) => {}
            _ => panic!("{path}: expected `{expected}` of\n{text}\nfound {found:?}"),
        }
    }
}
