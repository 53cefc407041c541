//! Made-up calls that touch what policies speak of: for whoever compares two sets without a solver, and for
//! the tests of those that have one.
//!
//! Invariant: a sample proves nothing. The same number makes the same calls.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use cedar_policy_core::ast::{Expr, ExprKind, Literal};
use serde_json::{Map, Value as Json};

use crate::connector::{Connector, Tool};
use crate::model::{CounterKey, GroupName, Role, Timestamp};
use crate::policy::argument::{self, Members, Shape};
use crate::policy::reads::{CounterReach, Reads, children};
use crate::policy::schema::NAMESPACE;
use crate::policy::{Bundle, Scenario};

/// A Monday in 2026, at midnight in UTC.
const MONDAY_MS: i64 = 1_795_392_000_000;
const MINUTE_MS: i64 = 60_000;
const WEEK_MINUTES: usize = 7 * 24 * 60;

/// Makes calls out of the words of policies.
pub struct Sampler<'b> {
    tools: Vec<(String, &'b Connector, &'b Tool)>,
    groups: Vec<GroupName>,
    texts: Vec<String>,
    numbers: Vec<i64>,
    addresses: Vec<IpAddr>,
    /// Counters that are read.
    session: Vec<CounterKey>,
    member: Vec<CounterKey>,
    /// Whether anybody asks who calls.
    names: bool,
    state: u64,
}

impl<'b> Sampler<'b> {
    /// One that speaks the words of these bundles, of the tools of the first.
    pub fn new(bundles: &[&'b Bundle], seed: u64) -> Self {
        let connectors =
            bundles.iter().take(1).flat_map(|bundle| bundle.connectors.iter().map(move |c| (bundle, c)));
        let tools = connectors.flat_map(|(bundle, connector)| {
            connector.actions().map(move |(name, tool)| {
                (bundle.connectors.listed_name(&connector.service, name), connector.as_ref(), tool.as_ref())
            })
        });
        let mut words = Words::default();
        for rule in bundles.iter().flat_map(|bundle| &bundle.rules) {
            words.of(&super::claim::matches(rule));
        }
        let mut reads = Reads::default();
        bundles.iter().flat_map(|bundle| &bundle.rules).for_each(|rule| reads.join(rule.body.reads()));
        let read = |scope: &str| match CounterReach::of(&reads.context.beneath(scope)) {
            CounterReach::Keys(keys) => keys.into_iter().collect(),
            CounterReach::Whole => vec![CounterKey::Calls, CounterKey::Denials],
        };
        let near = words.numbers.iter().flat_map(|n| [n.saturating_sub(1), *n, n.saturating_add(1)]);
        Self {
            tools: tools.collect(),
            groups: words.groups.iter().cloned().collect(),
            numbers: near.chain([0]).collect(),
            addresses: words.addresses.iter().copied().chain([IpAddr::V4(Ipv4Addr::LOCALHOST)]).collect(),
            session: read("session"),
            member: read("member"),
            names: reads.principal,
            texts: words.texts.into_iter().chain(["x".to_owned()]).collect(),
            state: seed,
        }
    }

    /// The next number below `bound`, or 0 (SplitMix64).
    fn below(&mut self, bound: usize) -> usize {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from((z ^ (z >> 31)) % bound).unwrap_or_default()
    }

    /// The next call; nothing where there are no tools.
    pub fn scenario(&mut self) -> Option<Scenario> {
        let at = self.below(self.tools.len());
        let (name, _, tool) = self.tools.get(at)?;
        let (name, members) = (name.clone(), argument::members_of(&tool.input_schema));
        let minute = i64::try_from(self.below(WEEK_MINUTES)).unwrap_or_default();
        let mut scenario = Scenario::new(&name, Timestamp::from_millis(MONDAY_MS + minute * MINUTE_MS));
        for group in self.groups.clone() {
            if self.below(2) == 0 {
                scenario.groups.insert(group);
            }
        }
        if self.below(4) == 0 {
            scenario.role = Role::Owner;
        }
        if self.names && self.below(3) == 0 {
            scenario.member_name = self.text();
        }
        let address = self.below(self.addresses.len());
        scenario.ip = self.addresses.get(address).copied().unwrap_or(scenario.ip);
        for key in self.session.clone() {
            scenario.history.session.extend((self.below(2) == 0).then(|| (key, self.number().max(0))));
        }
        for key in self.member.clone() {
            scenario.history.member.extend((self.below(2) == 0).then(|| (key, self.number().max(0))));
        }
        scenario.arguments = Json::Object(self.record(&members));
        Some(scenario)
    }

    fn text(&mut self) -> String {
        let at = self.below(self.texts.len());
        self.texts.get(at).cloned().unwrap_or_default()
    }

    fn number(&mut self) -> i64 {
        let at = self.below(self.numbers.len());
        self.numbers.get(at).copied().unwrap_or_default()
    }

    fn record(&mut self, members: &Members) -> Map<String, Json> {
        let mut record = Map::new();
        // Lengths are the gate's to count: nobody sends them.
        let sent = members.iter().filter(|(_, shape)| !matches!(shape, Shape::Length { .. }));
        for (name, shape) in sent {
            if self.below(4) > 0 {
                record.insert(name.clone(), self.value(shape));
            }
        }
        record
    }

    fn value(&mut self, shape: &Shape) -> Json {
        match shape {
            Shape::Text => self.text().into(),
            Shape::Long | Shape::Length { .. } => self.number().into(),
            Shape::Bool => (self.below(2) == 0).into(),
            Shape::Decimal => (self.number() % 1_000_000).into(),
            Shape::Set(item) => {
                let length = self.below(3);
                Json::from((0..length).map(|_| self.value(item)).collect::<Vec<_>>())
            }
            Shape::Record(members) => Json::Object(self.record(members)),
        }
    }
}

/// What conditions name.
#[derive(Default)]
struct Words {
    groups: BTreeSet<GroupName>,
    texts: BTreeSet<String>,
    numbers: BTreeSet<i64>,
    addresses: BTreeSet<IpAddr>,
}

impl Words {
    fn of(&mut self, condition: &Expr) {
        match condition.expr_kind() {
            ExprKind::Lit(Literal::Long(number)) => drop(self.numbers.insert(*number)),
            ExprKind::Lit(Literal::String(text)) => self.text(text),
            ExprKind::Lit(Literal::EntityUID(uid)) => {
                let id: &str = uid.eid().as_ref();
                if uid.entity_type().to_string() == format!("{NAMESPACE}::Group") {
                    self.groups.extend(GroupName::parse(id).ok());
                } else {
                    id.split(['/', '#', '@', ':']).for_each(|part| self.text(part));
                }
            }
            // One text that fits, and the parts of it that stand alone.
            ExprKind::Like { pattern, .. } => {
                let written = pattern.to_string();
                self.text(&written.replace('*', "a"));
                self.text(&written.replace('*', ""));
            }
            _ => {}
        }
        for child in children(condition) {
            self.of(child);
        }
    }

    fn text(&mut self, text: &str) {
        if let Some(address) = text.split('/').next().and_then(|address| address.parse().ok()) {
            self.addresses.insert(address);
        }
        self.texts.insert(text.to_owned());
    }
}
