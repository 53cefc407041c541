//! From files to a bundle, or to every reason why there is none.
//!
//! Invariants: strict validation sees every policy under the schema of exactly these connectors; what
//! Cedar only warns of as "can never match" is a fault here, because such a forbid protects nothing.
//! A verdict is reused only for the same text under the same schema.

pub(in crate::policy) mod check;

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use cedar_policy_core::extensions::Extensions;
use cedar_policy_core::validator::{Validator, ValidatorSchema};

use self::check::{Offered, Verdicts};
use super::Bundle;
use super::agent::Stored;
use super::shadow::Shadow;
use crate::model::{CounterKey, Diagnostic, Digest, PolicyMode, SourceFile};
use crate::policy::cache::Cache;
use crate::policy::clock::{self, Zones};
use crate::policy::engine::Rule;
use crate::policy::index::Index;
use crate::policy::question::Sources;
use crate::policy::reads::CounterReach;
use crate::policy::schema::{self, Ground};
use crate::policy::slice::{self, Slices};
use crate::policy::source::{self, Known, Placed, Written};
use crate::policy::world::{self, World};

/// Faults that are reported at once; the rest is counted.
const FAULTS_MAX: usize = 100;

/// What a bundle remembers for the next: its policies, and that and how they were validated.
#[derive(Debug, Default)]
pub(in crate::policy) struct Checked {
    written: Known,
    verdicts: Verdicts,
}

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
    let nothing = Checked::default();
    let checked = previous.map_or(&nothing, |previous| &previous.checked);
    let reading = source::read(&files, &checked.written, sources.show);
    let policies = reading.policies;
    let mut faults = reading.faults;
    faults.extend(schema::clashes(&sources.connectors));
    let zones = zones(&policies, &mut faults);
    if !faults.is_empty() {
        return Err(faults);
    }
    let before = previous.filter(|previous| previous.connectors.digest() == sources.connectors.digest());
    let all = counters(sources, &policies, before);
    let Schema { digest: schema_digest, validator, offered } =
        schema_for(sources, (&policies, &zones, &all), previous)?;
    let ground = check::Ground::new(&sources.connectors, (&all, &zones), &validator);
    let (verdicts, found) = ground.check(&policies, &checked.verdicts)?;
    let mut warnings: Vec<Diagnostic> = policies.iter().flat_map(Placed::warnings).collect();
    warnings.extend(found);
    let rules = in_mode(&policies, PolicyMode::Enforced);
    let index = index(&rules, previous);
    let known = (&*sources.connectors, before.map(|previous| &previous.world));
    let world = World::new(known, validator.schema(), index.names(), zones, all)
        .map_err(|why| vec![schema_fault(&why)])?;
    let written = policies.iter().map(|placed| &placed.written);
    let written = written.map(|written: &Arc<Written>| (Arc::clone(&written.piece), Arc::clone(written)));
    let bundle = Bundle {
        infos: policies.iter().map(Placed::info).collect(),
        checked: Checked { written: written.collect(), verdicts },
        rules,
        index,
        world,
        warnings,
        digest: digest(&files, sources),
        connectors: Arc::clone(&sources.connectors),
        validator,
        schema_digest,
        offered,
        schema_text: OnceLock::new(),
        slices: Slices::new(slice::CAPS),
        principals: Cache::new(world::PRINCIPAL_CAPS),
        stored: Stored::default(),
        show: sources.show,
        shadow: None,
    };
    let shadow = Shadow::over(&bundle, in_mode(&policies, PolicyMode::Shadow), Stored::default());
    Ok(Bundle { shadow, ..bundle })
}

/// Every counter that a decision could read. An edit seldom changes which policies there are, and then these
/// are `before`'s, a bundle's of the same connectors.
fn counters(sources: &Sources, policies: &[Placed], before: Option<&Bundle>) -> Arc<BTreeSet<CounterKey>> {
    let keys = policies.iter().map(|placed| &placed.written.body.reference.key);
    match before.filter(|before| keys.clone().eq(before.infos.iter().map(|info| &info.key))) {
        Some(before) => Arc::clone(&before.world.counters),
        None => Arc::new(schema::all_counters(&sources.connectors, keys)),
    }
}

