use clap::CommandFactory;

use super::*;

/// The help of a command and of all below it, as printed.
fn help_of(mut command: clap::Command, path: &str, out: &mut Vec<(String, String)>) {
    let name = if path.is_empty() {
        command.get_name().to_owned()
    } else {
        format!("{path} {}", command.get_name())
    };
    command = command.bin_name(&name).term_width(100);
    out.push((name.clone(), command.render_help().to_string()));
    let below: Vec<_> = command.get_subcommands().cloned().collect();
    for command in below {
        help_of(command, &name, out);
    }
}

#[test]
fn the_help_of_every_command_is_as_reviewed() {
    let mut command = Arguments::command();
    command.build();
    let mut pages = Vec::new();
    help_of(command, "", &mut pages);
    assert!(pages.len() > 35, "{}", pages.len());
    let text: Vec<String> = pages.iter().map(|(name, help)| format!("===== {name} --help\n{help}")).collect();
    insta::assert_snapshot!("help", text.join("\n"));
}

#[test]
fn the_definition_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn examples_in_the_help_are_commands_that_parse() {
    let mut command = Arguments::command();
    command.build();
    let mut pages = Vec::new();
    help_of(command, "", &mut pages);
    let mut tried = 0;
    for (name, help) in pages {
        // A continued line goes on after the backslash; two spaces begin the example's remark.
        let joined: Vec<&str> = help.split("\\\n").map(str::trim_start).collect();
        let joined = joined.join("");
        for line in joined.lines().filter_map(|line| line.strip_prefix("  wicket ")) {
            let line = line.split("  ").next().unwrap_or(line);
            let line = line.split(['|', '>']).next().unwrap_or(line);
            let words = std::iter::once("wicket".to_owned()).chain(words_of(line));
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{name}: {line}: {}", parsed.unwrap_err());
            tried += 1;
        }
    }
    assert!(tried > 30, "only {tried} examples were found");
}

/// Splits like a shell, as far as the examples need it.
fn words_of(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            _ => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[test]
fn what_is_wrong_is_said_with_what_was_expected() {
    for (line, says) in [
        ("audit query --from yesterday", "RFC 3339"),
        ("audit query --limit 501", "500"),
        ("policy explain --agent a --member b", "--tool"),
        ("policy explain --call nope", "a UUID is expected"),
        (
            "policy explain --agent a --member b --tool x__y --session-counter writes=1",
            "`writes` is not a counter",
        ),
        ("agent create x --service GitHub", "service key"),
        ("agent rate x --burst 5", "--per-second"),
        ("connector accept github --tier x=harmless", "read, write or destructive"),
        ("run --new-key", "--first-run"),
        ("session list --member m", "AGENT"),
        ("key revoke abc", "key id"),
    ] {
        let words = std::iter::once("wicket").chain(line.split(' '));
        let error = Arguments::try_parse_from(words).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line}");
        assert!(error.to_string().contains(says), "{line}: {error}");
    }
}
