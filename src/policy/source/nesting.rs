//! A look at a policy file before Cedar's parser, which recurses as deep as the text is nested: a file
//! must not be able to end the process.
//!
//! Invariant: what passes is parsed, type-checked, evaluated and dropped within a thread's stack.

use super::split::{end_of_comment, end_of_string};

/// Brackets inside each other.
const BRACKETS_MAX: usize = 64;
/// Operators (`&&`, `||`, `!`, `+`, `if`, …) of one policy: each may lie inside the one before it.
const OPERATORS_MAX: usize = 500;
/// Attributes of attributes in one chain: `a.b.c`.
const CHAIN_MAX: usize = 64;

/// Whether the text is flat enough; the place and the fault where it is not.
pub(in crate::policy) fn check(text: &str) -> Result<(), (usize, String)> {
    let bytes = text.as_bytes();
    let (mut at, mut brackets, mut operators, mut chain) = (0, 0_usize, 0_usize, 0_usize);
    while let Some(byte) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'/' if next == Some(b'/') => at = end_of_comment(bytes, at),
            b'(' | b'[' | b'{' => brackets += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            b';' => (brackets, operators, chain) = (0, 0, 0),
            b',' => chain = 0,
            b'.' => chain += 1,
            b'&' | b'|' | b'!' | b'+' | b'-' | b'*' | b'<' | b'>' | b'=' => {
                (operators, chain) = (operators + 1, 0);
                // Two characters are one operator; `!!` and `--` are two.
                if matches!((byte, next), (b'&', Some(b'&')) | (b'|', Some(b'|')) | (_, Some(b'='))) {
                    at += 1;
                }
            }
            b'i' | b't' | b'e' if is_word(bytes, at) => operators += 1,
            _ => {}
        }
        if brackets > BRACKETS_MAX {
            return Err((at, format!("brackets are nested deeper than {BRACKETS_MAX}")));
        }
        if operators > OPERATORS_MAX {
            return Err((at, format!("a policy has more than {OPERATORS_MAX} operators")));
        }
        if chain > CHAIN_MAX {
            return Err((at, format!("a chain of attributes is longer than {CHAIN_MAX}")));
        }
        at += 1;
    }
    Ok(())
}

/// Whether `if`, `then` or `else` begins here.
fn is_word(bytes: &[u8], at: usize) -> bool {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let begins = at.checked_sub(1).and_then(|before| bytes.get(before)).is_none_or(|b| !is_name(b));
    let rest = bytes.get(at..).unwrap_or_default();
    let is = |word: &[u8]| rest.starts_with(word) && rest.get(word.len()).is_none_or(|b| !is_name(b));
    begins && (is(b"if") || is(b"then") || is(b"else"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixtures;

    fn policy(condition: &str) -> String {
        format!("@id(\"a\")\nforbid (principal, action, resource) when {{ {condition} }};\n")
    }

    #[test]
    fn what_would_end_the_process_is_a_fault_with_its_place() {
        let nested = |n: usize| policy(&format!("{}true{} && false", "(".repeat(n), ")".repeat(n)));
        let table = [
            (nested(64), "brackets are nested"),
            (nested(100_000), "brackets are nested"),
            (policy(&vec!["true"; 502].join(" && ")), "more than 500 operators"),
            (policy(&vec!["true"; 100_000].join("||")), "more than 500 operators"),
            (policy(&format!("{}true", "!".repeat(501))), "more than 500 operators"),
            (policy(&format!("context{}", ".a".repeat(65))), "a chain of attributes"),
            (policy(&"if true then ".repeat(300)), "more than 500 operators"),
            // To Cedar a comment ends at a carriage return.
            (format!("// \r{}", policy(&vec!["true"; 502].join(" && "))), "more than 500 operators"),
        ];
        for (text, expected) in table {
            let (_, message) = check(&text).unwrap_err();
            assert!(message.contains(expected), "{message}");
            let faults = fixtures::faults(&text);
            assert!(
                faults.iter().any(|fault| fault.message.contains(expected) && fault.line > 0),
                "{faults:?}"
            );
        }
    }

    #[test]
    fn strings_comments_and_long_lists_are_nothing() {
        let names = (0..5_000).map(|n| format!("\"n{n}((((\"")).collect::<Vec<_>>().join(", ");
        for text in [
            policy(&format!("[{names}].contains(\"a\\\"((\")")),
            format!("// {}\n{}", "(".repeat(500), policy("1 == 2")),
            policy("true && (if 1 < 2 then true else false)").repeat(400),
        ] {
            assert_eq!(check(&text), Ok(()));
        }
    }

    /// Built on the stack that the gate builds on, decided and dropped on a listener's.
    #[test]
    fn the_deepest_that_passes_is_built_decided_and_dropped() {
        let deep = [
            policy(&format!("{}context.time.hour > 25{}", "(".repeat(62), ")".repeat(62))),
            policy(&vec!["context.time.hour > 25"; 250].join(" && ")),
            policy(&vec!["context.time.hour > 25"; 250].join(" || ")),
        ];
        for text in deep {
            let build = std::thread::Builder::new().stack_size(32 << 20);
            let bundle = build.spawn(move || fixtures::bundle(&text)).unwrap().join().unwrap();
            let decide = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
                let scenario = crate::policy::Scenario::new("depot__search", fixtures::sunday());
                scenario.ask(&bundle, |question| bundle.decide(question).allowed).unwrap()
            });
            assert!(!decide.unwrap().join().unwrap());
        }
    }
}
