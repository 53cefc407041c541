//! Policy files, read into policies with stable keys.
//!
//! Invariants: a key stands in exactly one place; a file with one fault gives no policy at all; the
//! Cedar policy carries its `@id` as its id, so that audit and counters speak of the same name.

mod nesting;

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::ast::{self, Policy, PolicyID};
use cedar_policy_core::parser;

use super::question::{Effect, PolicyInfo, Show};
use crate::model::{Diagnostic, PolicyKey, SourceFile};

/// Characters of a `@denyMessage` (specification 4.1).
const DENY_MESSAGE_CHARS_MAX: usize = 500;
/// Characters of a `@name`.
const NAME_CHARS_MAX: usize = 200;
/// Bytes of one policy file.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Policies in all files together.
const POLICIES_MAX: usize = 20_000;
/// Annotations with a meaning here.
const ANNOTATIONS: [&str; 5] = ["id", "name", "denyMessage", "show", "description"];

/// One policy as it was read.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) policy: Policy,
    pub(super) info: PolicyInfo,
    pub(super) deny_message: Option<Arc<str>>,
    /// Which of the sources it stands in.
    pub(super) file: usize,
    /// The byte offset of its first character.
    pub(super) offset: usize,
}

/// What the files hold.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub(super) policies: Vec<Parsed>,
    pub(super) faults: Vec<Diagnostic>,
    pub(super) warnings: Vec<Diagnostic>,
}

/// Reads files in the order that they are given in.
pub(super) fn read(files: &[SourceFile]) -> Reading {
    let mut reading = Reading::default();
    for (index, file) in files.iter().enumerate() {
        reading.file(index, file);
    }
    reading.refuse_duplicates(files);
    if reading.policies.len() > POLICIES_MAX {
        let message = format!("{} policies are too many: {POLICIES_MAX} at most", reading.policies.len());
        reading.faults.push(Diagnostic::of_file("policies", message));
    }
    reading
}

impl Reading {
    fn file(&mut self, index: usize, file: &SourceFile) {
        if file.text.len() > FILE_BYTES_MAX {
            let message = format!("the file has {} bytes, {FILE_BYTES_MAX} at most", file.text.len());
            return self.faults.push(Diagnostic::of_file(&file.name, message));
        }
        if let Err((offset, message)) = nesting::check(&file.text) {
            let help = "split it into several policies, or several values";
            return self.faults.push(Diagnostic::at(file, offset, message).with_help(help));
        }
        let (texts, set) = match parser::parse_policyset_and_also_return_policy_text(&file.text) {
            Ok(parsed) => parsed,
            Err(errors) => {
                return self
                    .faults
                    .extend(errors.iter().map(|error| located(file, error, &error.to_string())));
            }
        };
        for template in set.templates() {
            let offset = template.loc().map_or(0, |loc| loc.start());
            self.faults.push(
                Diagnostic::at(file, offset, "a policy with `?principal` or `?resource` is a template")
                    .with_help(
                        "nothing fills templates here: write one policy for each principal or resource",
                    ),
            );
        }
        let mut found: Vec<&Policy> = set.static_policies().collect();
        found.sort_by_key(|policy| policy.loc().map_or(0, |loc| loc.start()));
        for policy in found {
            let text = texts.get(policy.id()).copied().flatten().unwrap_or_default();
            self.policy(index, file, policy, text);
        }
    }

    fn policy(&mut self, index: usize, file: &SourceFile, policy: &Policy, text: &str) {
        let offset = policy.loc().map_or(0, |loc| loc.start());
        let mut annotations = BTreeMap::new();
        for (name, annotation) in policy.annotations() {
            let name: &str = name.as_ref();
            annotations.insert(name.to_owned(), annotation.val.to_string());
            if !ANNOTATIONS.contains(&name) {
                let at = annotation.loc.as_ref().map_or(offset, |loc| loc.start());
                self.warnings.push(
                    Diagnostic::at(file, at, format!("the annotation `@{name}` means nothing here"))
                        .with_help(format!("known are @{}", ANNOTATIONS.join(", @"))),
                );
            }
        }
        match self.info(file, offset, policy, annotations, text) {
            Err(fault) => self.faults.push(fault),
            Ok((info, deny_message)) => {
                let policy = policy.new_id(PolicyID::from_string(info.key.as_str()));
                self.policies.push(Parsed { policy, info, deny_message, file: index, offset });
            }
        }
    }

    fn info(
        &mut self,
        file: &SourceFile,
        offset: usize,
        policy: &Policy,
        annotations: BTreeMap<String, String>,
        text: &str,
    ) -> Result<(PolicyInfo, Option<Arc<str>>), Diagnostic> {
        let fault = |message: String, help: &str| Diagnostic::at(file, offset, message).with_help(help);
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
        let show = match annotations.get("show").map(String::as_str) {
            None | Some("plain") => Show::Plain,
            Some("hidden") => Show::Hidden,
            Some("actionable") => Show::Actionable,
            Some(other) => {
                let message = format!("`@show` is `{}`", other.escape_default());
                return Err(fault(message, "hidden, plain or actionable"));
            }
        };
        let effect = match policy.effect() {
            ast::Effect::Permit => Effect::Permit,
            ast::Effect::Forbid => Effect::Forbid,
        };
        if effect == Effect::Permit && deny_message.is_some() {
            self.warnings.push(
                Diagnostic::at(file, offset, format!("the permit `{key}` has a `@denyMessage`"))
                    .with_help("only a forbid denies: move the message to one"),
            );
        }
        let line = file.position(offset).0;
        let (name, text) = (Arc::from(name), Arc::from(text));
        let file = Arc::clone(&file.name);
        Ok((PolicyInfo { key, name, effect, show, file, line, annotations, text }, deny_message))
    }

    fn refuse_duplicates(&mut self, files: &[SourceFile]) {
        let mut seen: BTreeMap<&PolicyKey, &Parsed> = BTreeMap::new();
        let mut faults = Vec::new();
        for parsed in &self.policies {
            let Some(first) = seen.insert(&parsed.info.key, parsed) else {
                continue;
            };
            if let Some(file) = files.get(parsed.file) {
                let message = format!("the id `{}` is taken", parsed.info.key);
                let help =
                    format!("it stands at {}:{} already: choose another", first.info.file, first.info.line);
                faults.push(Diagnostic::at(file, parsed.offset, message).with_help(help));
            }
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
pub(super) fn located(file: &SourceFile, error: &dyn miette::Diagnostic, message: &str) -> Diagnostic {
    let label = error.labels().and_then(|mut labels| labels.next());
    let expected = label.as_ref().and_then(|label| label.label()).map(str::to_owned);
    let help = error.help().map(|help| help.to_string()).or(expected);
    let fault = match label {
        Some(label) => Diagnostic::at(file, label.offset(), message),
        None => Diagnostic::of_file(&file.name, message),
    };
    match help {
        Some(help) => fault.with_help(help),
        None => fault,
    }
}
