//! The set of one agent: the policies of the files together with those that the agent stores (decision 6).
//!
//! Invariants: what is stored is never dropped in silence: a permit that no longer loads is left out, a
//! forbid that no longer loads forbids its whole service, and both are reported; a policy of a member's own
//! speaks of that member alone; no schema is generated for an agent ([`super::build::check`] declares what
//! one policy reads for that policy); what did not change since the previous set is neither compiled, nor
//! parsed, nor validated again.

mod broken;
mod reading;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use super::build::check::{Ground, Judged, Verdict};
use super::shadow::Shadow;
use super::{Bundle, Checked};
use crate::model::{CounterKey, Diagnostic, Digest, MemberId, PolicyId, PolicyKey, PolicyMode, StoredPolicy};
use crate::policy::cache::{Cache, Caps};
use crate::policy::clock::Zones;
use crate::policy::engine::Rule;
use crate::policy::index::Index;
use crate::policy::question::PolicyInfo;
use crate::policy::slice::Slices;
use crate::policy::source::Placed;
use crate::policy::world::World;

pub use self::broken::Instead;

/// Slices that the set of one agent keeps: there may be a hundred sets.
const SLICE_CAPS: Caps = Caps { entries_max: 16_384, bytes_max: 4 << 20 };
/// Principals that the set of one agent keeps.
const PRINCIPAL_CAPS: Caps = Caps { entries_max: 16_384, bytes_max: 8 << 20 };

/// The set of one agent, and what of its stored policies is not in it as it was saved.
#[derive(Debug)]
pub struct AgentSet {
    pub bundle: Bundle,
    /// By key.
    pub broken: Vec<BrokenPolicy>,
}

/// A stored policy that no longer loads: a tool is gone, or a file took its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenPolicy {
    pub key: PolicyKey,
    pub id: PolicyId,
    /// What is wrong with it, a sentence each.
    pub faults: Vec<String>,
    /// What is in force in its place.
    pub instead: Instead,
}

/// What a set of an agent remembers of the stored policies in it.
#[derive(Debug, Default)]
pub(in crate::policy) struct Stored {
    kept: HashMap<PolicyId, Kept>,
    /// Members with an enforced policy of their own.
    owners: HashSet<MemberId>,
}

impl Stored {
    /// Members with an enforced policy of their own: none in the set of a trusted agent, or of the files.
    pub(in crate::policy) fn owners(&self) -> &HashSet<MemberId> {
        &self.owners
    }

    pub(super) fn is_owner(&self, member: &MemberId) -> bool {
        self.owners.contains(member)
    }
}

/// One stored policy that loaded.
#[derive(Debug, Clone)]
struct Kept {
    stored: Arc<StoredPolicy>,
    /// The connectors that it was compiled against.
    connectors: Digest,
    placed: Placed,
    verdict: Verdict,
    /// Of its id, version and text.
    digest: Digest,
}

impl Kept {
    /// Whether this is what would be made of the policy now.
    fn is_of(&self, stored: &Arc<StoredPolicy>, connectors: Digest) -> bool {
        let (kept, new) = (&self.stored, stored);
        let same = || {
            let head = |of: &StoredPolicy| (of.id, of.version, of.member);
            head(kept) == head(new) && kept.key == new.key && kept.text == new.text
        };
        self.connectors == connectors && (Arc::ptr_eq(kept, new) || same())
    }
}

/// What the policies of an agent are made on.
struct Work<'a> {
    base: &'a Bundle,
    previous: Option<&'a Stored>,
    connectors: Digest,
    /// Whether the policies are members' own: the agent is an untrusted one.
    owned: bool,
    /// The keys of the stored policies.
    keys: BTreeSet<&'a PolicyKey>,
    /// Every policy that conditions may count hits of.
    countable: OnceLock<BTreeSet<PolicyKey>>,
}

/// What is to be put in force of one stored policy.
struct Draft {
    stored: Arc<StoredPolicy>,
    placed: Placed,
    /// What was said of it before.
    known: Option<Verdict>,
}

/// A stored policy that does not load, and why.
type Failed = (Arc<StoredPolicy>, Vec<String>);

