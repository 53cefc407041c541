//! What one policy reads of counters and zones, declared for it alone: an agent's policies read counters that
//! the schema of the files does not know, and another schema of 1,500 tools for each agent would take seconds.
//!
//! Invariant: contexts declared here differ from the schema's in their counters and zones alone, and those
//! hold everything that the policy reads; no type of a policy depends on what it does not read.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy_core::validator::ValidatorActionId;
use cedar_policy_core::validator::types::{AttributeType, Attributes, OpenTag, Type};

use crate::model::CounterKey;
use crate::policy::clock::{CLOCK_FIELDS, Zones};
use crate::policy::reads::{COUNTER_RECORDS, CounterReach, place_of};
use crate::policy::source::Declared;

/// What a schema declares of counters and zones.
#[derive(Debug, Default)]
pub(in crate::policy) struct Offered {
    pub(in crate::policy) session: BTreeSet<CounterKey>,
    pub(in crate::policy) member: BTreeSet<CounterKey>,
    pub(in crate::policy) zones: BTreeSet<String>,
}

/// Counters and zones to declare in the place of the schema's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Declaring {
    session: BTreeSet<CounterKey>,
    member: BTreeSet<CounterKey>,
    zones: BTreeSet<String>,
}

impl Offered {
    /// What has to be declared for a policy that reads this, of these that exist; `None` where the schema
    /// declares it all.
    pub(super) fn lacks(
        &self,
        declared: &Declared,
        (counters, zones): (&BTreeSet<CounterKey>, &Zones),
    ) -> Option<Declaring> {
        let read = |reach: Option<&CounterReach>| match reach {
            None => BTreeSet::new(),
            Some(CounterReach::Whole) => counters.clone(),
            Some(CounterReach::Keys(keys)) => {
                keys.iter().filter(|key| counters.contains(key)).cloned().collect()
            }
        };
        let (session, member) = (read(declared.session.as_ref()), read(declared.member.as_ref()));
        let zones: BTreeSet<String> = match declared.all_zones {
            true => zones.keys().cloned().collect(),
            false => declared.zones.iter().map(|(name, _)| name.clone()).collect(),
        };
        // Of what is read as a whole, also what it lacks is read.
        let whole = |reach: Option<&CounterReach>, offered: &BTreeSet<CounterKey>| {
            matches!(reach, Some(CounterReach::Whole)) && offered != counters
        };
        let differs = whole(declared.session.as_ref(), &self.session)
            || whole(declared.member.as_ref(), &self.member)
            || declared.all_zones && zones != self.zones
            || !session.is_subset(&self.session)
            || !member.is_subset(&self.member)
            || !zones.is_subset(&self.zones);
        differs.then_some(Declaring { session, member, zones })
    }
}

impl Declaring {
    /// The action, with these counters and zones in its context.
    pub(super) fn declared(&self, action: &ValidatorActionId) -> ValidatorActionId {
        let Some(context) = action.context_type() else { return action.clone() };
        ValidatorActionId::new_defined(
            action.name().clone(),
            action.applies_to_principals().cloned(),
            action.applies_to_resources().cloned(),
            action.descendants().cloned(),
            self.context(context),
            None,
        )
    }

    fn context(&self, context: &Type) -> Type {
        replaced(context, |name, of| match name {
            "session" => Some(counters(&self.session)),
            "member" => Some(counters(&self.member)),
            "time" => Some(replaced(of, |name, _| (name == "zones").then(|| self.zones()))),
            _ => None,
        })
    }

    fn zones(&self) -> Type {
        let clock = Arc::new(record(CLOCK_FIELDS.map(|name| (name, Arc::new(Type::Long)))));
        record(self.zones.iter().map(|name| (name.as_str(), Arc::clone(&clock))))
    }
}

/// The record with other types for some of its attributes; what is no record stays as it is.
fn replaced(of: &Type, other: impl Fn(&str, &Type) -> Option<Type>) -> Type {
    let Type::Record { attrs, open_attributes } = of else { return of.clone() };
    let attributes = attrs.iter().map(|(name, attribute)| {
        let kind = other(name, &attribute.attr_type);
        let kind = kind.map_or_else(|| Arc::clone(&attribute.attr_type), Arc::new);
        (name.clone(), AttributeType::new(kind, attribute.is_required))
    });
    let attrs = Attributes::with_attributes(attributes);
    Type::Record { attrs, open_attributes: *open_attributes }
}

fn record<'a>(members: impl IntoIterator<Item = (&'a str, Arc<Type>)>) -> Type {
    let members = members.into_iter().map(|(name, kind)| (name.into(), kind));
    Type::record_with_required_attributes(members, OpenTag::ClosedAttributes)
}

/// A record type of counters, each a required number, as the schema's text has it.
fn counters(keys: &BTreeSet<CounterKey>) -> Type {
    let long = Arc::new(Type::Long);
    let mut plain: Vec<(String, Arc<Type>)> = Vec::new();
    let mut records = COUNTER_RECORDS.map(|name| (name, Vec::new()));
    for key in keys {
        let (within, name) = place_of(key);
        match records.iter_mut().find(|(record, _)| Some(*record) == within) {
            Some((_, members)) => members.push((name, Arc::clone(&long))),
            None => plain.push((name, Arc::clone(&long))),
        }
    }
    for (name, members) in records {
        let members = members.iter().map(|(name, kind)| (name.as_str(), Arc::clone(kind)));
        plain.push((name.to_owned(), Arc::new(record(members))));
    }
    record(plain.iter().map(|(name, kind)| (name.as_str(), Arc::clone(kind))))
}
