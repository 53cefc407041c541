//! Which facts could be others: out of what the policies of a call compare them with.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cedar_policy_core::ast::{
    BinaryOp, EntityReference, EntityUID, Expr, ExprKind, Literal, PatternElem,
    PrincipalOrResourceConstraint as Constraint, Var,
};
use serde_json::{Value, json};

use super::facts::{Change, Facts, Idea};
use super::instants::{self, Clocks};
use super::places::{Ground, Place, place};
use crate::model::GroupName;
use crate::policy::argument::members_of;
use crate::policy::bundle::Bundle;
use crate::policy::engine::{Rule, rule};
use crate::policy::question::Question;
use crate::policy::reads::{chain, children};

/// Ideas of one fact; of the clock, [`instants::INSTANTS_MAX`].
const OF_ONE_FACT_MAX: usize = 12;
/// Ideas in all.
const IDEAS_MAX: usize = 400;
/// Literals of one list that are tried.
const LITERALS_MAX: usize = 4;
/// Policies that are read.
const POLICIES_MAX: usize = 100;
/// Addresses outside of most networks: those that documents use, and the machine's own.
const ELSEWHERE: [&str; 5] = ["192.0.2.1", "198.51.100.1", "203.0.113.1", "127.0.0.1", "2001:db8::1"];

/// What could be tried, the likeliest first.
pub(super) fn of(bundle: &Bundle, question: &Question<'_>, now: &Facts<'_>) -> Vec<Idea> {
    let shapes = members_of(&question.tool.input_schema);
    let ground = Ground { tool: question.tool, shapes: &shapes, now };
    let mut collected = Collected { ground, now, found: Vec::new(), clocks: BTreeMap::new() };
    for rule in relevant(bundle, question).into_iter().take(POLICIES_MAX) {
        collected.scope(rule);
        rule.body.condition.iter().for_each(|condition| collected.expression(condition));
    }
    let Collected { mut found, clocks, .. } = collected;
    found.sort_by_key(|idea| rank(&idea.change));
    found.extend(instants::of(bundle, &clocks, now.at));
    found
}

/// The policies whose scope holds the call, and those that miss it by who calls or on what.
fn relevant<'b>(bundle: &'b Bundle, question: &Question<'_>) -> Vec<&'b Rule> {
    let asked = bundle.asked(question);
    let Ok(scope) = asked.scope() else { return Vec::new() };
    let candidates = asked.candidates(scope);
    let mut found: Vec<&Rule> = candidates.iter().filter_map(|number| rule(&bundle.rules, *number)).collect();
    let missed = (0..).zip(&bundle.rules).filter(|(number, _)| {
        let speaks = bundle.index.missed(*number, scope.classes()).is_some_and(|[action, ..]| !action);
        speaks && !candidates.contains(number)
    });
    found.extend(missed.map(|(_, rule)| rule));
    found
}

/// What is easier to change comes first; to leave an argument out is a change of another kind of call.
fn rank(change: &Change) -> u8 {
    match change {
        Change::Arguments { values, .. } if values.iter().any(|(_, value)| value.is_none()) => 1,
        Change::Arguments { resource: None, .. } => 0,
        Change::Arguments { .. } => 2,
        Change::Counter(..) => 3,
        Change::Group(..) | Change::Role(_) => 4,
        Change::Ip(_) => 5,
        Change::Attribute(..) => 6,
        Change::At(_) => 7,
    }
}

struct Collected<'a> {
    ground: Ground<'a>,
    now: &'a Facts<'a>,
    found: Vec<Idea>,
    clocks: BTreeMap<Option<String>, Clocks>,
}