impl Bundle {
    /// The set of one agent: the policies of `base` and these stored ones, which are that agent's, in any
    /// order. `previous` is an earlier set of the agent, from which is taken over what did not change.
    ///
    /// It never fails: see [`BrokenPolicy`].
    pub fn for_agent(base: &Self, stored: &[Arc<StoredPolicy>], previous: Option<&Self>) -> AgentSet {
        let mut all: Vec<&Arc<StoredPolicy>> = stored.iter().collect();
        all.sort_by(|a, b| (&a.key, a.id.as_uuid()).cmp(&(&b.key, b.id.as_uuid())));
        let work = Work {
            base,
            previous: previous.map(|previous| &previous.stored),
            connectors: base.connectors.digest(),
            owned: all.iter().any(|policy| policy.member.is_some()),
            keys: all.iter().map(|policy| &policy.key).collect(),
            countable: OnceLock::new(),
        };
        let (mut drafts, mut failed): (Vec<Draft>, Vec<Failed>) = (Vec::new(), Vec::new());
        for policy in all.iter().filter(|policy| policy.mode != PolicyMode::Off) {
            match work.read(policy) {
                Ok(draft) => drafts.push(draft),
                Err(faults) => failed.push((Arc::clone(policy), faults)),
            }
        }
        let (zones, counters) = (work.zones(&drafts), work.counters());
        let kept = work.judge(drafts, (&counters, &zones), &mut failed);
        work.assemble(kept, (counters, zones), &failed)
    }

    /// A set without any policy, which denies everything: of an agent whose set cannot be built.
    pub fn denying(base: &Self) -> Self {
        let parts: [&[u8]; 2] = [b"wicket/denying-set/v1", base.digest.as_bytes()];
        Over {
            rules: Vec::new(),
            infos: Vec::new(),
            warnings: Vec::new(),
            digest: Digest::of_parts(parts),
            zones: base.world.zones.clone(),
            counters: Arc::clone(&base.world.counters),
            stored: Stored::default(),
        }
        .bundle(base)
    }
}

/// What a set has of its own, over the bundle of the files.
pub(super) struct Over {
    pub(super) rules: Vec<Rule>,
    pub(super) infos: Vec<PolicyInfo>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) digest: Digest,
    pub(super) zones: Zones,
    pub(super) counters: Arc<BTreeSet<CounterKey>>,
    pub(super) stored: Stored,
}

impl Over {
    pub(super) fn bundle(self, base: &Bundle) -> Bundle {
        let Self { rules, infos, warnings, digest, zones, counters, stored } = self;
        let index = Arc::new(Index::new(rules.iter().map(|rule| &rule.body.scope)));
        let world = World::over(&base.world, index.names(), zones, counters);
        Bundle {
            rules,
            index,
            world,
            infos,
            warnings,
            connectors: Arc::clone(&base.connectors),
            digest,
            validator: Arc::clone(&base.validator),
            schema_digest: base.schema_digest,
            offered: Arc::clone(&base.offered),
            checked: Checked::default(),
            schema_text: OnceLock::new(),
            slices: Slices::new(SLICE_CAPS),
            principals: Cache::new(PRINCIPAL_CAPS),
            stored,
            show: base.show,
            shadow: None,
        }
    }
}

