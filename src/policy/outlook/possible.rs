//! What a condition may come to while the arguments of the call are not known.
//!
//! Invariants: every outcome that some arguments lead to is among the possible ones; parts of a condition
//! that do not look at the arguments, nor at what follows from them, are evaluated by Cedar itself. So an
//! outcome that is missing here can never come, and one that is here may never come.

use std::collections::BTreeSet;

use cedar_policy_core::ast::{
    BinaryOp, EntityUID, Expr, ExprKind, Literal, SlotEnv, UnaryOp, ValueKind, Var,
};
use cedar_policy_core::evaluator::Evaluator;

use super::shape::Shape;
use crate::policy::engine::{self, Truth};
use crate::policy::reads::{chain, children};

/// A set of outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Possible(u8);

impl Possible {
    pub(super) const TRUE: Self = Self(1);
    pub(super) const FALSE: Self = Self(2);
    /// The evaluation fails.
    pub(super) const ERROR: Self = Self(4);
    /// Either truth.
    pub(super) const MAYBE: Self = Self(1 | 2);
    /// Anything that a part of a condition can come to: other values than truths too, which no
    /// condition and no operand of `&&` takes.
    const ANY: Self = Self(1 | 2 | 4);

    /// Whether any of these outcomes is among those.
    pub(super) const fn may(self, outcome: Self) -> bool {
        self.0 & outcome.0 != 0
    }

    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// `!` of it.
    const fn negated(self) -> Self {
        let swapped = (self.0 & 1) << 1 | (self.0 & 2) >> 1;
        Self(swapped | self.0 & 4)
    }
}

/// Looks ahead at one kind of call.
pub(super) struct Foresight<'a> {
    pub(super) evaluator: Evaluator<'a>,
    pub(super) slots: SlotEnv,
    pub(super) shape: &'a Shape,
    /// Arguments that the tool does not declare: no call's context holds them.
    pub(super) absent: &'a BTreeSet<String>,
}

impl Foresight<'_> {
    /// What this condition, or a part of one that has to be a truth, may come to.
    pub(super) fn of(&self, expr: &Expr) -> Possible {
        if !self.is_open(expr) {
            return match engine::truth(&self.evaluator, &self.slots, expr) {
                Truth::Held => Possible::TRUE,
                Truth::Failed => Possible::FALSE,
                Truth::Error(..) => Possible::ERROR,
            };
        }
        if let Some(outcome) = self.of_absent(expr) {
            return outcome;
        }
        match expr.expr_kind() {
            ExprKind::And { left, right } => self.either(left, right, Possible::TRUE),
            ExprKind::Or { left, right } => self.either(left, right, Possible::FALSE),
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => self.of(arg).negated(),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                let test = self.of(test_expr);
                let mut possible = test.without(Possible::MAYBE);
                if test.may(Possible::TRUE) {
                    possible = possible.and(self.of(then_expr));
                }
                if test.may(Possible::FALSE) {
                    possible = possible.and(self.of(else_expr));
                }
                possible
            }
            ExprKind::Is { expr: inner, entity_type } if is_resource(inner) => self.shape.is(entity_type),
            ExprKind::BinaryApp { op: BinaryOp::In, arg1, arg2 } if is_resource(arg1) => {
                self.within(arg2).unwrap_or(Possible::ANY)
            }
            ExprKind::BinaryApp { op: BinaryOp::Eq, arg1, arg2 } => match (literal(arg1), literal(arg2)) {
                (None, Some(uid)) if is_resource(arg1) => self.shape.equals(uid),
                (Some(uid), None) if is_resource(arg2) => self.shape.equals(uid),
                _ => self.strict(expr),
            },
            _ => self.strict(expr),
        }
    }

    /// `&&` (which goes on from true) or `||` (which goes on from false).
    fn either(&self, left: &Expr, right: &Expr, goes_on: Possible) -> Possible {
        let left = self.of(left);
        if !left.may(goes_on) {
            return left;
        }
        left.without(goes_on).and(self.of(right))
    }

    /// An operation that evaluates all its parts: it fails where one of them fails in any case.
    fn strict(&self, expr: &Expr) -> Possible {
        if children(expr).into_iter().any(|part| self.fails(part)) { Possible::ERROR } else { Possible::ANY }
    }

    /// What becomes of a look at an argument that no call has.
    fn of_absent(&self, expr: &Expr) -> Option<Possible> {
        let (Var::Context, path) = chain(expr)? else { return None };
        let name = path.get(1).filter(|_| path.first().is_some_and(|first| first == "args"))?;
        if !self.absent.contains(name) {
            return None;
        }
        // `has` asks whether it is there; whatever looks beneath it fails.
        let asked = match expr.expr_kind() {
            ExprKind::HasAttr { expr: holder, .. } | ExprKind::ExtHasAttr { expr: holder, .. } => {
                chain(holder).is_some_and(|(_, path)| path.len() < 2)
            }
            _ => false,
        };
        Some(if asked { Possible::FALSE } else { Possible::ERROR })
    }

    /// Whether a part fails whatever the arguments are.
    fn fails(&self, part: &Expr) -> bool {
        if let Some(outcome) = self.of_absent(part) {
            return outcome == Possible::ERROR;
        }
        if self.is_open(part) {
            let strict =
                !matches!(part.expr_kind(), ExprKind::And { .. } | ExprKind::Or { .. } | ExprKind::If { .. });
            return match strict && chain(part).is_none() {
                true => children(part).into_iter().any(|part| self.fails(part)),
                false => false,
            };
        }
        self.evaluator.interpret(part, &self.slots).is_err()
    }

    /// `resource in` this entity, or these.
    fn within(&self, place: &Expr) -> Option<Possible> {
        if let Some(uid) = literal(place) {
            return Some(self.shape.stands_in(uid));
        }
        if let ExprKind::Set(items) = place.expr_kind() {
            let each: Option<Vec<Possible>> =
                items.iter().map(|item| Some(self.shape.stands_in(literal(item)?))).collect();
            return each.map(|each| any(&each));
        }
        if self.is_open(place) {
            return None;
        }
        let value = self.evaluator.interpret(place, &self.slots).ok()?;
        match value.value_kind() {
            ValueKind::Lit(Literal::EntityUID(uid)) => Some(self.shape.stands_in(uid)),
            _ => None,
        }
    }

    /// Whether an expression looks at the arguments, or at what follows from them: the resource, and
    /// entities of the types that the resource and what it stands in may have.
    fn is_open(&self, expr: &Expr) -> bool {
        match (chain(expr), expr.expr_kind()) {
            (Some((Var::Resource, _)), _) => !self.shape.is_exact(),
            (Some((Var::Context, path)), _) => path.first().is_none_or(|name| name == "args"),
            (Some(_), _) => false,
            (None, ExprKind::Lit(Literal::EntityUID(uid))) => self.shape.may_hold(uid),
            (None, ExprKind::Unknown(_) | ExprKind::Slot(_)) => true,
            (None, _) => children(expr).into_iter().any(|part| self.is_open(part)),
        }
    }
}

/// `a || b || …` of what neither fails.
fn any(each: &[Possible]) -> Possible {
    if each.contains(&Possible::TRUE) {
        return Possible::TRUE;
    }
    if each.iter().any(|one| one.may(Possible::TRUE)) { Possible::MAYBE } else { Possible::FALSE }
}

fn is_resource(expr: &Expr) -> bool {
    matches!(expr.expr_kind(), ExprKind::Var(Var::Resource))
}

fn literal(expr: &Expr) -> Option<&EntityUID> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => Some(uid),
        _ => None,
    }
}
