//! No code in -32000 to -32099 is emitted but the three of the stateless era (decision 13): told by
//! reading the sources, since a row that is not in a test's list would escape a test of rows.

use std::fs;
use std::path::{Path, PathBuf};

const ALLOWED: [&str; 3] = ["-32020", "-32021", "-32022"];

/// Every `.rs` file below the directory but those of tests.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.is_dir() && name != "tests" {
            sources(&path, found);
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            found.push(path);
        }
    }
}

/// The codes of the reserved range in the code of a source: not in its comments, not in its tests.
fn reserved_codes(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().map(|line| line.split("//").next().unwrap_or_default().replace('_', ""));
    let mut found = Vec::new();
    for line in lines {
        for (place, _) in line.match_indices("320") {
            let (before, after) = line.split_at(place);
            let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
            let minus = before.trim_end().ends_with('-');
            if minus && digits.len() == 5 {
                found.push(format!("-{digits}"));
            }
        }
    }
    found
}

#[test]
fn no_reserved_code_is_emitted() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let mut emitted = Vec::new();
    for file in &files {
        for code in reserved_codes(&fs::read_to_string(file).unwrap()) {
            assert!(ALLOWED.contains(&code.as_str()), "{} emits {code}", file.display());
            emitted.push(code);
        }
    }
    emitted.sort();
    assert_eq!(emitted, ALLOWED, "each of the three has one place");
}

#[test]
fn the_reader_of_sources_sees_what_it_looks_for() {
    let planted =
        "let a = -32001; let b = - 32_050; // -32002\n/// -32003\nlet c = -32600;\n#[cfg(test)]\n-32004";
    assert_eq!(reserved_codes(planted), ["-32001", "-32050"]);
}
