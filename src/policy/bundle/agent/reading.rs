//! From a stored policy to one that can be validated: compiled where it is a form, named where it is Cedar.

use std::sync::Arc;

use cedar_policy_core::ast::{EntityReference, PrincipalOrResourceConstraint};

use super::{Draft, Work, sentences};
use crate::model::{CounterKey, PolicyKey, PolicyText, SourceFile, StoredPolicy};
use crate::policy::index::Scope;
use crate::policy::source::{self, Placed};
use crate::policy::structured;
use crate::policy::{clock, schema};

/// The file that a stored policy stands in, as far as places in texts go.
pub(super) fn file_of(key: &PolicyKey, text: &str) -> SourceFile {
    SourceFile::new(&format!("stored/{key}"), text)
}

impl Work<'_> {
    /// Reads one policy, or takes it over from the set before.
    pub(super) fn read(&self, stored: &Arc<StoredPolicy>) -> Result<Draft, Vec<String>> {
        self.fits(stored).map_err(|fault| vec![fault])?;
        let kept = self.previous.and_then(|previous| previous.kept.get(&stored.id));
        if let Some(kept) = kept.filter(|kept| kept.is_of(stored, self.connectors)) {
            let (placed, known) = (kept.placed.clone(), Some(kept.verdict.clone()));
            return Ok(Draft { stored: Arc::clone(stored), placed, known });
        }
        let text = self.text_of(stored)?;
        // What the form comes to against other connectors may be what it came to before.
        if let Some(kept) = kept
            && kept.stored.version == stored.version
            && *kept.placed.written.piece == *text.trim_ascii()
        {
            let (placed, known) = (kept.placed.clone(), Some(kept.verdict.clone()));
            return Ok(Draft { stored: Arc::clone(stored), placed, known });
        }
        let file = file_of(&stored.key, &text);
        let placed = source::read_stored(&file, (stored.id, stored.version), self.base.show);
        let placed = placed.map_err(|faults| sentences(&faults))?;
        checked(stored, &placed)?;
        Ok(Draft { stored: Arc::clone(stored), placed, known: None })
    }

    /// Whether there is a place for this policy at all.
    fn fits(&self, stored: &StoredPolicy) -> Result<(), String> {
        let key = &stored.key;
        if self.base.world.counters.contains(&CounterKey::PolicyAllow(key.clone())) {
            return Err(format!(
                "a policy file has taken the key `{key}`: change the `@id` there, or save the policy anew under \
                 another name"
            ));
        }
        if self.owned && stored.member.is_none() {
            return Err(format!(
                "`{key}` is nobody's own, and the agent's policies are their members': save it for each member"
            ));
        }
        Ok(())
    }

    /// The Cedar text of a policy, with its `@id`.
    fn text_of(&self, stored: &StoredPolicy) -> Result<String, Vec<String>> {
        match &stored.text {
            PolicyText::Structured(policy) => {
                let countable = self.countable.get_or_init(|| {
                    let of_files = self.base.infos.iter().map(|info| info.key.clone());
                    of_files.chain(self.keys.iter().map(|key| (*key).clone())).collect()
                });
                let ground = structured::Ground { connectors: &self.base.connectors, policies: countable };
                let compiled = structured::compile_for(policy, (&stored.key, stored.member), ground);
                compiled
                    .map(|compiled| compiled.text)
                    .map_err(|faults| faults.iter().map(ToString::to_string).collect())
            }
            // On the first line, so that lines count as whoever wrote it counts them.
            PolicyText::Cedar(text) => Ok(format!("@id(\"{}\") {text}", stored.key)),
        }
    }
}

/// What is asked of a stored policy beyond what every policy must be.
fn checked(stored: &StoredPolicy, placed: &Placed) -> Result<(), Vec<String>> {
    let key = &stored.key;
    if placed.key() != key {
        return Err(vec![format!("its text says that it is `{}`", placed.key())]);
    }
    for (name, _) in &placed.written.declared.zones {
        if clock::zone(name).is_none() {
            return Err(vec![format!("there is no time zone `{}`", name.escape_default())]);
        }
    }
    let Some(member) = stored.member else { return Ok(()) };
    let uid = format!("{}::Member::\"{member}\"", schema::NAMESPACE);
    if names(&placed.written.body.scope, &uid) {
        return Ok(());
    }
    Err(vec![format!("it is one member's own, so its scope must say `principal == {uid}`")])
}

/// Whether a scope speaks of this principal alone.
fn names(scope: &Scope, uid: &str) -> bool {
    match &scope.principal {
        PrincipalOrResourceConstraint::Eq(EntityReference::EUID(named)) => named.to_string() == uid,
        _ => false,
    }
}
