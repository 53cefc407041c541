//! `wicket connector available | add`: connectors that come with the gate, taken into the configuration.
//!
//! Invariants: nothing is written with which the files would not load; no file that is there is changed;
//! either all files of a connector are written or none.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::ending::{Fault, Page};
use super::super::output::{Style, Table, counted};
use super::super::reach;
use super::super::settings::Settings;
use super::available::{AVAILABLE, Available};
use crate::app::{Files, Places};
use crate::connector::{self, Connector, HeaderValueSource, Transport};
use crate::control::{AdminReply, AdminRequest, Operator};
use crate::model::{Digest, ServiceKey, SourceFile};

/// `wicket connector available`
pub fn available(settings: &Settings) -> Page {
    let is_there = |one: &Available| descriptor_path(settings, one.service).exists();
    if settings.json {
        let all: Vec<_> = AVAILABLE
            .iter()
            .map(|one| json!({ "service": one.service, "about": one.about(), "configured": is_there(one) }))
            .collect();
        return Page::fine(format!("{:#}\n", json!(all)));
    }
    let mut table = Table::new(&["SERVICE", "CONFIGURED", "WHAT IT IS"]);
    for one in &AVAILABLE {
        let there = if is_there(one) { "yes" } else { "no" };
        table.row([one.service.to_owned(), there.to_owned(), one.about().to_owned()]);
    }
    Page::fine(table.render(0, settings.style))
}

fn descriptor_path(settings: &Settings, service: &str) -> PathBuf {
    settings.config.connectors.dir.join(format!("{service}.toml"))
}

/// `wicket connector add`
pub fn add(settings: &Settings, service: &ServiceKey) -> Result<Page, Fault> {
    let found = AVAILABLE.iter().find(|one| one.service == service.as_str());
    let found = found.ok_or_else(|| {
        let names: Vec<&str> = AVAILABLE.iter().map(|one| one.service).collect();
        Fault::usage(format!("no connector `{service}` comes with the gate")).with_help(format!(
            "there are {}; for another server write its file, as docs/guide/connectors.md shows",
            names.join(", ")
        ))
    })?;
    let (connectors, policies) = files_of(settings, found);
    if let Some((path, _)) = connectors.iter().chain(&policies).find(|(path, _)| path.exists()) {
        return Err(Fault::problem(format!("`{}` is there already", path.display()))
            .with_help("nothing was written: take it away first if you want it as it comes with the gate"));
    }
    let warnings = try_out(settings, &connectors, &policies)?;
    let written: Vec<&(PathBuf, &str)> = connectors.iter().chain(&policies).collect();
    write_all(&written)?;
    let source = SourceFile::new(&format!("{service}.toml"), found.descriptor);
    let connector = connector::read_descriptor(&source).map_err(|diagnostics| {
        Fault::problem("what was written does not read").with_diagnostics(diagnostics)
    })?;
    let in_force = reach::runtime()?.block_on(take_up(settings))?;
    let paths: Vec<String> = written.iter().map(|(path, _)| path.display().to_string()).collect();
    if settings.json {
        let page = json!({ "service": service, "written": paths, "needs": needs(&connector),
            "warnings": warnings, "bundle": in_force });
        return Ok(Page::fine(format!("{page:#}\n")));
    }
    Ok(Page::fine(render(&connector, &paths, warnings, in_force, settings.style)))
}

type Texts = Vec<(PathBuf, &'static str)>;

/// Where its files go. The lock comes first: the descriptor is nothing without it.
fn files_of(settings: &Settings, found: &Available) -> (Texts, Texts) {
    let (connectors, policies) = (&settings.config.connectors.dir, &settings.config.policies.dir);
    let service = found.service;
    (
        vec![
            (connectors.join(format!("{service}.tools.json")), found.lock),
            (connectors.join(format!("{service}.toml")), found.descriptor),
        ],
        found.policies.map(|text| (policies.join(format!("{service}.cedar")), text)).into_iter().collect(),
    )
}

/// Builds the bundle that the files would make; how many warnings it has.
fn try_out(settings: &Settings, connectors: &Texts, policies: &Texts) -> Result<usize, Fault> {
    let config = &settings.config;
    let places = Places {
        policies: config.policies.dir.clone(),
        connectors: config.connectors.dir.clone(),
        show: config.policies.show,
    };
    let sources = |texts: &Texts| {
        texts.iter().map(|(path, text)| SourceFile::new(&path.display().to_string(), text)).collect()
    };
    let built = Files::read(&places)
        .map(|files| files.with(sources(policies), sources(connectors)))
        .and_then(Files::build);
    built.map(|bundle| bundle.warnings().len()).map_err(|diagnostics| {
        Fault::problem("with this connector the policies and connectors would not load: nothing was written")
            .with_diagnostics(diagnostics)
            .with_help("mend these first; `wicket check` says whether they load without it")
    })
}

fn write_all(files: &[&(PathBuf, &str)]) -> Result<(), Fault> {
    let mut done: Vec<&Path> = Vec::new();
    for (path, text) in files {
        let opened = OpenOptions::new().write(true).create_new(true).open(path);
        let written = opened.and_then(|mut file| {
            done.push(path);
            file.write_all(text.as_bytes()).and_then(|()| file.sync_all())
        });
        if let Err(error) = written {
            for path in done {
                drop(std::fs::remove_file(path));
            }
            return Err(Fault::problem(format!("`{}` cannot be written: {error}", path.display())));
        }
    }
    Ok(())
}

/// What the connector wants of this machine: files that are missing, variables.
fn needs(connector: &Connector) -> Vec<String> {
    let missing = connector.requires.iter().filter(|path| !Path::new(path).exists());
    let mut needs: Vec<String> = missing.map(|path| format!("the file {path}")).collect();
    if let Transport::Http { headers, .. } = &connector.transport {
        needs.extend(headers.iter().filter_map(|(header, value)| match value {
            HeaderValueSource::Env(name) => {
                Some(format!("{name} in the gate's environment, the whole value of the header {header}"))
            }
            HeaderValueSource::Literal(_) => None,
        }));
    }
    needs
}

/// A gate that runs takes the files up now, not a moment later: the digest of what is in force then.
async fn take_up(settings: &Settings) -> Result<Option<Digest>, Fault> {
    let Ok(mut client) = reach::Gate::running(settings).await else { return Ok(None) };
    match client.ask(Operator::this_process(), &AdminRequest::Reload {}).await? {
        AdminReply::Reloaded(reloaded) => Ok(Some(reloaded.digest)),
        _ => Err(reach::unexpected()),
    }
}

fn render(
    connector: &Connector,
    written: &[String],
    warnings: usize,
    in_force: Option<Digest>,
    style: Style,
) -> String {
    let service = &connector.service;
    let mut text: String = written.iter().map(|path| format!("{} {path}\n", style.good("wrote"))).collect();
    for need in needs(connector) {
        text.push_str(&format!("{} {need}\n", style.warn("needs")));
    }
    if warnings > 0 {
        let counted = counted(warnings as u64, "warning", "warnings");
        text.push_str(&format!("{} {counted}: `wicket check`\n", style.warn("mind:")));
    }
    if let Some(digest) = in_force {
        text.push_str(&format!("{} {digest}\n", style.good("in force:")));
    }
    text.push_str(&format!(
        "next: wicket agent services AGENT --add {service}\n      wicket connector diff {service}     is the server as its lock says?\n"
    ));
    text
}
