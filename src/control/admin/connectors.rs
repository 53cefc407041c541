//! Connectors: what is configured, what an upstream serves now, and the lock that a person accepts.
//!
//! Invariant: a lock is written whole (beside, synced, renamed) and only by an operator's word; one with
//! which the policies would not load is tried out before, and not written without a word of its own for
//! that, so that a restart finds files that load; asking
//! an upstream changes nothing by itself, except that the first lock of a connector is written by
//! `sync`, with tiers as cautious as the upstream's own words allow.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Admin, Recorder, known};
use crate::connector::{self, Connector, Lock, LockedTool, OnChange, Transport};
use crate::control::reply::{ConnectorView, Drift, DriftChange, left_out_by_clients};
use crate::control::{AdminFault, AdminReply, FaultKind};
use crate::model::{Diagnostic, Digest, ServiceKey, SourceFile, Tier, Timestamp, ToolName};

/// Bytes of a lock file that are read.
const LOCK_BYTES_MAX: u64 = 64 << 20;

/// A lock on disk beside what the upstream serves.
struct Compared {
    path: PathBuf,
    old: Option<Lock>,
    new: Lock,
}

impl Admin {
    pub(super) fn list_connectors(&self) -> Result<AdminReply, AdminFault> {
        let bundle = self.live.bundle().map_err(|diagnostics| {
            AdminFault::rejected("the connectors do not load", diagnostics)
                .with_help("mend the files, then `wicket check`")
        })?;
        let mut views: Vec<_> = bundle.connectors().iter().map(view).collect();
        views.sort_by(|a, b| a.service.cmp(&b.service));
        Ok(AdminReply::Connectors(views))
    }

    pub(super) async fn diff_connector(&self, service: &ServiceKey) -> Result<AdminReply, AdminFault> {
        let compared = self.compare(service).await?;
        let mut drift = compared.drift(service);
        if compared.old.is_some() && !drift.changes.is_empty() {
            drift.breaks = self.broken_by(&compared.path, &compared.new).await?;
        }
        Ok(AdminReply::Drift(drift))
    }

    /// What would not load with this lock, and loads without it.
    async fn broken_by(&self, path: &Path, lock: &Lock) -> Result<Vec<Diagnostic>, AdminFault> {
        let text = written_form(lock)?;
        let Err(with) = self.live.try_out(SourceFile::new(&path.display().to_string(), &text)).await else {
            return Ok(Vec::new());
        };
        // Files that an operator is just writing may be broken by themselves.
        let place = path.to_path_buf();
        let Some(former) = off_thread(move || std::fs::read_to_string(&place).ok()).await? else {
            return Ok(with);
        };
        let now = self.live.try_out(SourceFile::new(&path.display().to_string(), &former)).await;
        let already = now.err().unwrap_or_default();
        Ok(with.into_iter().filter(|fault| !already.contains(fault)).collect())
    }

    pub(super) async fn sync_connector(
        &self,
        change: &Recorder<'_>,
        service: &ServiceKey,
    ) -> Result<AdminReply, AdminFault> {
        let compared = self.compare(service).await?;
        if compared.old.is_some() {
            return Ok(AdminReply::Drift(compared.drift(service)));
        }
        let lock = compared.new.clone();
        self.write_lock(change, service, compared, lock, false).await
    }

    pub(super) async fn accept_connector(
        &self,
        change: &Recorder<'_>,
        service: &ServiceKey,
        tools: &BTreeSet<ToolName>,
        tiers: &BTreeMap<ToolName, Tier>,
        anyway: bool,
    ) -> Result<AdminReply, AdminFault> {
        let compared = self.compare(service).await?;
        for tool in tools.iter().chain(tiers.keys()) {
            let name = tool.as_str();
            let is_known =
                compared.new.tool(name).or(compared.old.as_ref().and_then(|old| old.tool(name))).is_some();
            if !is_known {
                let served = compared.new.tools.iter().map(|tool| tool.name.as_str());
                return Err(AdminFault::not_found(format!("connector `{service}` has no tool `{tool}`"))
                    .with_help(known("tools that it serves", served)));
            }
        }
        let lock = merged(&compared, tools, tiers);
        self.write_lock(change, service, compared, lock, anyway).await
    }

