//! Policy files, read into policies with stable keys.
//!
//! Invariants: a key stands in exactly one place; a file with one fault gives no policy at all; the
//! Cedar policy carries its `@id` as its id, so that audit and counters speak of the same name; a piece
//! of a file that was read before is not parsed again, and gives what it gave.

mod nesting;
mod split;
mod written;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::{self, Policy};
use cedar_policy_core::parser;

pub(super) use self::nesting::check as is_flat;
use self::split::Piece;
pub(super) use self::split::after;
use self::written::Note;
pub(super) use self::written::{Declared, Placed, Written};
use super::engine::Body;
use super::index::Scope;
use super::question::Effect;
use super::reads::{CounterReach, Reach, Reads};
use super::strip::strip;
use crate::model::Show;
use crate::model::{Diagnostic, PolicyId, PolicyKey, PolicyMode, PolicyRef, SourceFile};

/// Characters of a `@denyMessage` (specification 4.1).
const DENY_MESSAGE_CHARS_MAX: usize = 500;
/// Characters of a `@name`.
const NAME_CHARS_MAX: usize = 200;
/// Bytes of one policy file.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Policies in all files together.
const POLICIES_MAX: usize = 20_000;
/// Annotations with a meaning here.
const ANNOTATIONS: [&str; 6] = ["id", "name", "denyMessage", "show", "mode", "description"];

/// The policies that were read before, by the texts of their pieces.
pub(super) type Known = HashMap<Arc<str>, Arc<Written>>;

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) policies: Vec<Placed>,
    pub(super) faults: Vec<Diagnostic>,
}

/// Reads files in the order that they are given in.
pub(super) fn read(files: &[SourceFile], known: &Known, default: Show) -> Reading {
    let mut reading = Reading::default();
    for file in files {
        match of_file(file, known, default) {
            Ok(policies) => reading.policies.extend(policies),
            Err(faults) => reading.faults.extend(faults),
        }
    }
    reading.refuse_duplicates();
    if reading.policies.len() > POLICIES_MAX {
        let message = format!("{} policies are too many: {POLICIES_MAX} at most", reading.policies.len());
        reading.faults.push(Diagnostic::of_file("policies", message));
    }
    reading
}

/// Reads the text of one stored policy, which carries its `@id` already: this version of it. Its mode is the
/// store's, whatever the text says.
pub(super) fn read_stored(
    file: &SourceFile,
    stored: (PolicyId, u32),
    default: Show,
) -> Result<Placed, Vec<Diagnostic>> {
    let mut policies = of_file(file, &Known::new(), default)?;
    let placed = match (policies.pop(), policies.is_empty()) {
        (Some(placed), true) => placed,
        _ => return Err(vec![Diagnostic::of_file(&file.name, "one policy is expected, and nothing else")]),
    };
    Ok(placed.of_stored(stored))
}

fn of_file(file: &SourceFile, known: &Known, default: Show) -> Result<Vec<Placed>, Vec<Diagnostic>> {
    if file.text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, {FILE_BYTES_MAX} at most", file.text.len());
        return Err(vec![Diagnostic::of_file(&file.name, message)]);
    }
    let (mut policies, mut faults) = (Vec::new(), Vec::new());
    for piece in split::split(&file.text) {
        if let Some(written) = known.get(piece.text) {
            policies.push(Placed::new(Arc::clone(written), file, piece));
            continue;
        }
        match of_piece(file, piece, default) {
            Ok(None) => {}
            Ok(Some(written)) => policies.push(Placed::new(Arc::new(written), file, piece)),
            Err(Fault::Cedar) => return Err(of_whole(file)),
            Err(Fault::Ours(found)) => faults.push(*found),
        }
    }
    if faults.is_empty() { Ok(policies) } else { Err(faults) }
}

/// Why a piece is no policy.
enum Fault {
    /// Cedar cannot parse it.
    Cedar,
    /// It parses, and yet cannot be taken.
    Ours(Box<Diagnostic>),
}

/// The faults that Cedar finds in a file one piece of which it refused: all of them, as it sees them in
/// the whole.
fn of_whole(file: &SourceFile) -> Vec<Diagnostic> {
    if let Err((offset, message)) = nesting::check(&file.text) {
        let help = "split it into several policies, or several values";
        return vec![Diagnostic::at(file, offset, message).with_help(help)];
    }
    match parser::parse_policyset_and_also_return_policy_text(&file.text) {
        Err(errors) => errors.iter().map(|error| located(file, error, &error.to_string())).collect(),
        Ok(_) => vec![Diagnostic::of_file(&file.name, "its policies cannot be told apart")],
    }
}

