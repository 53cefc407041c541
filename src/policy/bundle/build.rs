//! From files to a bundle, or to every reason why there is none.
//!
//! Invariants: strict validation sees every policy under the schema of exactly these connectors; what
//! Cedar only warns of as "can never match" is a fault here, because such a forbid protects nothing.
//! A verdict is reused only for the same text under the same schema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use cedar_policy_core::ast::{ActionConstraint, EntityUID, PolicySet};
use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::{ValidationMode, ValidationWarning, Validator, ValidatorSchema};

use super::Bundle;
use crate::model::{Diagnostic, Digest, PolicyRef, SourceFile, Tier};
use crate::policy::cache::Cache;
use crate::policy::clock::{self, Zones};
use crate::policy::engine::{Body, Rule};
use crate::policy::index::{Index, Scope};
use crate::policy::question::{Effect, Sources};
use crate::policy::reads::{CounterReach, Reach, Reads};
use crate::policy::schema::{self, Ground};
use crate::policy::slice::{self, Slices};
use crate::policy::source::{self, Parsed};
use crate::policy::strip::strip;
use crate::policy::world::{self, World};

/// Faults that are reported at once; the rest is counted.
const FAULTS_MAX: usize = 100;
/// Findings of the type checker that are reported for one place in a file.
const FAULTS_OF_PLACE_MAX: usize = 3;

impl Bundle {
    /// Reads and validates everything.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, line and what to do. There is no partial bundle.
    pub fn build(sources: &Sources) -> Result<Self, Vec<Diagnostic>> {
        build(sources, None).map_err(bounded)
    }

    /// The same, without validating again what `previous` validated already: the type check of one
    /// policy costs as much as the connectors have tools.
    ///
    /// # Errors
    /// As [`Bundle::build`].
    pub fn rebuild(sources: &Sources, previous: &Self) -> Result<Self, Vec<Diagnostic>> {
        build(sources, Some(previous)).map_err(bounded)
    }
}

fn bounded(mut faults: Vec<Diagnostic>) -> Vec<Diagnostic> {
    if faults.len() > FAULTS_MAX {
        let more = faults.len() - FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        faults.push(Diagnostic::of_file("policies", format!("and {more} more")));
    }
    faults
}

fn build(sources: &Sources, previous: Option<&Bundle>) -> Result<Bundle, Vec<Diagnostic>> {
    let mut files = sources.policies.clone();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let reading = source::read(&files);
    let mut faults = reading.faults;
    faults.extend(schema::clashes(&sources.connectors));
    let policies: Vec<(Parsed, Reads)> = reading
        .policies
        .into_iter()
        .map(|parsed| (Reads::of(parsed.policy.non_scope_constraints()), parsed))
        .map(|(reads, parsed)| (parsed, reads))
        .collect();
    let zones = zones(&files, &policies, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let all = schema::all_counters(&sources.connectors, policies.iter().map(|(parsed, _)| &parsed.info.key));
    let schema_text = schema_text(sources, &zones, &policies, &all);
    let schema_digest = Digest::of(schema_text.as_bytes());
    let known = previous.filter(|previous| previous.schema_digest == schema_digest);
    let validator = match known {
        Some(known) => Arc::clone(&known.validator),
        None => Arc::new(validator(&schema_text)?),
    };
    let mut warnings = reading.warnings;
    let checked = validate(&files, &policies, &validator, (known, &empty_tiers(sources)), &mut warnings)?;
    warnings.extend(policies.iter().filter_map(|(parsed, reads)| session_alone(&files, parsed, reads)));
    let infos = policies.iter().map(|(parsed, _)| parsed.info.clone()).collect();
    // A rule that went missing would shift the numbers of all after it: all of them, or no bundle.
    let rules: Option<Vec<Rule>> = policies.into_iter().map(|(parsed, _)| rule(&files, parsed)).collect();
    let rules = rules.ok_or_else(|| vec![Diagnostic::of_file("policies", "a policy has lost its file")])?;
    let index = Index::new(rules.iter().map(|rule| &rule.body.scope));
    let world = World::new(&sources.connectors, validator.schema(), index.names(), zones, all)
        .map_err(|why| vec![schema_fault(&why)])?;
    Ok(Bundle {
        rules,
        index,
        world,
        infos,
        warnings,
        digest: digest(&files, sources),
        connectors: Arc::clone(&sources.connectors),
        validator,
        schema_digest,
        checked,
        schema_text: OnceLock::new(),
        slices: Slices::new(slice::CAPS),
        principals: Cache::new(world::PRINCIPAL_CAPS),
    })
}

/// The validator of this schema.
fn validator(schema_text: &str) -> Result<Validator, Vec<Diagnostic>> {
    let schema = ValidatorSchema::from_cedarschema_str(schema_text, Extensions::all_available());
    schema.map(|(schema, _)| Validator::new(schema)).map_err(|error| vec![schema_fault(&error.to_string())])
}

fn schema_fault(why: &str) -> Diagnostic {
    Diagnostic::of_file("config/connectors", format!("no Cedar schema can be made of the connectors: {why}"))
        .with_help("look for a namespace, resource type or attribute with a name that Cedar reserves")
}

pub(in crate::policy) fn rule(files: &[SourceFile], parsed: Parsed) -> Option<Rule> {
    let info = parsed.info;
    let body = Body {
        effect: info.effect,
        show: info.show,
        reference: PolicyRef { key: info.key, name: info.name, version: 0 },
        deny_message: parsed.deny_message,
        scope: Scope::of(&parsed.policy),
        condition: parsed.policy.non_scope_constraints().map(strip),
        text: info.text,
        located: OnceLock::new(),
    };
    Some(Rule { body: Arc::new(body), source: files.get(parsed.file)?.clone(), offset: parsed.offset })
}

/// Over names and texts of the files, and the connectors.
fn digest(files: &[SourceFile], sources: &Sources) -> Digest {
    let connectors = sources.connectors.digest();
    let head: [&[u8]; 2] = [b"wicket/bundle/v1", connectors.as_bytes()];
    let texts = files.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]);
    Digest::of_parts(head.into_iter().chain(texts))
}