impl Collected<'_> {
    fn add(&mut self, ideas: impl IntoIterator<Item = Idea>) {
        for idea in ideas {
            let of_fact = self.found.iter().filter(|other| other.fact == idea.fact).count();
            if of_fact < OF_ONE_FACT_MAX && self.found.len() < IDEAS_MAX && !self.found.contains(&idea) {
                self.found.push(idea);
            }
        }
    }

    fn scope(&mut self, rule: &Rule) {
        if let Some(uid) = named(&rule.body.scope.principal) {
            self.group(uid);
        }
        if let Some(uid) = named(&rule.body.scope.resource) {
            self.resource(uid);
        }
    }

    fn group(&mut self, uid: &EntityUID) {
        if uid.entity_type().to_string() != "Wicket::Group" {
            return;
        }
        let Ok(group) = GroupName::parse(uid.eid().as_ref()) else { return };
        let joined = !self.now.groups.contains(&group);
        self.add([Idea { fact: "groups".to_owned(), change: Change::Group(group, joined) }]);
    }

    fn resource(&mut self, uid: &EntityUID) {
        let id: &str = uid.eid().as_ref();
        let ideas = self.ground.resource(&uid.entity_type().to_string(), id);
        self.add(ideas);
    }

    fn expression(&mut self, expr: &Expr) {
        match expr.expr_kind() {
            ExprKind::BinaryApp { op, arg1, arg2 } => self.binary(*op, arg1, arg2),
            ExprKind::Like { expr, pattern } => {
                if let Some(place) = place_of(expr) {
                    let fill = |with: &str| {
                        let part = |element: &PatternElem| match element {
                            PatternElem::Char(letter) => letter.to_string(),
                            PatternElem::Wildcard => with.to_owned(),
                        };
                        pattern.get_elems().iter().map(part).collect::<String>()
                    };
                    let texts = [fill(""), fill("x")].into_iter().filter(|text| !text.is_empty());
                    let ideas = self.ground.texts(&place, texts.collect());
                    self.add(ideas);
                }
            }
            ExprKind::ExtensionFunctionApp { fn_name, args } => self.extension(&fn_name.to_string(), args),
            ExprKind::HasAttr { .. } | ExprKind::ExtHasAttr { .. } => {
                if let Some(Place::Argument(path)) = place_of(expr) {
                    let ideas = self.ground.presence(&path);
                    self.add(ideas);
                }
            }
            ExprKind::GetAttr { .. } => {
                if let Some(place) = place_of(expr) {
                    let ideas = self.ground.near(&place, &json!(true));
                    self.add(ideas);
                }
            }
            _ => children(expr).into_iter().for_each(|child| self.expression(child)),
        }
    }

    fn binary(&mut self, op: BinaryOp, left: &Expr, right: &Expr) {
        match op {
            BinaryOp::In => match (left.expr_kind(), uids(right)) {
                (ExprKind::Var(Var::Principal), uids) => uids.into_iter().for_each(|uid| self.group(uid)),
                (ExprKind::Var(Var::Resource), uids) => uids.into_iter().for_each(|uid| self.resource(uid)),
                _ => {}
            },
            BinaryOp::Eq | BinaryOp::Less | BinaryOp::LessEq => {
                let places: Vec<Place> = [left, right].into_iter().flat_map(places_in).collect();
                let mut values: Vec<Value> = [left, right].into_iter().filter_map(literal).collect();
                if values.is_empty() {
                    // One counter is compared with another: each with what the other stands at.
                    values.extend(places.iter().filter_map(|place| self.count(place)));
                }
                if let (ExprKind::Var(Var::Resource), [uid]) = (left.expr_kind(), uids(right).as_slice()) {
                    self.resource(uid);
                }
                for (place, value) in places.iter().flat_map(|place| values.iter().map(move |v| (place, v))) {
                    self.compare(place, value);
                }
            }
            BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny => {
                let literals = |expr: &Expr| match expr.expr_kind() {
                    ExprKind::Set(items) => items.iter().filter_map(literal).take(LITERALS_MAX).collect(),
                    _ => literal(expr).into_iter().collect::<Vec<Value>>(),
                };
                if let Some(place) = place_of(right) {
                    literals(left).iter().for_each(|value| self.compare(&place, value));
                } else if let Some(place) = place_of(left) {
                    let ideas = self.ground.lists(&place, &literals(right));
                    self.add(ideas);
                }
            }
            _ => [left, right].into_iter().for_each(|part| self.expression(part)),
        }
    }

    fn count(&self, place: &Place) -> Option<Value> {
        match place {
            Place::Counter(scope, key) => Some(json!(self.now.history.get(*scope, key))),
            _ => None,
        }
    }

    fn compare(&mut self, place: &Place, value: &Value) {
        if let (Place::Time(zone, field), Some(number)) = (place, value.as_i64()) {
            self.clocks.entry(zone.clone()).or_default().add(field, number);
            return;
        }
        let ideas = self.ground.near(place, value);
        self.add(ideas);
    }

    fn extension(&mut self, name: &str, args: &[Expr]) {
        let [subject, other] = args else { return args.iter().for_each(|arg| self.expression(arg)) };
        let (Some(place), Some(written)) = (place_of(subject), constructed(other)) else { return };
        if name == "isInRange" && place == Place::Ip {
            self.address(&written);
        } else if name.starts_with("lessThan") || name.starts_with("greaterThan") {
            let ideas = self.ground.decimals(&place, &written);
            self.add(ideas);
        }
    }

    /// An address within, or one without.
    fn address(&mut self, written: &str) {
        let network = written.parse::<ipnet::IpNet>().or_else(|_| written.parse::<IpAddr>().map(Into::into));
        let Ok(network) = network else { return };
        let mut tried: Vec<IpAddr> = Vec::new();
        if network.contains(&self.now.ip.to_canonical()) {
            let elsewhere = ELSEWHERE.iter().filter_map(|text| text.parse().ok());
            tried.extend(elsewhere.filter(|ip: &IpAddr| !network.contains(ip)));
        } else {
            tried.extend(network.hosts().next());
        }
        self.add(tried.into_iter().map(|ip| Idea { fact: "ip".to_owned(), change: Change::Ip(ip) }));
    }
}