/// The policy of one piece; `None` where it holds comments alone.
fn of_piece(file: &SourceFile, piece: Piece<'_>, default: Show) -> Result<Option<Written>, Fault> {
    if nesting::check(piece.text).is_err() {
        return Err(Fault::Cedar);
    }
    let parsed = parser::parse_policyset_and_also_return_policy_text(piece.text);
    let (texts, set) = parsed.map_err(|_| Fault::Cedar)?;
    let ours = |offset: usize, message: &str, help: &str| {
        let fault = Diagnostic::at(file, piece.start + offset, message).with_help(help);
        Fault::Ours(Box::new(fault))
    };
    if let Some(template) = set.templates().next() {
        let offset = template.loc().map_or(0, |loc| loc.start());
        let help = "nothing fills templates here: write one policy for each principal or resource";
        return Err(ours(offset, "a policy with `?principal` or `?resource` is a template", help));
    }
    let mut found = set.static_policies();
    let Some(policy) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(Fault::Cedar);
    }
    let text = texts.get(policy.id()).copied().flatten().unwrap_or(piece.text);
    match written(piece.text, text, policy, default) {
        Ok(written) => Ok(Some(written)),
        Err((message, help)) => Err(ours(policy.loc().map_or(0, |loc| loc.start()), &message, &help)),
    }
}

/// What there is to keep of a policy, or what is wrong with its annotations and what to do.
fn written(piece: &str, text: &str, policy: &Policy, default: Show) -> Result<Written, (String, String)> {
    let start = policy.loc().map_or(0, |loc| loc.start());
    let mut notes = Vec::new();
    let mut annotations = BTreeMap::new();
    for (name, annotation) in policy.annotations() {
        let name: &str = name.as_ref();
        annotations.insert(name.to_owned(), annotation.val.to_string());
        if !ANNOTATIONS.contains(&name) {
            let offset = annotation.loc.as_ref().map_or(start, |loc| loc.start());
            let message = format!("the annotation `@{name}` means nothing here");
            notes.push(Note { offset, message, help: format!("known are @{}", ANNOTATIONS.join(", @")) });
        }
    }
    let body = body(text, policy, &annotations, default)?;
    let reads = Reads::of(policy.non_scope_constraints());
    notes.extend(remarks(&body, &reads).map(|(message, help)| Note { offset: start, message, help }));
    let piece: Arc<str> = if *piece == *body.text { Arc::clone(&body.text) } else { Arc::from(piece) };
    let declared = declared(reads);
    Ok(Written { piece, body: Arc::new(body), annotations: Arc::new(annotations), start, declared, notes })
}

/// What a policy says.
fn body(
    text: &str,
    policy: &Policy,
    annotations: &BTreeMap<String, String>,
    default: Show,
) -> Result<Body, (String, String)> {
    let fault = |message: String, help: &str| (message, help.to_owned());
    let id = annotations.get("id").ok_or_else(|| {
        let help = "add a line such as @id(\"no-deletes\"): audit and counters know the policy by it";
        fault("the policy has no `@id`".to_owned(), help)
    })?;
    let key = PolicyKey::parse(id).map_err(|error| fault(error.to_string(), "change the `@id`"))?;
    let name = annotations.get("name").map_or(key.as_str(), String::as_str);
    limited(name, NAME_CHARS_MAX).map_err(|why| fault(format!("`@name` {why}"), "shorten it"))?;
    let deny_message = annotations.get("denyMessage").map(|text| Arc::from(text.as_str()));
    if let Some(message) = &deny_message {
        limited(message, DENY_MESSAGE_CHARS_MAX)
            .map_err(|why| fault(format!("`@denyMessage` {why}"), "shorten it"))?;
    }
    let show = annotations.get("show").map_or(Ok(default), |text| {
        let unknown =
            || fault(format!("`@show` is `{}`", text.escape_default()), "hidden, plain or actionable");
        Show::parse(text).ok_or_else(unknown)
    })?;
    let mode = match annotations.get("mode").map(String::as_str) {
        None | Some("enforced") => PolicyMode::Enforced,
        Some("shadow") => PolicyMode::Shadow,
        Some("off") => PolicyMode::Off,
        Some(other) => {
            let message = format!("`@mode` is `{}`", other.escape_default());
            return Err(fault(message, "enforced, shadow or off"));
        }
    };
    let effect = match policy.effect() {
        ast::Effect::Permit => Effect::Permit,
        ast::Effect::Forbid => Effect::Forbid,
    };
    Ok(Body {
        effect,
        show,
        mode,
        reference: PolicyRef { name: Arc::from(name), key, version: 0, id: None },
        deny_message,
        scope: Scope::of(policy),
        condition: policy.non_scope_constraints().map(strip),
        text: Arc::from(text),
        located: OnceLock::new(),
    })
}

