//! What decides one kind of call: its candidates, and what must be at hand to evaluate them.
//!
//! Invariants: a slice is a function of its [`Key`] and of the bundle that holds it, so that a kept one
//! is the one that would be worked out now; what a candidate could read is in its plan. At the caps
//! slices are forgotten and worked out again ([`super::cache`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cedar_policy_core::ast::EntityUID;

use super::cache::{Cache, Caps};
use super::engine::{self, Found, Rule, rule};
use super::index::{Classes, Index};
use super::needs::Needs;
use super::question::Effect;
use super::reads::{CounterReach, Reach, Reads, place_of};
use crate::model::{CounterKey, Decision};

/// Slices that a bundle keeps.
pub(super) const CAPS: Caps = Caps { entries_max: 65_536, bytes_max: 16 << 20 };
/// Numbers of a key that are put together without the heap.
const KEY_WORDS: usize = 32;

/// The candidates of one kind of call.
#[derive(Debug)]
pub(super) struct Slice {
    /// By their numbers, ascending.
    pub(super) candidates: Box<[u32]>,
    /// Policies that look at a resource of which only half could be read: such a call they deny.
    pub(super) blind: Box<[u32]>,
    /// The decision, where no candidate has a condition.
    pub(super) constant: Option<Decision>,
    /// Whether it can be permitted at all.
    pub(super) prospect: Prospect,
    pub(super) needs: Arc<Needs>,
    pub(super) plan: Plan,
}

/// What a caller can expect of a kind of call, before its arguments are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prospect {
    /// Denied, whatever the arguments, the counters and the clock say.
    Never,
    /// Permitted, whatever they say.
    Always,
    /// A condition has to be evaluated.
    Depends,
}

/// What has to be made of a call, so that its candidates can be evaluated.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// What is read beneath `context.args`.
    pub(super) arguments: Reach,
    /// What is read beneath `context.time`.
    pub(super) time: Reach,
    pub(super) session: Option<Counted>,
    pub(super) member: Option<Counted>,
    /// What is read beneath `context.caller`.
    pub(super) caller: Reach,
    /// What is read of `resource`.
    pub(super) resource: Reach,
    pub(super) principal: bool,
    pub(super) action: bool,
    /// Whether anything is asked with `in`.
    pub(super) hierarchy: bool,
    /// Entities that conditions name.
    pub(super) literals: BTreeSet<EntityUID>,
}

/// Counters of one scope, where each stands in the context.
#[derive(Debug)]
pub(super) enum Counted {
    These(CounterPlaces),
    /// Every counter that the schema declares.
    All,
}

/// Where counters stand in the context.
#[derive(Debug, Default)]
pub(super) struct CounterPlaces {
    /// Those that stand in no record.
    pub(super) plain: Vec<(Box<str>, CounterKey)>,
    /// The records with theirs.
    pub(super) records: BTreeMap<&'static str, Vec<(Box<str>, CounterKey)>>,
}

impl CounterPlaces {
    /// The places of these counters.
    pub(super) fn of<'a>(keys: impl IntoIterator<Item = &'a CounterKey>) -> Self {
        let mut places = Self::default();
        for key in keys {
            let (record, name) = place_of(key);
            let list = match record {
                None => &mut places.plain,
                Some(record) => places.records.entry(record).or_default(),
            };
            list.push((name.into(), key.clone()));
        }
        places
    }

    fn bytes(&self) -> usize {
        let lists = self.records.values().chain([&self.plain]);
        let list = |list: &Vec<(Box<str>, CounterKey)>| list.len() * (size_of::<CounterKey>() + 64) + 48;
        lists.map(list).sum()
    }
}

impl Plan {
    /// What these reads need, where the schema declares these counters.
    pub(super) fn with_needs(reads: Reads, counters: &BTreeSet<CounterKey>) -> (Self, Needs) {
        let (plan, session, member) = Self::of(reads);
        let needs =
            Needs { session: listed(session.as_ref(), counters), member: listed(member.as_ref(), counters) };
        (plan, needs)
    }

    fn of(reads: Reads) -> (Self, Option<CounterReach>, Option<CounterReach>) {
        let context = reads.context;
        let counters = |name: &str| {
            let reach = context.beneath(name);
            (!reach.is_nothing()).then(|| CounterReach::of(&reach))
        };
        let counted = |reach: &CounterReach| match reach {
            CounterReach::Keys(keys) => Counted::These(CounterPlaces::of(keys)),
            CounterReach::Whole => Counted::All,
        };
        let (session, member) = (counters("session"), counters("member"));
        let plan = Self {
            arguments: context.beneath("args"),
            time: context.beneath("time"),
            session: session.as_ref().map(counted),
            member: member.as_ref().map(counted),
            caller: context.beneath("caller"),
            resource: reads.resource,
            principal: reads.principal,
            action: reads.action,
            hierarchy: reads.hierarchy,
            literals: reads.literals,
        };
        (plan, session, member)
    }
}

/// What a slice is worked out from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) classes: Classes<'a>,
    /// Whether the call names a resource that could be read in part only.
    pub(super) half_read: bool,
}

impl Key<'_> {
    fn words(&self) -> impl Iterator<Item = u32> {
        let Classes { principal, action, resource } = self.classes;
        let classes = principal.words().chain(action.words()).chain(resource.words());
        classes.chain([u32::from(self.half_read)])
    }

    /// Lends the key's numbers.
    fn with<T>(&self, take: impl FnOnce(&[u32]) -> T) -> T {
        let mut held = [0; KEY_WORDS];
        let mut count = 0;
        for word in self.words() {
            match held.get_mut(count) {
                Some(place) => *place = word,
                None => return take(&self.words().collect::<Vec<_>>()),
            }
            count += 1;
        }
        take(held.get(..count).unwrap_or_default())
    }
}

