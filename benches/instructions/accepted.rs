//! The accepted counts, and the judgement over new ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// A count may be so much above the accepted one, in percent.
const GROWTH_MAX_PERCENT: f64 = 5.0;

#[derive(Debug, Serialize, Deserialize)]
struct Accepted {
    /// What built it: another compiler counts differently.
    rustc: String,
    profile: String,
    /// Instructions of one.
    counts: BTreeMap<String, u64>,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.toml")
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("-V").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// Whether no count has grown beyond the limit; with `accept`, the new counts are written instead.
pub fn judge(counts: &[(&str, u64)], accept: bool) -> bool {
    if accept {
        let counts = counts.iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
        let accepted = Accepted { rustc: rustc(), profile: "dev".to_owned(), counts };
        let head = "# Accepted counts of instructions (callgrind, dev profile). Written by `make instructions ACCEPT=1`;\n\
                    # commit it together with the change that made them, and say in the commit why.\n";
        std::fs::write(file(), format!("{head}{}", toml::to_string(&accepted).unwrap())).unwrap();
        println!("accepted: {accepted:?}");
        return true;
    }
    let text = std::fs::read_to_string(file()).unwrap();
    let accepted: Accepted = toml::from_str(&text).unwrap();
    let mut grown = Vec::new();
    for (what, count) in counts {
        let before = accepted.counts[*what];
        let percent = (*count as f64 / before as f64 - 1.0) * 100.0;
        println!("instructions of one {what}: {count}, accepted {before} ({percent:+.2} %)");
        if percent > GROWTH_MAX_PERCENT {
            grown.push(format!(
                "one {what} takes {count} instructions, {percent:+.1} % over the accepted {before}"
            ));
        }
        if percent < -GROWTH_MAX_PERCENT {
            println!("  less work than accepted: `make instructions ACCEPT=1` keeps it that way");
        }
    }
    if grown.is_empty() {
        return true;
    }
    let compiler = rustc();
    let other = if compiler == accepted.rustc {
        String::new()
    } else {
        format!(
            "\nThe accepted counts are of `{}`, this is `{compiler}`: that alone may be it.",
            accepted.rustc
        )
    };
    eprintln!(
        "\nRED: {}; at most {GROWTH_MAX_PERCENT} % are let pass unnoticed.{other}\nIf the work is meant, accept it with \
         `make instructions ACCEPT=1`, commit benches/instructions.toml, and say why.",
        grown.join("; ")
    );
    false
}
