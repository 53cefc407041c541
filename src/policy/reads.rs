//! What a policy's condition reads, found in its expression tree.
//!
//! Invariant: nothing that the evaluator could look at is missing here. Only plain attribute chains
//! from a variable (`context.session.denials`) are followed; wherever a chain ends in the middle of
//! the context, all that lies beneath counts as read.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{BinaryOp, EntityUID, Expr, ExprKind, Literal, Var};

use crate::model::{CounterKey, PolicyKey, ServiceKey, Tier, ToolName};

/// Which parts of a record are read: paths of attribute names from the record's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reach {
    /// These paths and all that lies beneath them; no path is empty.
    Paths(BTreeSet<Vec<String>>),
    /// Everything.
    Whole,
}

impl Default for Reach {
    fn default() -> Self {
        Self::Paths(BTreeSet::new())
    }
}

impl Reach {
    /// Whether nothing is read.
    pub(super) fn is_nothing(&self) -> bool {
        matches!(self, Self::Paths(paths) if paths.is_empty())
    }

    /// Adds one path; the empty path is everything.
    fn add(&mut self, path: Vec<String>) {
        if path.is_empty() {
            *self = Self::Whole;
        } else if let Self::Paths(paths) = self {
            paths.insert(path);
        }
    }

    /// Adds what another policy reads.
    pub(super) fn join(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Whole, _) => {}
            (_, Self::Whole) => *self = Self::Whole,
            (Self::Paths(mine), Self::Paths(theirs)) => mine.extend(theirs.iter().cloned()),
        }
    }

    /// What is read beneath the attribute `name` of this record.
    pub(super) fn beneath(&self, name: &str) -> Self {
        let Self::Paths(paths) = self else {
            return Self::Whole;
        };
        let mut reach = Self::default();
        for path in paths {
            if let Some((first, rest)) = path.split_first()
                && first == name
            {
                reach.add(rest.to_vec());
            }
        }
        reach
    }

    /// Whether reading this could look at the attribute `name` of the record.
    pub(super) fn touches_name(&self, name: &str) -> bool {
        match self {
            Self::Whole => true,
            Self::Paths(paths) => paths.iter().any(|read| read.first().is_none_or(|first| first == name)),
        }
    }

    /// The attributes of the record that are read by name; none where all of it is read at once.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let paths = match self {
            Self::Whole => None,
            Self::Paths(paths) => Some(paths),
        };
        paths.into_iter().flatten().filter_map(|path| path.first()).map(String::as_str)
    }

    /// About how many bytes it takes up.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Whole => 0,
            Self::Paths(paths) => {
                let path = |path: &Vec<String>| path.iter().map(|name| 24 + name.len()).sum::<usize>();
                paths.iter().map(|read| 48 + path(read)).sum()
            }
        }
    }

    /// The same of a record at `path`, where reading one of these members of it does not count.
    pub(super) fn touches_but(&self, path: &[String], members: &[String]) -> bool {
        let Self::Paths(paths) = self else { return true };
        let meets = |read: &&Vec<String>| read.iter().zip(path).all(|(a, b)| a == b);
        let elsewhere = |read: &Vec<String>| read.get(path.len()).is_some_and(|name| members.contains(name));
        paths.iter().filter(meets).any(|read| !elsewhere(read))
    }

    /// Whether reading this could look at the value at `path`, at part of it, or at what holds it.
    pub(super) fn touches(&self, path: &[String]) -> bool {
        match self {
            Self::Whole => true,
            Self::Paths(paths) => paths.iter().any(|read| read.iter().zip(path).all(|(a, b)| a == b)),
        }
    }
}

/// Which counters of one scope are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum CounterReach {
    Keys(BTreeSet<CounterKey>),
    /// Every counter that the schema declares.
    Whole,
}

impl CounterReach {
    /// Reads the attribute paths beneath `context.session` or `context.member` as counters. A path
    /// that names no counter is left out: strict validation refuses the policy that has it.
    pub(super) fn of(reach: &Reach) -> Self {
        let Reach::Paths(paths) = reach else {
            return Self::Whole;
        };
        let mut keys = BTreeSet::new();
        for path in paths {
            let names: Vec<&str> = path.iter().map(String::as_str).collect();
            match names.as_slice() {
                ["calls"] => drop(keys.insert(CounterKey::Calls)),
                ["denials"] => drop(keys.insert(CounterKey::Denials)),
                [_] => return Self::Whole,
                [record, name, ..] => keys.extend(counter(record, name)),
                [] => {}
            }
        }
        Self::Keys(keys)
    }
}

/// The records of counters, as they are named in the context, with what each one's keys are.
pub(super) const COUNTER_RECORDS: [&str; 5] =
    ["toolsUsed", "tiersUsed", "servicesUsed", "policiesAllowCounts", "policiesDenyCounts"];

