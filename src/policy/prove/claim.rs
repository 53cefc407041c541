//! What a set of policies says of one kind of call, as one Cedar condition.
//!
//! Invariant: the condition holds of exactly the calls that the gate allows: no policy fails, no forbid
//! matches, and some permit does (decision 7; plain Cedar would let a failing forbid pass). `c || true`
//! fails where `c` fails and holds everywhere else, so that "no policy fails" can be said in Cedar itself.

use cedar_policy_core::ast::{Expr, ExprKind, PrincipalOrResource, UnaryOp};

use super::kind::Kind;
use crate::policy::Effect;
use crate::policy::engine::Rule;

/// The policies of a set that matter for one kind of call.
#[derive(Debug, Clone)]
pub(super) struct Set<'r> {
    /// Those that could match.
    pub(super) rules: Vec<&'r Rule>,
    /// Those that deny because they cannot see what the call acts on.
    blinding: Vec<&'r Rule>,
}

impl<'r> Set<'r> {
    /// Of these policies, those that matter for calls of this kind.
    pub(super) fn of(rules: &'r [Rule], kind: &Kind<'_>) -> Self {
        let (blinding, seeing): (Vec<&Rule>, Vec<&Rule>) =
            rules.iter().partition(|rule| kind.is_blinding(rule));
        Self { rules: seeing.into_iter().filter(|rule| kind.is_within(rule)).collect(), blinding }
    }

    /// The same without one of them.
    pub(super) fn without(&self, left_out: &Rule) -> Self {
        let keep =
            |list: &[&'r Rule]| list.iter().copied().filter(|rule| !std::ptr::eq(*rule, left_out)).collect();
        Self { rules: keep(&self.rules), blinding: keep(&self.blinding) }
    }

    /// Whether two sets hold policies that match alike, in the same order.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let alike = |(a, b): (&&Rule, &&Rule)| {
            let (a, b) = (&a.body, &b.body);
            let scopes = a.scope.principal == b.scope.principal && a.scope.resource == b.scope.resource;
            a.effect == b.effect && scopes && a.condition == b.condition
        };
        let lists = |a: &[&Rule], b: &[&Rule]| a.len() == b.len() && a.iter().zip(b).all(alike);
        lists(&self.rules, &other.rules) && lists(&self.blinding, &other.blinding)
    }
}

/// What the gate allows.
pub(super) fn allowed(set: &Set<'_>) -> Expr {
    let permits = set.rules.iter().filter(|rule| rule.body.effect == Effect::Permit);
    let permits: Vec<Expr> = permits.map(|rule| matches(rule)).collect();
    if permits.is_empty() {
        return Expr::val(false);
    }
    Expr::and(unforbidden(set), any(permits))
}

/// What the gate would allow if anything permitted it.
pub(super) fn unforbidden(set: &Set<'_>) -> Expr {
    let forbids = set.rules.iter().filter(|rule| rule.body.effect == Effect::Forbid);
    let forbids = any(forbids.map(|rule| matches(rule)).collect());
    let mut parts: Vec<Expr> = set.blinding.iter().map(|rule| Expr::not(addresses(rule))).collect();
    parts.extend([nothing_fails(set), Expr::not(forbids)]);
    all(parts)
}

/// That no policy fails.
pub(super) fn nothing_fails(set: &Set<'_>) -> Expr {
    let conditions = set.rules.iter().filter(|rule| rule.body.condition.is_some());
    all(conditions.map(|rule| Expr::or(matches(rule), Expr::val(true))).collect())
}

/// That one policy speaks of the caller.
fn addresses(rule: &Rule) -> Expr {
    rule.body.scope.principal.as_expr(PrincipalOrResource::Principal)
}

/// That one policy matches, given that its action does.
pub(super) fn matches(rule: &Rule) -> Expr {
    use cedar_policy_core::ast::PrincipalOrResourceConstraint::Any;
    let (scope, mut parts) = (&rule.body.scope, Vec::new());
    if !matches!(scope.principal, Any) {
        parts.push(scope.principal.as_expr(PrincipalOrResource::Principal));
    }
    if !matches!(scope.resource, Any) {
        parts.push(scope.resource.as_expr(PrincipalOrResource::Resource));
    }
    parts.extend(rule.body.condition.as_ref().map(leaning));
    // In their order: a condition may rest on what the scope says.
    all(parts)
}

/// That all hold.
pub(super) fn all(parts: Vec<Expr>) -> Expr {
    joined(parts, Expr::and).unwrap_or_else(|| Expr::val(true))
}

fn any(parts: Vec<Expr>) -> Expr {
    joined(parts, Expr::or).unwrap_or_else(|| Expr::val(false))
}

/// Parts of a list that stand in one row.
const ROW: usize = 16;

/// A list, leaning to the right: the symbolic compiler writes what stands on the left twice, so that a list
/// that leans to the left doubles with every part. In rows, since five hundred would nest too deeply.
fn joined(parts: Vec<Expr>, join: fn(Expr, Expr) -> Expr) -> Option<Expr> {
    let row = |parts: &[Expr]| parts.iter().cloned().rev().reduce(|after, before| join(before, after));
    let rows: Vec<Expr> = parts.chunks(ROW).filter_map(row).collect();
    rows.into_iter().rev().reduce(|after, before| join(before, after))
}

/// The same condition with its lists leaning to the right. `&&` and `||` are associative in Cedar, failures
/// included: what stands first is evaluated first.
pub(super) fn leaning(condition: &Expr) -> Expr {
    let again = |parts: Vec<&Expr>| parts.into_iter().map(leaning).collect();
    match condition.expr_kind() {
        ExprKind::And { .. } => all(again(parts_of(condition, true))),
        ExprKind::Or { .. } => any(again(parts_of(condition, false))),
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => Expr::not(leaning(arg)),
        ExprKind::If { test_expr, then_expr, else_expr } => {
            Expr::ite(leaning(test_expr), leaning(then_expr), leaning(else_expr))
        }
        _ => condition.clone(),
    }
}

/// What `&&` joins, or `||`, in its order.
fn parts_of(condition: &Expr, and: bool) -> Vec<&Expr> {
    let (mut found, mut open) = (Vec::new(), vec![condition]);
    while let Some(next) = open.pop() {
        match (next.expr_kind(), and) {
            (ExprKind::And { left, right }, true) | (ExprKind::Or { left, right }, false) => {
                open.push(right);
                open.push(left);
            }
            _ => found.push(next),
        }
    }
    found
}
