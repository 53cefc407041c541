//! Policies as an operator might have them, every one with a condition on the session or
//! the member and one on the arguments: one permit and four forbids that the call is a candidate for,
//! all others speak of other tools, groups and members.

use std::fmt::Write as _;

/// Tools that other policies speak of; the upstream lists them too.
pub const OTHER_TOOLS: [&str; 10] = [
    "read_file",
    "write_file",
    "edit_file",
    "move_file",
    "list_directory",
    "search_files",
    "get_file_info",
    "create_directory",
    "delete_file",
    "run_command",
];

/// The text of so many policies, a hundred in the benchmark of an exchange.
pub fn text(count: usize) -> String {
    let mut text = String::from(
        r#"@id("reads")
permit (principal, action in Wicket::Action::"read", resource)
when { context.session.calls < 1000000000 && context.member.denials < 1000 };
@id("no-keys")
forbid (principal, action == Bench::Action::"echo", resource)
when { context.args has path && context.args.path like "*.pem" && context.session.calls >= 0 };
@id("no-secrets")
forbid (principal, action == Bench::Action::"echo", resource)
when { context.args has text && context.args.text like "*secret*" && context.member.denials >= 0 };
@id("many-reads-of-etc")
forbid (principal, action == Bench::Action::"echo", resource)
when { context.session.tiersUsed.read > 1000000000 || (context.args has path && context.args.path like "/etc/*") };
@id("many-calls-to-home")
forbid (principal, action == Bench::Action::"echo", resource)
when { context.member.tiersUsed.read > 1000000000 && context.args has path && context.args.path like "/home/*" };
"#,
    );
    let candidates = text.matches("@id").count();
    for number in candidates..count {
        let tool = OTHER_TOOLS[number % OTHER_TOOLS.len()];
        let (principal, action) = match number % 3 {
            0 => ("principal".to_owned(), tool),
            1 => (format!("principal in Wicket::Group::\"team-{number}\""), tool),
            _ => (format!("principal == Wicket::Member::\"nobody-{number}\""), "echo"),
        };
        let counter = if number % 2 == 0 { "session.calls" } else { "member.denials" };
        writeln!(
            text,
            "@id(\"other-{number}\")\nforbid ({principal}, action == Bench::Action::\"{action}\", resource)\n\
             when {{ context.{counter} > {number} && context.args has path && context.args.path like \"*-{number}\" }};"
        )
        .unwrap();
    }
    assert_eq!(text.matches("@id").count(), count);
    text
}