/// These policies by their scopes. An edit seldom changes a scope, and then it is the previous bundle's.
fn index(rules: &[Rule], previous: Option<&Bundle>) -> Arc<Index> {
    let scopes = rules.iter().map(|rule| &rule.body.scope);
    let is_of = |previous: &&Bundle| scopes.clone().eq(previous.rules.iter().map(|rule| &rule.body.scope));
    match previous.filter(is_of) {
        Some(previous) => Arc::clone(&previous.index),
        None => Arc::new(Index::new(scopes)),
    }
}

/// The policies of this mode, ready to be evaluated.
fn in_mode(policies: &[Placed], mode: PolicyMode) -> Vec<Rule> {
    policies.iter().filter(|placed| placed.written.body.mode == mode).map(Placed::rule).collect()
}

/// What policies are validated with.
struct Schema {
    /// Of what it was generated from.
    digest: Digest,
    validator: Arc<Validator>,
    offered: Arc<Offered>,
}

/// The schema for these policies: the previous one where it was generated from the same.
fn schema_for(
    sources: &Sources,
    (policies, zones, all): (&[Placed], &Zones, &BTreeSet<CounterKey>),
    previous: Option<&Bundle>,
) -> Result<Schema, Vec<Diagnostic>> {
    let declared = policies.iter().map(|placed| &placed.written.declared);
    let session = joined(declared.clone().filter_map(|declared| declared.session.as_ref()), all);
    let member = joined(declared.filter_map(|declared| declared.member.as_ref()), all);
    let names = |keys: &BTreeSet<CounterKey>| keys.iter().map(|key| format!("{key} ")).collect::<String>();
    let zone_names: String = zones.keys().map(|name| format!("{name} ")).collect();
    let texts = [names(&session), names(&member), zone_names];
    let connectors = sources.connectors.digest();
    let parts = texts.iter().map(String::as_bytes);
    let digest = Digest::of_parts([connectors.as_bytes().as_slice()].into_iter().chain(parts));
    if let Some(known) = previous.filter(|previous| previous.schema_digest == digest) {
        let (validator, offered) = (Arc::clone(&known.validator), Arc::clone(&known.offered));
        return Ok(Schema { digest, validator, offered });
    }
    let ground = Ground { connectors: &sources.connectors, zones };
    let validator = Arc::new(validator(&schema::text(&ground, &session, &member))?);
    let zones = zones.keys().cloned().collect();
    Ok(Schema { digest, validator, offered: Arc::new(Offered { session, member, zones }) })
}

/// The declared counters among those that any of these reads. Declaring no others changes no verdict and
/// keeps the types small: a counter for each of 1,500 tools in each of 1,500 actions would be millions.
fn joined<'a>(
    reaches: impl Iterator<Item = &'a CounterReach>,
    all: &BTreeSet<CounterKey>,
) -> BTreeSet<CounterKey> {
    let mut keys = BTreeSet::new();
    for reach in reaches {
        match reach {
            CounterReach::Whole => return all.clone(),
            CounterReach::Keys(read) => keys.extend(read.iter().filter(|key| all.contains(key)).cloned()),
        }
    }
    keys
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

/// Over names and texts of the files, and the connectors.
fn digest(files: &[SourceFile], sources: &Sources) -> Digest {
    let connectors = sources.connectors.digest();
    let head: [&[u8]; 2] = [b"wicket/bundle/v1", connectors.as_bytes()];
    let texts = files.iter().flat_map(|file| [file.name.as_bytes(), file.text.as_bytes()]);
    Digest::of_parts(head.into_iter().chain(texts))
}

/// The zones that the policies name.
fn zones(policies: &[Placed], faults: &mut Vec<Diagnostic>) -> Zones {
    let mut zones = Zones::new();
    for placed in policies {
        for (name, offset) in &placed.written.declared.zones {
            if zones.contains_key(name) {
                continue;
            }
            match clock::zone(name) {
                Some(zone) => drop(zones.insert(name.clone(), zone)),
                None => {
                    let message = format!("there is no time zone `{}`", name.escape_default());
                    let help = "write an IANA name such as Europe/Berlin";
                    faults.push(placed.finding(*offset, message).with_help(help));
                }
            }
        }
    }
    zones
}

#[cfg(test)]
mod tests;
