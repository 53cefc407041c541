//! Conditions without the places that they were written at.
//!
//! Why: Cedar's evaluator copies the place of every part that it evaluates, and each copy counts a
//! reference to the file's text up and down, on a counter that all cores share. The places are needed
//! only to say where a failure is, and are found then by reading the policy's text again.
//!
//! Invariant: the same expression but for its places.

use std::sync::Arc;

use cedar_policy_core::ast::{EntityUID, Expr, ExprBuilder, ExprKind, Literal};
use cedar_policy_core::expr_builder::ExprBuilder as _;

/// The same expression without places.
pub(super) fn strip(expr: &Expr) -> Expr {
    let arc = |expr: &Arc<Expr>| Arc::new(strip(expr));
    let kind = match expr.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => ExprKind::Lit(Literal::EntityUID(Arc::new(bare(uid)))),
        ExprKind::Lit(literal) => ExprKind::Lit(literal.clone()),
        ExprKind::Var(variable) => ExprKind::Var(*variable),
        ExprKind::Slot(slot) => ExprKind::Slot(*slot),
        ExprKind::Unknown(unknown) => ExprKind::Unknown(unknown.clone()),
        ExprKind::If { test_expr, then_expr, else_expr } => {
            ExprKind::If { test_expr: arc(test_expr), then_expr: arc(then_expr), else_expr: arc(else_expr) }
        }
        ExprKind::And { left, right } => ExprKind::And { left: arc(left), right: arc(right) },
        ExprKind::Or { left, right } => ExprKind::Or { left: arc(left), right: arc(right) },
        ExprKind::UnaryApp { op, arg: inner } => ExprKind::UnaryApp { op: *op, arg: arc(inner) },
        ExprKind::BinaryApp { op, arg1, arg2 } => {
            ExprKind::BinaryApp { op: *op, arg1: arc(arg1), arg2: arc(arg2) }
        }
        ExprKind::ExtensionFunctionApp { fn_name, args } => ExprKind::ExtensionFunctionApp {
            fn_name: fn_name.clone(),
            args: Arc::new(args.iter().map(strip).collect()),
        },
        ExprKind::GetAttr { expr, attr } => ExprKind::GetAttr { expr: arc(expr), attr: attr.clone() },
        ExprKind::HasAttr { expr, attr } => ExprKind::HasAttr { expr: arc(expr), attr: attr.clone() },
        ExprKind::ExtHasAttr { expr, attrs } => {
            ExprKind::ExtHasAttr { expr: arc(expr), attrs: attrs.clone() }
        }
        ExprKind::Like { expr, pattern } => ExprKind::Like { expr: arc(expr), pattern: pattern.clone() },
        ExprKind::Is { expr, entity_type } => {
            ExprKind::Is { expr: arc(expr), entity_type: entity_type.with_loc(None) }
        }
        ExprKind::Set(items) => ExprKind::Set(Arc::new(items.iter().map(strip).collect())),
        ExprKind::Record(members) => {
            let members = members.iter().map(|(name, member)| (name.clone(), strip(member)));
            ExprKind::Record(Arc::new(members.collect()))
        }
    };
    ExprBuilder::with_data(()).with_expr_kind(kind)
}

/// The same uid without its place.
pub(super) fn bare(uid: &EntityUID) -> EntityUID {
    EntityUID::from_components(uid.entity_type().with_loc(None), uid.eid().clone(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::reads::children;

    fn places(expr: &Expr) -> usize {
        usize::from(expr.source_loc().is_some()) + children(expr).into_iter().map(places).sum::<usize>()
    }

    #[test]
    fn nothing_changes_but_the_places() {
        let conditions = [
            "context.a.b > 1 && !(context has c.d) || principal in [G::\"a\", G::\"b\"]",
            "if resource is R in F::\"x\" then {\"a\": 1}.a == -2 else context.name like \"a*\\*\"",
            "ip(context.ip).isInRange(ip(\"10.0.0.0/8\")) && [1, 2].containsAny([3]) && context.s.isEmpty()",
            "principal.getTag(\"a\") == 1 + 2 * 3 - 4 && principal.hasTag(context.b) && action == N::Action::\"x\"",
        ];
        for condition in conditions {
            let text = format!("permit(principal, action, resource) when {{ {condition} }};");
            let policy = cedar_policy_core::parser::parse_policy(None, &text).unwrap();
            let before = policy.non_scope_constraints().unwrap();
            let after = strip(before);
            assert_eq!(*before, after, "{condition}");
            assert!(places(before) > 5 && places(&after) == 0, "{condition}");
        }
    }
}