/// The zones that the policies name.
fn zones(files: &[SourceFile], policies: &[(Parsed, Reads)], faults: &mut Vec<Diagnostic>) -> Zones {
    let mut zones = Zones::new();
    for (parsed, reads) in policies {
        for (name, offset) in &reads.zones {
            match (clock::zone(name), files.get(parsed.file)) {
                (Some(zone), _) => drop(zones.insert(name.clone(), zone)),
                (None, Some(file)) => faults.push(
                    Diagnostic::at(
                        file,
                        *offset,
                        format!("there is no time zone `{}`", name.escape_default()),
                    )
                    .with_help("write an IANA name such as Europe/Berlin"),
                ),
                (None, None) => {}
            }
        }
    }
    zones
}

fn schema_text(
    sources: &Sources,
    zones: &Zones,
    policies: &[(Parsed, Reads)],
    all: &BTreeSet<crate::model::CounterKey>,
) -> String {
    let mut reach = Reach::default();
    policies.iter().for_each(|(_, reads)| reach.join(&reads.context));
    let declared = |name: &str| schema::declared(all, &CounterReach::of(&reach.beneath(name)));
    let ground = Ground { connectors: &sources.connectors, zones };
    schema::text(&ground, &declared("session"), &declared("member"))
}

/// Validates strictly what was not validated under this schema before; gives the digests of all
/// texts that passed, with what was warned of each.
fn validate(
    files: &[SourceFile],
    policies: &[(Parsed, Reads)],
    validator: &Validator,
    (known, empty_tiers): (Option<&Bundle>, &BTreeSet<Tier>),
    warnings: &mut Vec<Diagnostic>,
) -> Result<BTreeMap<Digest, Vec<Diagnostic>>, Vec<Diagnostic>> {
    let mut checked = BTreeMap::new();
    let mut faults = Vec::new();
    for (parsed, _) in policies {
        let info = &parsed.info;
        // The key too, because warnings name it.
        let digest = Digest::of_parts([info.key.as_str().as_bytes(), info.text.as_bytes()]);
        let Some(file) = files.get(parsed.file) else {
            faults.push(Diagnostic::of_file(&info.file, "the file is gone"));
            continue;
        };
        let found = match known.and_then(|known| known.checked.get(&digest)) {
            Some(found) => found.clone(),
            None => {
                let mut found = Vec::new();
                faults.extend(validate_one(file, parsed, validator, empty_tiers, &mut found));
                // The policy may stand elsewhere when the warning is said again.
                found.iter_mut().for_each(|one| one.line = one.line.saturating_sub(info.line));
                found
            }
        };
        warnings.extend(found.iter().map(|one| Diagnostic {
            file: file.name.to_string(),
            line: one.line.saturating_add(info.line),
            ..one.clone()
        }));
        checked.insert(digest, found);
    }
    if faults.is_empty() { Ok(checked) } else { Err(faults) }
}