    /// Writes the lock, loads it, and says what changed. With `anyway` it stays written where the files
    /// do not load with it.
    async fn write_lock(
        &self,
        change: &Recorder<'_>,
        service: &ServiceKey,
        compared: Compared,
        mut lock: Lock,
        anyway: bool,
    ) -> Result<AdminReply, AdminFault> {
        lock.accepted_at = Some(Timestamp::now());
        let text = written_form(&lock)?;
        let breaks = match compared.old {
            Some(_) => self.broken_by(&compared.path, &lock).await?,
            None => Vec::new(),
        };
        if !breaks.is_empty() && !anyway {
            return Err(would_not_load(service, &compared.path, Ok(()), breaks));
        }
        let before = compared.old.as_ref().map(summary);
        let after = summary(&lock);
        let path = compared.path.clone();
        let live = &self.live;
        let act = Box::pin(async move {
            let place = path.clone();
            let written = off_thread(move || {
                let former = std::fs::read(&place).ok();
                write_whole(&place, text.as_bytes()).map(|()| former)
            });
            let former = written.await?.map_err(|error| {
                AdminFault::unavailable(format!("`{}` cannot be written: {error}", path.display()))
                    .with_help("the gate's account must be able to write in the connectors' directory")
            })?;
            match live.reload().await {
                Ok(reloaded) => Ok((Some(reloaded.digest), Vec::new())),
                Err(diagnostics) if anyway => Ok((None, diagnostics)),
                Err(diagnostics) => {
                    let place = path.clone();
                    let back = off_thread(move || put_back(&place, former.as_deref())).await?;
                    // The files are as they were: nothing is left to be reported of them.
                    drop(live.reload().await);
                    Err(would_not_load(service, &path, back, diagnostics))
                }
            }
        });
        let (digest, breaks) = change.made(service.as_str(), json!(before), after, act).await?;
        let against = Compared { new: lock, ..compared };
        let mut drift = against.drift(service);
        drift.written = true;
        drift.bundle = digest;
        drift.breaks = breaks;
        Ok(AdminReply::Drift(drift))
    }

    async fn compare(&self, service: &ServiceKey) -> Result<Compared, AdminFault> {
        if service.as_str() == connector::builtin::SERVICE {
            return Err(AdminFault::invalid(format!(
                "connector `{service}` is part of the gate and has no lock"
            ))
            .with_help("its tools change with the version of the gate only"));
        }
        let (dir, named) = (self.places.connectors_dir.clone(), service.clone());
        let connector = off_thread(move || read_connector(&dir, &named)).await??;
        let definitions = self.live.definitions(&Arc::new(connector)).await.map_err(|reason| {
            AdminFault::unavailable(format!("connector `{service}` did not say what it serves: {reason}"))
                .with_help("is its server running and its address right? `wicket status` shows connectors")
        })?;
        let values = definitions
            .iter()
            .map(|definition| serde_json::from_str(&definition.raw))
            .collect::<Result<Vec<Value>, _>>()
            .map_err(|error| {
                AdminFault::unavailable(format!("a definition of `{service}` is no JSON: {error}"))
            })?;
        let path = self.places.connectors_dir.join(format!("{service}.tools.json"));
        let place = path.clone();
        let old = off_thread(move || read_lock(&place)).await??;
        let new = Lock::from_definitions(service, &values, old.as_ref()).map_err(|faults| {
            let listed: Vec<String> = faults.iter().map(ToString::to_string).collect();
            AdminFault::unavailable(format!(
                "what `{service}` serves cannot be locked: {}",
                listed.join("; ")
            ))
            .with_help("that is a fault of the upstream server: tell whoever runs it")
        })?;
        Ok(Compared { path, old, new })
    }
}

impl Compared {
    fn drift(&self, service: &ServiceKey) -> Drift {
        let nothing = Lock {
            service: service.clone(),
            server_info: self.new.server_info.clone(),
            accepted_at: None,
            tools: Vec::new(),
        };
        let changes = connector::diff(self.old.as_ref().unwrap_or(&nothing), &self.new);
        let lock_file = self.path.display().to_string();
        let warning = |tool: &LockedTool| left_out_by_clients(&lock_file, &tool.name, &tool.input_schema);
        let warnings = self.new.tools.iter().filter_map(warning).collect();
        Drift {
            service: service.clone(),
            lock_file,
            served: self.new.tools.len(),
            changes: changes.iter().map(change_view).collect(),
            written: false,
            bundle: None,
            breaks: Vec::new(),
            warnings,
        }
    }
}

/// The lock with the named tools (all, where none is named) as the upstream serves them now.
fn merged(compared: &Compared, only: &BTreeSet<ToolName>, tiers: &BTreeMap<ToolName, Tier>) -> Lock {
    let takes = |name: &ToolName| only.is_empty() || only.contains(name);
    let old = compared.old.iter().flat_map(|lock| &lock.tools).filter(|tool| !takes(&tool.name));
    let new = compared.new.tools.iter().filter(|tool| takes(&tool.name));
    let mut tools: Vec<LockedTool> = old.chain(new).cloned().collect();
    for tool in &mut tools {
        if let Some(tier) = tiers.get(&tool.name) {
            tool.tier = *tier;
        }
    }
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    Lock { tools, ..compared.new.clone() }
}

