//! `wicket policy test --watch`: the cases again, whenever a file that they rest on changes.
//!
//! Invariants: an edit over several files is taken as one; what cannot be read or does not load is shown,
//! and waited out; the terminal is cleared only where there is one.

use std::io::IsTerminal as _;
use std::path::Path;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc::{Receiver, channel};

use super::trial;
use crate::cli::arguments::trial::TrialArguments;
use crate::cli::ending::{Fault, Page};
use crate::cli::output::{Style, print_on};
use crate::cli::reach;
use crate::cli::settings::Settings;

/// Without a change for so long, an edit is over.
const QUIET: Duration = Duration::from_millis(150);
/// Clears the screen and what was scrolled off it, and goes to its beginning.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J\u{1b}[3J";

/// Runs until Ctrl-C, or until nobody reads any more.
pub fn page(settings: &Settings, asked: &TrialArguments) -> Result<Page, Fault> {
    let config = &settings.config;
    let (sender, mut changes) = channel(1);
    let mut watched: Vec<&Path> = vec![&config.policies.dir, &config.connectors.dir];
    watched.extend(asked.with.iter().map(std::path::PathBuf::as_path));
    let handler = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // A full queue means that a run is due anyway.
            let _due = sender.try_send(());
        }
    };
    let unwatched = |error: notify::Error| Fault::problem(format!("the files cannot be watched: {error}"));
    let mut watcher: RecommendedWatcher = notify::recommended_watcher(handler).map_err(unwatched)?;
    for place in watched {
        watcher.watch(place, RecursiveMode::Recursive).map_err(unwatched)?;
    }
    reach::with_runtime(async {
        loop {
            if !print_on(&shown(settings, asked)) {
                return Ok(Page::fine(""));
            }
            tokio::select! {
                () = edited(&mut changes) => {}
                _ = tokio::signal::ctrl_c() => return Ok(Page::fine("")),
            }
        }
    })
}

/// One run, with what went wrong in the place of a result.
fn shown(settings: &Settings, asked: &TrialArguments) -> String {
    let clear = if std::io::stdout().is_terminal() { CLEAR } else { "" };
    let text = match trial::page(settings, asked) {
        Ok(page) => page.text,
        Err(fault) => fault.render(Style { colour: settings.style.colour }),
    };
    let waits = settings.style.faint("waiting for a change; Ctrl-C ends it");
    format!("{clear}{text}{waits}\n")
}

/// Waits for a change, and until no more come.
async fn edited(changes: &mut Receiver<()>) {
    if changes.recv().await.is_none() {
        // No watcher, no change.
        std::future::pending::<()>().await;
    }
    while tokio::time::timeout(QUIET, changes.recv()).await.is_ok_and(|change| change.is_some()) {}
}