fn named(constraint: &Constraint) -> Option<&EntityUID> {
    match constraint {
        Constraint::Eq(reference) | Constraint::In(reference) | Constraint::IsIn(_, reference) => {
            match reference {
                EntityReference::EUID(uid) => Some(uid),
                EntityReference::Slot(_) => None,
            }
        }
        Constraint::Any | Constraint::Is(_) => None,
    }
}

fn place_of(expr: &Expr) -> Option<Place> {
    let (root, path) = chain(expr)?;
    place(root, &path)
}

/// The places that are added up, or the one that stands there.
fn places_in(expr: &Expr) -> Vec<Place> {
    match (place_of(expr), expr.expr_kind()) {
        (Some(place), _) => vec![place],
        (None, ExprKind::BinaryApp { op: BinaryOp::Add | BinaryOp::Sub, arg1, arg2 }) => {
            [places_in(arg1), places_in(arg2)].concat()
        }
        _ => Vec::new(),
    }
}

fn literal(expr: &Expr) -> Option<Value> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Bool(truth)) => Some(json!(truth)),
        ExprKind::Lit(Literal::Long(number)) => Some(json!(number)),
        ExprKind::Lit(Literal::String(text)) => Some(json!(text.as_str())),
        _ => None,
    }
}

/// The entities that are named, in a set or alone.
fn uids(expr: &Expr) -> Vec<&EntityUID> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => vec![uid.as_ref()],
        ExprKind::Set(items) => items.iter().flat_map(uids).take(LITERALS_MAX).collect(),
        _ => Vec::new(),
    }
}

/// What `decimal("1.5")` and `ip("10.0.0.0/8")` are made of.
fn constructed(expr: &Expr) -> Option<String> {
    let ExprKind::ExtensionFunctionApp { args, .. } = expr.expr_kind() else { return None };
    args.first().and_then(literal)?.as_str().map(str::to_owned)
}