fn change_view(change: &connector::Change) -> DriftChange {
    use connector::Change as C;
    let detail = change.to_string();
    let (tool, kind, tier) = match change {
        C::Server { .. } => (None, "server", None),
        C::Added { tool, tier } => (Some(tool), "added", Some(*tier)),
        C::Removed { tool, tier } => (Some(tool), "removed", Some(*tier)),
        C::Changed { tool, .. } => (Some(tool), "changed", None),
    };
    DriftChange { tool: tool.cloned(), kind: kind.to_owned(), tier, detail }
}

fn written_form(lock: &Lock) -> Result<String, AdminFault> {
    lock.to_json().map_err(|reason| AdminFault::unavailable(format!("the lock cannot be written: {reason}")))
}

/// A lock as the journal keeps it: names, tiers and digests, not the texts.
fn summary(lock: &Lock) -> Value {
    let tools: BTreeMap<&str, (Tier, Digest)> =
        lock.tools.iter().map(|tool| (tool.name.as_str(), (tool.tier, tool.digest))).collect();
    json!(tools)
}

fn view(connector: &Arc<Connector>) -> ConnectorView {
    let mut tiers = BTreeMap::new();
    for tool in connector.tools.values() {
        *tiers.entry(tool.tier).or_insert(0usize) += 1;
    }
    let (transport, target) = match &connector.transport {
        Transport::InProcess => ("in process", "part of the gate".to_owned()),
        // What stands after `?` may be a token.
        Transport::Http { url, .. } => ("http", url.split('?').next().unwrap_or_default().to_owned()),
        Transport::Stdio { command, .. } => ("stdio", command.clone()),
    };
    ConnectorView {
        service: connector.service.clone(),
        display_name: connector.display_name.clone(),
        transport: transport.to_owned(),
        target,
        tools: connector.tools.len(),
        tiers,
        on_change: match connector.on_change {
            OnChange::Quarantine => "quarantine",
            OnChange::Report => "report",
            OnChange::Allow => "allow",
        }
        .to_owned(),
    }
}

/// The connector's own file, without its lock: it need not have one yet.
fn read_connector(dir: &Path, service: &ServiceKey) -> Result<Connector, AdminFault> {
    let path = dir.join(format!("{service}.toml"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(AdminFault::not_found(format!(
                "no connector `{service}`: there is no `{}`",
                path.display()
            ))
            .with_help("write that file first; `wicket connector list` shows the connectors that load"));
        }
        Err(error) => {
            return Err(AdminFault::unavailable(format!("`{}` cannot be read: {error}", path.display())));
        }
    };
    connector::read_descriptor(&SourceFile::new(&path.display().to_string(), &text)).map_err(|diagnostics| {
        AdminFault::rejected(format!("connector `{service}` cannot be read"), diagnostics)
    })
}

fn read_lock(path: &Path) -> Result<Option<Lock>, AdminFault> {
    let fault = |error: std::io::Error| {
        AdminFault::unavailable(format!("`{}` cannot be read: {error}", path.display()))
    };
    let text = match std::fs::metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
        Ok(metadata) if metadata.len() > LOCK_BYTES_MAX => {
            return Err(fault(std::io::Error::other(format!("it is larger than {LOCK_BYTES_MAX} bytes"))));
        }
        Ok(_) => std::fs::read_to_string(path).map_err(fault)?,
    };
    Lock::parse(&SourceFile::new(&path.display().to_string(), &text))
        .map(Some)
        .map_err(|diagnostics| AdminFault::rejected("the lock on disk cannot be read", diagnostics))
}

fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = path.with_extension("json.new");
    let mut file = File::create(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
}

/// The file as it was before, or none where there was none.
fn put_back(path: &Path, former: Option<&[u8]>) -> std::io::Result<()> {
    former.map_or_else(|| std::fs::remove_file(path), |former| write_whole(path, former))
}

/// Says which policies stand in the way of a lock, and what of it is on disk.
fn would_not_load(
    service: &ServiceKey,
    path: &Path,
    back: std::io::Result<()>,
    diagnostics: Vec<Diagnostic>,
) -> AdminFault {
    match back {
        Ok(()) => AdminFault::rejected(
            format!(
                "with the tools that `{service}` serves now the policies would not load: nothing was accepted"
            ),
            diagnostics,
        )
        .with_help(
            "take out of these policies what is no longer there, then accept again; where policies and lock can \
             only change together, `--write-anyway` writes the lock first and the old set stays in force meanwhile",
        ),
        Err(error) => {
            let what = format!(
                "`{}` is written and cannot be taken back ({error}), but with it the files do not load; what was in force stays",
                path.display()
            );
            let mut fault = AdminFault::rejected(what, diagnostics);
            fault.kind = FaultKind::Partial;
            fault.with_help("mend the policies that name what changed, then `wicket reload`")
        }
    }
}

/// File work, off the threads that answer.
async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AdminFault> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| AdminFault::unavailable("the work on files broke off: the gate is stopping"))
}
