//! The form of `invariants.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{Invariant, Never};
use crate::connector::Connectors;
use crate::model::{Diagnostic, GroupName, PolicyKey, ServiceKey, SourceFile, Tier};
use crate::policy::argument::quoted;
use crate::policy::schema::NAMESPACE;

/// Invariants in one file.
const INVARIANTS_MAX: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default, rename = "invariant")]
    invariants: Vec<Spanned<RawInvariant>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInvariant {
    name: String,
    why: Option<String>,
    /// A whole Cedar policy: what it forbids, or permits, the set must forbid, or permit.
    must: Option<String>,
    never: Option<RawNever>,
    /// Kept by forbids alone, whatever else is permitted.
    #[serde(default)]
    guardrail: bool,
    #[serde(default)]
    tools: Vec<String>,
    #[serde(default)]
    tiers: Vec<Tier>,
    #[serde(default)]
    services: Vec<ServiceKey>,
    #[serde(default)]
    groups: Vec<GroupName>,
    #[serde(default)]
    not_groups: Vec<GroupName>,
    when: Option<String>,
    unless: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum RawNever {
    Allow,
    Deny,
}

impl RawInvariant {
    fn has_parts(&self) -> bool {
        let Self { never, tools, tiers, services, groups, not_groups, when, unless, .. } = self;
        let lists = [tools.is_empty(), tiers.is_empty(), services.is_empty(), groups.is_empty()];
        never.is_some()
            || when.is_some()
            || unless.is_some()
            || !not_groups.is_empty()
            || lists.contains(&false)
    }
}

/// The name of the file in which the policy of an invariant is built.
pub(super) fn name_of(key: &PolicyKey) -> String {
    format!("{key}.cedar")
}

/// The invariants, and a policy for each.
pub(super) fn read(
    source: &SourceFile,
    connectors: &Connectors,
) -> Result<(Vec<Invariant>, Vec<SourceFile>), Vec<Diagnostic>> {
    let raw: RawFile = toml::from_str(&source.text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        let help = "docs/guide/prove-an-invariant.md shows every key of an invariant";
        vec![Diagnostic::at(source, offset, error.message()).with_help(help)]
    })?;
    if raw.invariants.len() > INVARIANTS_MAX {
        let message = format!("{} invariants are too many: {INVARIANTS_MAX} at most", raw.invariants.len());
        return Err(vec![Diagnostic::of_file(&source.name, message)]);
    }
    let (mut all, mut policies, mut faults) = (Vec::new(), Vec::new(), Vec::new());
    for (number, raw) in raw.invariants.into_iter().enumerate() {
        let (offset, raw) = (raw.span().start, raw.into_inner());
        let fault = |(why, help): (String, &str)| {
            let message = format!("the invariant `{}`: {why}", raw.name.escape_default());
            Diagnostic::at(source, offset, message).with_help(help)
        };
        let written = text(&raw, connectors).and_then(|text| {
            let key = PolicyKey::parse(&format!("invariant-{}", number + 1));
            Ok((text, key.map_err(|error| (error.to_string(), "tell the makers"))?))
        });
        match written {
            Err(why) => faults.push(fault(why)),
            Ok((text, key)) => {
                let text = format!("@id(\"{key}\") {text}\n");
                policies.push(SourceFile::new(&name_of(&key), &text));
                all.push(Invariant {
                    name: raw.name,
                    why: raw.why,
                    guardrail: raw.guardrail,
                    // What a `must` says of it, its policy tells.
                    never: if raw.never == Some(RawNever::Deny) { Never::Deny } else { Never::Allow },
                    file: source.name.to_string(),
                    line: source.position(offset).0,
                    key,
                });
            }
        }
    }
    if faults.is_empty() { Ok((all, policies)) } else { Err(faults) }
}

/// An invariant as a policy, or what is wrong with it and what to do.
fn text(raw: &RawInvariant, connectors: &Connectors) -> Result<String, (String, &'static str)> {
    match (&raw.must, raw.never) {
        (Some(_), _) if raw.has_parts() => {
            Err(("`must` says all of it".to_owned(), "leave out the other keys but `name` and `why`"))
        }
        (Some(must), _) => Ok(must.clone()),
        (None, None) => {
            let help = "write never = \"allow\", never = \"deny\", or a whole policy as `must`";
            Err(("it says neither `never` nor `must`".to_owned(), help))
        }
        (None, Some(never)) => of_parts(raw, never, connectors),
    }
}

fn of_parts(
    raw: &RawInvariant,
    never: RawNever,
    connectors: &Connectors,
) -> Result<String, (String, &'static str)> {
    if !raw.tools.is_empty() && !raw.tiers.is_empty() {
        return Err(("`tools` and `tiers` together".to_owned(), "name the tools, or the tiers"));
    }
    let mut actions: Vec<String> =
        raw.tiers.iter().map(|tier| format!("{NAMESPACE}::Action::{}", quoted(tier.as_str()))).collect();
    for name in &raw.tools {
        let (_, tool) = connectors.tool(name).ok_or_else(|| {
            let help = "`wicket connector list` shows the connectors, `wicket policy schema` the tools";
            (format!("no lock has the tool `{}`", name.escape_default()), help)
        })?;
        actions.push(tool.action.clone());
    }
    let action = match actions.is_empty() {
        true => "action".to_owned(),
        false => format!("action in [{}]", actions.join(", ")),
    };
    let effect = if never == RawNever::Allow { "forbid" } else { "permit" };
    let mut text = format!("{effect} (principal, {action}, resource)");
    let services: Vec<String> = raw
        .services
        .iter()
        .map(|service| format!("resource in {NAMESPACE}::Service::{}", quoted(service.as_str())))
        .collect();
    if !services.is_empty() {
        text.push_str(&format!("\nwhen {{ {} }}", services.join(" || ")));
    }
    let group = |group: &GroupName| format!("principal in {NAMESPACE}::Group::{}", quoted(group.as_str()));
    for one in &raw.groups {
        text.push_str(&format!("\nwhen {{ {} }}", group(one)));
    }
    for one in &raw.not_groups {
        text.push_str(&format!("\nunless {{ {} }}", group(one)));
    }
    if let Some(when) = &raw.when {
        text.push_str(&format!("\nwhen {{ {when} }}"));
    }
    if let Some(unless) = &raw.unless {
        text.push_str(&format!("\nunless {{ {unless} }}"));
    }
    Ok(text + ";")
}