/// What the operator should know of a policy, whatever the schema.
fn remarks(body: &Body, reads: &Reads) -> impl Iterator<Item = (String, String)> {
    let key = &body.reference.key;
    let messages = (body.effect == Effect::Permit && body.deny_message.is_some()).then(|| {
        let message = format!("the permit `{key}` has a `@denyMessage`");
        (message, "only a forbid denies: move the message to one".to_owned())
    });
    // A forbid over counters of the conversation alone is escaped by opening another (decision 9).
    let read = |name: &str| !reads.context.beneath(name).is_nothing();
    let alone = (body.effect == Effect::Forbid && read("session") && !read("member")).then(|| {
        let message = format!("the forbid `{key}` counts in `context.session` alone");
        (message, "a new conversation starts at 0: limit `context.member` as well".to_owned())
    });
    let mode = match body.mode {
        PolicyMode::Enforced => None,
        PolicyMode::Shadow => Some("it is evaluated and recorded, and decides nothing"),
        PolicyMode::Off => Some("it is as if it were not there"),
    };
    let mode = mode.map(|what| {
        let message = format!("the {} `{key}` is in mode `{}`: {what}", body.effect, body.mode.as_str());
        (message, "`@mode(\"enforced\")`, or no `@mode`, puts it in force".to_owned())
    });
    messages.into_iter().chain(alone).chain(mode)
}

fn declared(reads: Reads) -> Declared {
    let counters = |name: &str| {
        let reach = reads.context.beneath(name);
        (!reach.is_nothing()).then(|| CounterReach::of(&reach))
    };
    let all_zones = reads.context.beneath("time").beneath("zones") == Reach::Whole;
    Declared { session: counters("session"), member: counters("member"), zones: reads.zones, all_zones }
}

impl Reading {
    fn refuse_duplicates(&mut self) {
        let mut seen: HashMap<&PolicyKey, &Placed> = HashMap::with_capacity(self.policies.len());
        let mut faults = Vec::new();
        for placed in &self.policies {
            let key = &placed.written.body.reference.key;
            let Some(first) = seen.insert(key, placed) else {
                continue;
            };
            let first = first.finding_here("");
            let help = format!("it stands at {}:{} already: choose another", first.file, first.line);
            faults.push(placed.finding_here(format!("the id `{key}` is taken")).with_help(help));
        }
        self.faults.extend(faults);
    }
}

/// Whether a text is short enough and holds nothing that would disturb a terminal or a log.
fn limited(text: &str, chars_max: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.chars().count() > chars_max {
        return Err(format!("has {} characters, {chars_max} at most", text.chars().count()));
    }
    if text.chars().any(|c| c.is_control() && c != '\n') {
        return Err("holds a control character".to_owned());
    }
    Ok(())
}

/// A fault that Cedar found, at its place in the file.
fn located(file: &SourceFile, error: &dyn miette::Diagnostic, message: &str) -> Diagnostic {
    with_details(error, |offset| match offset {
        Some(offset) => Diagnostic::at(file, offset, message),
        None => Diagnostic::of_file(&file.name, message),
    })
}

/// A finding of Cedar's, with what it says beside its message; `at` makes one for a byte of the text.
pub(super) fn with_details(
    finding: &dyn miette::Diagnostic,
    at: impl FnOnce(Option<usize>) -> Diagnostic,
) -> Diagnostic {
    let label = finding.labels().and_then(|mut labels| labels.next());
    let expected = label.as_ref().and_then(|label| label.label()).map(str::to_owned);
    let help = finding.help().map(|help| help.to_string()).or(expected);
    let fault = at(label.map(|label| label.offset()));
    match help {
        Some(help) => fault.with_help(help),
        None => fault,
    }
}

#[cfg(test)]
mod tests;