/// The counter `<record>["<name>"]`.
fn counter(record: &str, name: &str) -> Option<CounterKey> {
    match record {
        "toolsUsed" => {
            let (service, tool) = name.split_once(':')?;
            Some(CounterKey::Tool(ServiceKey::parse(service).ok()?, ToolName::parse(tool).ok()?))
        }
        "tiersUsed" => name.parse::<Tier>().ok().map(CounterKey::Tier),
        "servicesUsed" => ServiceKey::parse(name).ok().map(CounterKey::Service),
        "policiesAllowCounts" => PolicyKey::parse(name).ok().map(CounterKey::PolicyAllow),
        "policiesDenyCounts" => PolicyKey::parse(name).ok().map(CounterKey::PolicyDeny),
        _ => None,
    }
}

/// Where a counter stands in the context: the record and the name in it, or the name alone.
pub(super) fn place_of(key: &CounterKey) -> (Option<&'static str>, String) {
    match key {
        CounterKey::Calls => (None, "calls".to_owned()),
        CounterKey::Denials => (None, "denials".to_owned()),
        CounterKey::Tool(service, tool) => (Some("toolsUsed"), format!("{service}:{tool}")),
        CounterKey::Tier(tier) => (Some("tiersUsed"), tier.to_string()),
        CounterKey::Service(service) => (Some("servicesUsed"), service.to_string()),
        CounterKey::PolicyAllow(policy) => (Some("policiesAllowCounts"), policy.to_string()),
        CounterKey::PolicyDeny(policy) => (Some("policiesDenyCounts"), policy.to_string()),
    }
}

/// What one condition reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Reads {
    pub(super) context: Reach,
    /// Attributes of `resource`; everything where the condition mentions it without one.
    pub(super) resource: Reach,
    /// Whether the condition mentions `principal` at all.
    pub(super) principal: bool,
    /// Whether the condition mentions `action` at all.
    pub(super) action: bool,
    /// Whether the condition asks with `in` whether one entity stands in another.
    pub(super) hierarchy: bool,
    /// Entities that the condition names.
    pub(super) literals: BTreeSet<EntityUID>,
    /// Time zones that are named, each with the byte offset of the place in the file.
    pub(super) zones: Vec<(String, usize)>,
}

impl Reads {
    /// What this condition reads.
    pub(super) fn of(condition: Option<&Expr>) -> Self {
        let mut reads = Self::default();
        if let Some(expr) = condition {
            reads.collect(expr);
        }
        reads
    }

    /// Adds what another policy reads, but for the zones' places.
    pub(super) fn join(&mut self, other: Self) {
        self.context.join(&other.context);
        self.resource.join(&other.resource);
        self.principal |= other.principal;
        self.action |= other.action;
        self.hierarchy |= other.hierarchy;
        self.literals.extend(other.literals);
    }

    fn collect(&mut self, expr: &Expr) {
        if let Some((root, path)) = chain(expr) {
            return self.variable(root, path, expr);
        }
        match expr.expr_kind() {
            ExprKind::Lit(Literal::EntityUID(uid)) => drop(self.literals.insert(uid.as_ref().clone())),
            ExprKind::BinaryApp { op: BinaryOp::In, .. } => self.hierarchy = true,
            _ => {}
        }
        for child in children(expr) {
            self.collect(child);
        }
    }

    fn variable(&mut self, root: Var, path: Vec<String>, expr: &Expr) {
        match root {
            Var::Principal => self.principal = true,
            Var::Resource => self.resource.add(path),
            Var::Action => self.action = true,
            Var::Context => {
                if let [time, zones, zone, ..] = path.as_slice()
                    && time == "time"
                    && zones == "zones"
                {
                    let offset = expr.source_loc().map_or(0, |loc| loc.start());
                    self.zones.push((zone.clone(), offset));
                }
                self.context.add(path);
            }
        }
    }
}

/// The variable and the attribute names of a plain chain such as `context.args.path`, of a `has` on
/// one, or of the bare variable.
pub(super) fn chain(expr: &Expr) -> Option<(Var, Vec<String>)> {
    match expr.expr_kind() {
        ExprKind::Var(variable) => Some((*variable, Vec::new())),
        ExprKind::GetAttr { expr, attr } | ExprKind::HasAttr { expr, attr } => {
            let (root, mut path) = chain(expr)?;
            path.push(attr.to_string());
            Some((root, path))
        }
        ExprKind::ExtHasAttr { expr, attrs } => {
            let (root, mut path) = chain(expr)?;
            path.extend(attrs.iter().map(ToString::to_string));
            Some((root, path))
        }
        _ => None,
    }
}

/// The direct parts of an expression.
pub(super) fn children(expr: &Expr) -> Vec<&Expr> {
    match expr.expr_kind() {
        ExprKind::Lit(_) | ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_) => Vec::new(),
        ExprKind::If { test_expr, then_expr, else_expr } => vec![test_expr, then_expr, else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![left, right],
        ExprKind::UnaryApp { arg, .. } => vec![arg],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::Set(items) => items.iter().collect(),
        ExprKind::Record(members) => members.values().collect(),
    }
}

#[cfg(test)]
mod tests;
