//! The command line: reads what was typed, asks the gate (or works on a stopped one), says what came of it.
//!
//! Invariants: every command ends with one of the four exit codes of `ending::Ending`; a message says
//! what, where, why and what to do next; a key, a token or a link is printed only by the command that made it; a
//! closed pipe ends the output, not the process with a panic.

mod accounts;
pub mod arguments;
mod audit;
pub mod bench;
mod check;
mod connect;
mod connectors;
mod ending;
mod minted;
mod output;
mod policy;
mod reach;
mod run;
mod settings;
mod sign_in;
mod status;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use self::arguments::{Arguments, Command};
use self::ending::{Ending, Fault, Page};
use self::output::Style;
use self::settings::Settings;

/// Does what was typed.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, with code 0 and on standard output.
            let ending = if error.use_stderr() { Ending::Usage } else { Ending::Fine };
            drop(error.print());
            return ending.into();
        }
    };
    let style = Style::for_stdout(arguments.global.no_color || arguments.global.json);
    match perform(arguments, style) {
        Ok(page) => {
            output::print(&page.text);
            page.ending.into()
        }
        Err(fault) => {
            output::print_error(&fault.render(Style::for_stderr(!style.colour)));
            fault.ending.into()
        }
    }
}

fn perform(arguments: Arguments, style: Style) -> Result<Page, Fault> {
    if let Command::Completions { shell } = arguments.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "wicket", &mut script);
        return Ok(Page::fine(String::from_utf8_lossy(&script).into_owned()));
    }
    // Another gate, on another machine perhaps: nothing of this one's configuration matters.
    if let Command::Bench(asked) = &arguments.command {
        return bench::bench(asked, arguments.global.json, style);
    }
    let settings = Settings::load(&arguments.global, style)?;
    match arguments.command {
        Command::Run { first_run, new_key } => run::run(settings, first_run, new_key),
        Command::Check => check::check(&settings),
        Command::Connect(asked) => connect::connect(&settings, &asked),
        Command::Policy(command) if !policy::needs_gate(&command) => policy::offline(&settings, &command),
        Command::Connector(command) if !connectors::needs_gate(&command) => {
            connectors::offline(&settings, &command)
        }
        Command::Audit(arguments::inspect::AuditCommand::Tail { lines, follow }) => {
            audit::tail(&settings, lines, follow)
        }
        Command::Audit(arguments::inspect::AuditCommand::Verify { witness, journal, key }) => {
            audit::verify(&settings, witness.as_deref(), journal.as_deref(), key.as_deref())
        }
        command => reach::with_runtime(ask(&settings, command)),
    }
}

/// The commands that ask the gate, running or stopped.
async fn ask(settings: &Settings, command: Command) -> Result<Page, Fault> {
    match command {
        Command::Status => status::status(settings).await,
        Command::Reload => status::reload(settings).await,
        Command::Agent(command) => accounts::agent(settings, command).await,
        Command::Member(command) => accounts::member(settings, command).await,
        Command::Group(command) => accounts::group(settings, command).await,
        Command::Key(command) => accounts::key(settings, command).await,
        Command::Account(command) => sign_in::account(settings, command).await,
        Command::Token(command) => sign_in::token(settings, command).await,
        Command::Session(command) => accounts::session(settings, command).await,
        Command::Connector(command) => connectors::connector(settings, command).await,
        Command::Audit(command) => audit::query(settings, command).await,
        Command::Policy(command) => policy::ask(settings, command).await,
        Command::Run { .. }
        | Command::Check
        | Command::Bench(_)
        | Command::Connect(_)
        | Command::Completions { .. } => Err(Fault::usage("this command does not ask the gate")),
    }
}