/// The slices that a bundle was asked for.
#[derive(Debug)]
pub(super) struct Slices(Cache<Box<[u32]>, Arc<Slice>>);

impl Slices {
    /// None yet.
    pub(super) fn new(caps: Caps) -> Self {
        Self(Cache::new(caps))
    }

    /// The slice of this key: a kept one, or one that is worked out now.
    pub(super) fn get(
        &self,
        key: Key<'_>,
        (rules, index): (&[Rule], &Index),
        counters: &BTreeSet<CounterKey>,
    ) -> Arc<Slice> {
        key.with(|words| {
            let spread = words.iter().fold(0_u32, |sum, word| sum.wrapping_mul(31).wrapping_add(*word));
            if let Some(kept) = self.0.get(spread, words) {
                return kept;
            }
            let slice = Arc::new(Slice::new(key, rules, index, counters));
            let bytes = size_of_val(words) + slice.bytes();
            self.0.put(spread, words.into(), Arc::clone(&slice), bytes);
            slice
        })
    }
}

impl Slice {
    /// Works the slice out.
    pub(super) fn new(key: Key<'_>, rules: &[Rule], index: &Index, counters: &BTreeSet<CounterKey>) -> Self {
        let candidates = index.candidates(key.classes);
        let mut reads = Reads::default();
        let of = |number: &u32| rule(rules, *number);
        candidates.iter().filter_map(of).for_each(|rule| reads.join(rule.body.reads()));
        let blind = if key.half_read { blind(rules, &index.addressed(key.classes)) } else { Box::default() };
        let prospect = prospect(rules, &candidates, &blind);
        let constant = constant(rules, &candidates).filter(|_| blind.is_empty());
        let (plan, needs) = Plan::with_needs(reads, counters);
        let needs = Arc::new(needs);
        Self { candidates: candidates.into(), blind, constant, prospect, needs, plan }
    }

    /// About how many bytes it takes up.
    fn bytes(&self) -> usize {
        let Plan { arguments, time, session, member, caller, resource, literals, .. } = &self.plan;
        let reach: usize = [arguments, time, caller, resource].map(Reach::bytes).iter().sum();
        let counters = |counted: &Option<Counted>| match counted {
            Some(Counted::These(places)) => places.bytes(),
            Some(Counted::All) | None => 0,
        };
        let listed = (self.needs.session.len() + self.needs.member.len()) * size_of::<CounterKey>();
        let determining = self.constant.as_ref().map_or(0, |decision| decision.determining.len());
        size_of::<Self>()
            + size_of::<Needs>()
            + (self.candidates.len() + self.blind.len()) * size_of::<u32>()
            + reach
            + counters(session)
            + counters(member)
            + listed
            + literals.len() * size_of::<EntityUID>() * 2
            + determining * size_of::<crate::model::PolicyRef>()
    }
}

fn listed(reach: Option<&CounterReach>, all: &BTreeSet<CounterKey>) -> Vec<CounterKey> {
    match reach {
        None => Vec::new(),
        Some(CounterReach::Keys(keys)) => keys.iter().cloned().collect(),
        Some(CounterReach::Whole) => all.iter().cloned().collect(),
    }
}

/// Policies that look at a resource which claims less than the call does: forbids whose scope misses it,
/// and conditions that mention it.
fn blind(rules: &[Rule], addressed: &[(u32, bool)]) -> Box<[u32]> {
    let looks = |(number, within): &&(u32, bool)| match rule(rules, *number) {
        None => true,
        Some(rule) if *within => !rule.body.reads().resource.is_nothing(),
        Some(rule) => rule.body.effect == Effect::Forbid,
    };
    addressed.iter().filter(looks).map(|(number, _)| *number).collect()
}

/// The candidates of one effect that hold in any case.
fn unconditional<'a>(
    rules: &'a [Rule],
    candidates: &'a [u32],
    effect: Effect,
) -> impl Iterator<Item = u32> + 'a {
    let holds = move |number: &u32| {
        rule(rules, *number).is_some_and(|rule| rule.body.condition.is_none() && rule.body.effect == effect)
    };
    candidates.iter().copied().filter(holds)
}

/// The decision of these candidates, where none has a condition.
fn constant(rules: &[Rule], candidates: &[u32]) -> Option<Decision> {
    let found = Found {
        permits: unconditional(rules, candidates, Effect::Permit).collect(),
        forbids: unconditional(rules, candidates, Effect::Forbid).collect(),
        errors: Vec::new(),
    };
    let all = found.permits.len() + found.forbids.len() == candidates.len();
    all.then(|| engine::conclude(rules, &found))
}

fn prospect(rules: &[Rule], candidates: &[u32], blind: &[u32]) -> Prospect {
    let permits = candidates.iter().filter_map(|number| rule(rules, *number));
    let permits = permits.filter(|rule| rule.body.effect == Effect::Permit).count();
    let forbidden = unconditional(rules, candidates, Effect::Forbid).next().is_some();
    if permits == 0 || forbidden || !blind.is_empty() {
        return Prospect::Never;
    }
    match unconditional(rules, candidates, Effect::Permit).count() == candidates.len() {
        true => Prospect::Always,
        false => Prospect::Depends,
    }
}

#[cfg(test)]
mod tests;