/// Validates one policy on its own, so that every finding has its file.
fn validate_one(
    file: &SourceFile,
    parsed: &Parsed,
    validator: &Validator,
    empty_tiers: &BTreeSet<Tier>,
    warnings: &mut Vec<Diagnostic>,
) -> Vec<Diagnostic> {
    let set = PolicySet::singleton(parsed.policy.clone());
    let result = validator.validate(&set, ValidationMode::Strict);
    let key = &parsed.info.key;
    let report = |finding: &dyn miette::Diagnostic| {
        let text = finding.to_string();
        let rest = text.strip_prefix(&format!("for policy `{key}`, ")).unwrap_or(&text);
        let fault = source::located(file, finding, &format!("policy `{key}`: {rest}"));
        if fault.line > 0 { fault } else { Diagnostic { line: parsed.info.line, ..fault } }
    };
    // The type checker reports once for each kind of call.
    let mut faults: BTreeMap<String, Diagnostic> = BTreeMap::new();
    for error in result.validation_errors() {
        let fault = with_hint(report(error));
        faults.insert(fault.to_string(), fault);
    }
    shorten(&mut faults);
    for warning in result.validation_warnings() {
        let found = report(warning);
        let never = matches!(
            warning,
            ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_)
        );
        if never && is_of_tiers(parsed, empty_tiers) {
            warnings.push(found.with_help("no connector has a tool of this tier: it waits for one"));
        } else if never {
            let help = "no call of these connectors can make it match: correct or delete it";
            faults.insert(found.to_string(), found.with_help(help));
        } else {
            warnings.push(found);
        }
    }
    faults.into_values().collect()
}

/// Tiers that no tool has.
fn empty_tiers(sources: &Sources) -> BTreeSet<Tier> {
    let tools = sources.connectors.iter().flat_map(|connector| connector.tools.values());
    let used: BTreeSet<Tier> = tools.map(|tool| tool.tier).collect();
    Tier::ALL.into_iter().filter(|tier| !used.contains(tier)).collect()
}

/// Whether a policy speaks of these tiers as wholes, and of nothing else: a guardrail that is ready
/// before there is a tool for it.
fn is_of_tiers(parsed: &Parsed, tiers: &BTreeSet<Tier>) -> bool {
    let is_of = |uid: &EntityUID| {
        let name: &str = uid.eid().as_ref();
        uid.entity_type().to_string() == "Wicket::Action" && tiers.iter().any(|tier| tier.as_str() == name)
    };
    match parsed.policy.action_constraint() {
        ActionConstraint::Any => false,
        ActionConstraint::Eq(uid) => is_of(uid),
        ActionConstraint::In(uids) => !uids.is_empty() && uids.iter().all(|uid| is_of(uid)),
    }
}

/// Keeps a few findings of each place in the file: one for each of 1,500 tools helps nobody.
fn shorten(faults: &mut BTreeMap<String, Diagnostic>) {
    let mut at_place: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    faults.retain(|_, fault| {
        let count = at_place.entry((fault.line, fault.column)).or_default();
        *count += 1;
        *count <= FAULTS_OF_PLACE_MAX
    });
    for fault in faults.values_mut() {
        let count = at_place.remove(&(fault.line, fault.column)).unwrap_or_default();
        if count > FAULTS_OF_PLACE_MAX {
            let more = count - FAULTS_OF_PLACE_MAX;
            fault.message.push_str(&format!("; and for {more} more kinds of call"));
        }
    }
}

/// Says what Cedar cannot know of: where the names of this schema come from.
fn with_hint(fault: Diagnostic) -> Diagnostic {
    if fault.help.is_some() {
        return fault;
    }
    if fault.message.contains("not found") || fault.message.contains("unrecognized") {
        return fault.with_help("`wicket policy schema` prints every name that policies can use");
    }
    fault
}

/// A forbid over counters of the conversation alone is escaped by opening another (decision 9).
fn session_alone(files: &[SourceFile], parsed: &Parsed, reads: &Reads) -> Option<Diagnostic> {
    let read = |name: &str| !reads.context.beneath(name).is_nothing();
    if parsed.info.effect != Effect::Forbid || !read("session") || read("member") {
        return None;
    }
    let message = format!("the forbid `{}` counts in `context.session` alone", parsed.info.key);
    let help = "a new conversation starts at 0: limit `context.member` as well";
    Some(Diagnostic::at(files.get(parsed.file)?, parsed.offset, message).with_help(help))
}
