//! `wicket bench`: a load on one's own gate, or on any MCP server over HTTP. The generator beneath is
//! also the one of `make bench`.
//!
//! Invariant: the key is neither printed nor logged, and can be given without standing in the list of
//! processes.

mod busy;
pub mod load;
mod page;
pub mod peer;
pub mod plan;
pub mod tally;
pub mod verdict;

use std::io::Read as _;
use std::time::Duration;

use zeroize::Zeroizing;

use self::load::LoadFault;
use self::peer::{Dial, Server};
use self::plan::{Call, Load, Plan, Target};
use self::verdict::Fault as Refusal;
use super::arguments::bench::BenchArguments;
use super::ending::{Ending, Fault, Page};
use super::output::{self, Style, one_line};
use super::reach;

/// The tool of the gate's own that changes nothing.
const OWN_TOOL: &str = "wicket__whoami";
/// Bytes that are read of a key.
const KEY_INPUT_BYTES_MAX: u64 = 8_192;
/// Tools that are named where one has to be chosen.
const TOOLS_SHOWN_MAX: usize = 12;

/// `wicket bench`
pub fn bench(arguments: &BenchArguments, json: bool, style: Style) -> Result<Page, Fault> {
    let key = key(arguments)?;
    let target = Target::parse(&arguments.url, key.as_ref().map(|key| key.as_str())).map_err(Fault::usage)?;
    let load = load_of(arguments)?;
    // Wrong arguments are refused before anything is dialled.
    Call::new(arguments.tool.as_deref().unwrap_or(OWN_TOOL), &arguments.arguments).map_err(Fault::usage)?;
    let (server, tool) = look(&target, load, arguments)?;
    let call = Call::new(&tool, &arguments.arguments).map_err(Fault::usage)?;
    let plan = Plan { target, call, load };
    if !json {
        output::print(&page::head(&plan, &server, style));
    }
    let report = load::run(&plan, || ()).map_err(refused)?;
    let answered = report.answered.calls > 0 || report.denied.calls > 0;
    let ending = if answered && report.failed.calls == 0 { Ending::Fine } else { Ending::Problem };
    let text = if json { page::json(&plan, &server, &report) } else { page::table(&plan, &report, style) };
    Ok(Page::with_ending(text, ending))
}

fn load_of(arguments: &BenchArguments) -> Result<Load, Fault> {
    let time = |name: &str, seconds: f64| {
        Duration::try_from_secs_f64(seconds)
            .map_err(|_| Fault::usage(format!("--{name} `{seconds}` is no number of seconds")))
    };
    Load {
        connections: arguments.connections,
        threads: arguments.threads,
        warm_up: time("warm-up", arguments.warm_up)?,
        measured: time("duration", arguments.duration)?,
        rate: arguments.rate,
        call_max: time("call-max", arguments.call_max)?,
    }
    .checked()
    .map_err(Fault::usage)
}

/// The key from the command line, the environment (both by clap) or standard input.
fn key(arguments: &BenchArguments) -> Result<Option<Zeroizing<String>>, Fault> {
    match arguments.key.as_deref() {
        None | Some("") => Ok(None),
        Some("-") => {
            let mut text = Zeroizing::new(String::new());
            let read = std::io::stdin().take(KEY_INPUT_BYTES_MAX).read_to_string(&mut text);
            read.map_err(|error| {
                Fault::usage(format!("the key cannot be read from standard input: {error}"))
            })?;
            if text.trim().is_empty() {
                return Err(Fault::usage("standard input holds no key"));
            }
            Ok(Some(Zeroizing::new(text.trim().to_owned())))
        }
        Some(key) => Ok(Some(Zeroizing::new(key.to_owned()))),
    }
}

/// One client looks before many run: who is there, and which tool is called.
fn look(target: &Target, load: Load, arguments: &BenchArguments) -> Result<(Server, String), Fault> {
    let dial = Dial::new(target, load.call_max).map_err(Fault::problem)?;
    reach::runtime()?.block_on(async {
        let unreached = |fault: Refusal| {
            let nobody = fault.kind == "cannot connect";
            let what = if nobody { "nothing answers" } else { "a client is not let in" };
            refused(LoadFault { message: format!("{what} at {}", target.url()), fault: Some(fault) })
        };
        let mut peer = dial.connect().await.map_err(unreached)?;
        let server = peer.server().clone();
        let tool = match &arguments.tool {
            Some(tool) => Ok(tool.clone()),
            None => peer.tools().await.map_err(unreached).and_then(|tools| choose(&tools)),
        };
        peer.end().await;
        Ok((server, tool?))
    })
}

/// Nobody's tool is called unasked, but for the one that is known to change nothing.
fn choose(tools: &[String]) -> Result<String, Fault> {
    if tools.iter().any(|tool| tool == OWN_TOOL) {
        return Ok(OWN_TOOL.to_owned());
    }
    let mut shown: Vec<String> = tools.iter().take(TOOLS_SHOWN_MAX).map(|tool| one_line(tool)).collect();
    if tools.len() > TOOLS_SHOWN_MAX {
        shown.push(format!("and {} more", tools.len() - TOOLS_SHOWN_MAX));
    }
    let listed = if shown.is_empty() { "none".to_owned() } else { shown.join(", ") };
    Err(Fault::usage("which tool is to be called?")
        .with_help(format!("name one with --tool, and its --arguments; the server lists: {listed}")))
}

fn refused(load: LoadFault) -> Fault {
    let Some(fault) = load.fault else { return Fault::problem(load.message) };
    let said = format!("{}: {}: {}", load.message, one_line(&fault.kind), one_line(&fault.example));
    let problem = Fault::problem(said);
    match fault.kind.as_str() {
        "unknown_key" | "no_bearer" => {
            problem.with_help("give a member key; `wicket key rotate` makes a new one")
        }
        "rate_limited" | "too_many_in_flight" | "too_many_sessions" => problem.with_help(
            "raise this member's limits for the test (docs/guide/benchmark.md), or ask for fewer connections",
        ),
        "cannot connect" => problem.with_help("is it running, and is the URL right?"),
        _ => problem,
    }
}