impl Work<'_> {
    /// Every counter that a decision could read: also those of policies that are off or do not load.
    fn counters(&self) -> Arc<BTreeSet<CounterKey>> {
        let mut counters = BTreeSet::clone(&self.base.world.counters);
        for key in &self.keys {
            counters.insert(CounterKey::PolicyAllow((*key).clone()));
            counters.insert(CounterKey::PolicyDeny((*key).clone()));
        }
        Arc::new(counters)
    }

    fn zones(&self, drafts: &[Draft]) -> Zones {
        let mut zones = self.base.world.zones.clone();
        let named = drafts.iter().flat_map(|draft| &draft.placed.written.declared.zones);
        for (name, _) in named {
            if let Some(zone) = crate::policy::clock::zone(name).filter(|_| !zones.contains_key(name)) {
                zones.insert(name.clone(), zone);
            }
        }
        zones
    }

    /// Validates what was not validated before; what does not pass joins those that failed.
    fn judge(
        &self,
        drafts: Vec<Draft>,
        (counters, zones): (&BTreeSet<CounterKey>, &Zones),
        failed: &mut Vec<Failed>,
    ) -> Vec<Kept> {
        let placed: Vec<Placed> = drafts.iter().map(|draft| draft.placed.clone()).collect();
        let ground = Ground::new(&self.base.connectors, (counters, zones), &self.base.validator);
        let ground = ground.offering(&self.base.offered);
        let known = |number: usize, _: &Placed| drafts.get(number)?.known.clone();
        let judged: Vec<Judged> = ground.each(&placed, known);
        let mut kept = Vec::with_capacity(drafts.len());
        for (draft, judged) in drafts.into_iter().zip(judged) {
            let Draft { stored, placed, .. } = draft;
            match judged {
                Ok(verdict) => {
                    let (connectors, digest) = (self.connectors, digest_of(&stored, &placed.written.piece));
                    kept.push(Kept { stored, connectors, placed, verdict, digest });
                }
                Err(faults) => failed.push((stored, sentences(&faults))),
            }
        }
        kept
    }

    /// The set of what loaded, and of what stands in the place of the rest.
    fn assemble(
        &self,
        kept: Vec<Kept>,
        (counters, zones): (Arc<BTreeSet<CounterKey>>, Zones),
        failed: &[Failed],
    ) -> AgentSet {
        let base = self.base;
        let mut own: Vec<(Placed, Digest)> =
            kept.iter().map(|kept| (kept.placed.in_mode(kept.stored.mode), kept.digest)).collect();
        let mut warnings: Vec<Diagnostic> = Vec::new();
        for kept in &kept {
            warnings.extend(kept.placed.warnings());
            warnings.extend(kept.verdict.warnings(&kept.placed));
        }
        let Ok(broken) = self.stand_ins(failed, &mut own) else {
            let broken = failed.iter().map(|failed| broken(failed, Instead::Forbidden(None))).collect();
            return AgentSet { bundle: Bundle::denying(base), broken };
        };
        own.sort_by(|(a, _), (b, _)| a.key().cmp(b.key()));
        let of_mode = |mode: PolicyMode| {
            let of_mode = own.iter().filter(move |(placed, _)| placed.written.body.mode == mode);
            of_mode.map(|(placed, _)| placed.rule())
        };
        let rules = base.rules.iter().cloned().chain(of_mode(PolicyMode::Enforced)).collect();
        let shadows = base.shadow.iter().flat_map(|shadow| shadow.rules.iter().cloned());
        let shadows: Vec<Rule> = shadows.chain(of_mode(PolicyMode::Shadow)).collect();
        let infos = base.infos.iter().cloned().chain(own.iter().map(|(placed, _)| placed.info())).collect();
        let digests = own.iter().map(|(_, digest)| digest.as_bytes().as_slice());
        let head: [&[u8]; 2] = [b"wicket/agent-set/v1", base.digest.as_bytes()];
        let digest = Digest::of_parts(head.into_iter().chain(digests));
        let enforced = kept.iter().filter(|kept| kept.stored.mode == PolicyMode::Enforced);
        let owners = enforced.filter_map(|kept| kept.stored.member).collect();
        let would_own = kept.iter().filter_map(|kept| kept.stored.member).collect();
        let kept = kept.into_iter().map(|kept| (kept.stored.id, kept)).collect();
        let over = Over { rules, infos, warnings, digest, zones, counters, stored: Stored { kept, owners } };
        let bundle = over.bundle(base);
        let would = Stored { kept: HashMap::new(), owners: would_own };
        let shadow = Shadow::over(&bundle, shadows, would);
        AgentSet { bundle: Bundle { shadow, ..bundle }, broken }
    }

    /// Adds what is in force in the place of what failed, and says what that is. `Err` where that cannot be
    /// made: only a set that denies everything is as strict then.
    fn stand_ins(&self, failed: &[Failed], own: &mut Vec<(Placed, Digest)>) -> Result<Vec<BrokenPolicy>, ()> {
        let mut all: Vec<BrokenPolicy> = Vec::with_capacity(failed.len());
        for one in failed {
            let (stored, _) = one;
            let (instead, placed) = self.instead(stored).map_err(|_| ())?;
            own.extend(placed.map(|placed| {
                let digest = digest_of(stored, &placed.written.piece);
                (placed, digest)
            }));
            all.push(broken(one, instead));
        }
        all.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(all)
    }
}

fn broken((stored, faults): &Failed, instead: Instead) -> BrokenPolicy {
    BrokenPolicy { key: stored.key.clone(), id: stored.id, faults: faults.clone(), instead }
}

/// Of what a stored policy comes to in a set.
fn digest_of(stored: &StoredPolicy, text: &str) -> Digest {
    let (id, version, mode) = (stored.id.as_uuid(), stored.version.to_be_bytes(), stored.mode.as_str());
    Digest::of_parts([id.as_bytes().as_slice(), &version, mode.as_bytes(), text.as_bytes()])
}

/// The faults of one policy, each with its place in the text and what to do.
fn sentences(faults: &[Diagnostic]) -> Vec<String> {
    faults.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests;
