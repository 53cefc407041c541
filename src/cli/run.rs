//! `wicket run`: the first run's agent and key, then the gate itself.

use super::ending::{Ending, Fault, Page};
use super::minted;
use super::output::{self, Style, one_line};
use super::reach;
use super::settings::Settings;
use crate::app::{self, App, StartFault, Stop};
use crate::control::Operator;
use crate::control::admin::FirstRun;
use crate::control::reply::AgentView;
use crate::control::socket::client::{AdminClient, Unreachable};

/// `wicket run`
pub fn run(settings: Settings, first_run: bool, new_key: bool) -> Result<Page, Fault> {
    let runtime = reach::runtime()?;
    runtime.block_on(refuse_second(&settings))?;
    if first_run {
        let said = runtime.block_on(set_up(&settings, new_key))?;
        output::print(&said);
    }
    // The gate brings its own runtimes; none may be entered while it starts.
    drop(runtime);
    serve(settings)
}

/// A second gate on one data directory would fail at the lock; this says so in better words.
async fn refuse_second(settings: &Settings) -> Result<(), Fault> {
    match AdminClient::connect(&settings.socket()).await {
        Err(Unreachable::NotRunning { .. }) => Ok(()),
        Err(silent @ Unreachable::Silent { .. }) => Err(reach::unreachable_fault(&silent)),
        Ok(_) => {
            Err(Fault::problem(format!("a gate runs already on `{}`", settings.config.data_dir.display()))
                .with_help("`wicket status` shows it; a second one needs a --data-dir and ports of its own"))
        }
    }
}

async fn set_up(settings: &Settings, new_key: bool) -> Result<String, Fault> {
    let held = reach::hold(settings, "run").await?;
    let first = held.admin.first_run(Operator::this_process(), new_key).await;
    make_scratch(settings)?;
    drop(held.close().await);
    Ok(match first? {
        FirstRun::Minted(minted) => format!("{}\n", minted::render(&minted, settings.style)),
        FirstRun::Kept(view) => kept(&view, &settings.agents_url(), settings.style),
    })
}

/// The folder that the file server of the example may touch, beside what is the gate's own.
fn make_scratch(settings: &Settings) -> Result<(), Fault> {
    let scratch = settings.config.data_dir.join("scratch");
    std::fs::create_dir_all(&scratch).map_err(|error| {
        Fault::problem(format!("`{}` cannot be made: {error}", scratch.display()))
            .with_help("the gate's account must be able to write in its data directory")
    })
}

fn kept(view: &AgentView, url: &str, style: Style) -> String {
    let keys: Vec<String> = view
        .members
        .iter()
        .flat_map(|member| {
            member.keys.iter().map(|key| format!("{} …{}", member.member.name, key.display_suffix))
        })
        .collect();
    let keys = if keys.is_empty() { "none".to_owned() } else { keys.join(", ") };
    format!(
        "{} agent {} from an earlier run\n  URL  {url}\n  keys {}\n  a key is shown once only; for a new one: wicket run --first-run --new-key\n\n",
        style.strong("kept"),
        one_line(&view.agent.name),
        one_line(&keys)
    )
}

/// Serves until the gate is told to stop.
fn serve(settings: Settings) -> Result<Page, Fault> {
    app::start_log(&settings.config.log).map_err(Fault::usage)?;
    let running = App::start_with(settings.config, Stop::SignalsAndHandle).map_err(|fault| match fault {
        StartFault::Files(diagnostics) => Fault::problem("the gate does not start: its files do not load")
            .with_diagnostics(diagnostics)
            .with_help("mend them; `wicket check` reads them again without starting anything"),
        StartFault::Other(message) => Fault::problem(format!("the gate does not start: {message}")),
    })?;
    output::print(&format!(
        "listening agents={} control={}\n",
        running.agents_address, running.control_address
    ));
    running.wait();
    Ok(Page::with_ending("", Ending::Fine))
}
