//! Which counters the policies set limits on, so that an agent can be told what it has left.
//!
//! Invariant: for information only. A limit is read off the conditions; whether a call is allowed is
//! decided by evaluating them, and the other conditions of the same policy count there.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp, Var};

use super::engine::Body;
use super::question::Effect;
use super::reads::{CounterReach, Reach, chain, children};
use crate::model::Show;
use crate::model::{CounterKey, CounterScope, PolicyRef};

/// A comparison of a counter with a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterLimit {
    pub policy: PolicyRef,
    pub effect: Effect,
    /// A hidden policy's limits are not for callers.
    pub show: Show,
    pub scope: CounterScope,
    pub counter: CounterKey,
    /// From this count on, a forbid matches or a permit no longer does.
    pub stops_at: i64,
}

/// The limits that one policy sets.
pub(super) fn of(rule: &Body) -> Vec<CounterLimit> {
    let mut found = Vec::new();
    if let Some(condition) = &rule.condition {
        collect(condition, rule.effect == Effect::Forbid, &mut found);
    }
    let limit = |(scope, counter, stops_at)| CounterLimit {
        policy: rule.reference.clone(),
        effect: rule.effect,
        show: rule.show,
        scope,
        counter,
        stops_at,
    };
    let mut limits: Vec<CounterLimit> = Vec::new();
    for limit in found.into_iter().map(limit) {
        if !limits.contains(&limit) {
            limits.push(limit);
        }
    }
    limits
}

type Found = Vec<(CounterScope, CounterKey, i64)>;

/// Looks for comparisons that stop a call while they are true (`stops`), or while they are false.
fn collect(expr: &Expr, stops: bool, found: &mut Found) {
    match expr.expr_kind() {
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => collect(arg, !stops, found),
        ExprKind::BinaryApp { op, arg1, arg2 } => found.extend(comparison(*op, arg1, arg2, stops)),
        ExprKind::And { .. } | ExprKind::Or { .. } => {
            children(expr).into_iter().for_each(|child| collect(child, stops, found));
        }
        _ => {}
    }
}

fn comparison(
    op: BinaryOp,
    left: &Expr,
    right: &Expr,
    stops: bool,
) -> Option<(CounterScope, CounterKey, i64)> {
    // Cedar's tree has only `<` and `<=`; `>=` and `>` are their negations.
    let strict = match op {
        BinaryOp::Less => true,
        BinaryOp::LessEq => false,
        _ => return None,
    };
    match (counter(left), number(left), counter(right), number(right)) {
        // Stops while `counter < number` is false: from `number` on.
        (Some((scope, key)), _, _, Some(number)) if !stops => {
            Some((scope, key, if strict { number } else { number.checked_add(1)? }))
        }
        // Stops while `number < counter` is true: from the one after `number` on.
        (_, Some(number), Some((scope, key)), _) if stops => {
            Some((scope, key, if strict { number.checked_add(1)? } else { number }))
        }
        _ => None,
    }
}

fn number(expr: &Expr) -> Option<i64> {
    match expr.expr_kind() {
        ExprKind::Lit(Literal::Long(number)) => Some(*number),
        _ => None,
    }
}

fn counter(expr: &Expr) -> Option<(CounterScope, CounterKey)> {
    let (Var::Context, path) = chain(expr)? else {
        return None;
    };
    let (first, rest) = path.split_first()?;
    let scope = match first.as_str() {
        "session" => CounterScope::Session,
        "member" => CounterScope::Member,
        _ => return None,
    };
    match CounterReach::of(&Reach::Paths([rest.to_vec()].into())) {
        CounterReach::Keys(keys) => Some((scope, keys.into_iter().next()?)),
        CounterReach::Whole => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::model::CounterScope;
    use crate::policy::fixtures::bundle;

    #[test]
    fn limits_are_read_off_forbids_and_permits() {
        let table = [
            ("forbid", "when { context.session.calls >= 20 }", "session calls 20"),
            ("forbid", "when { context.session.calls > 20 }", "session calls 21"),
            ("forbid", "when { 20 <= context.member.tiersUsed.write }", "member tier/write 20"),
            (
                "forbid",
                "when { 20 < context.member.denials || context.session.denials >= 3 }",
                "member denials 21, session denials 3",
            ),
            ("forbid", "unless { context.session.calls < 20 }", "session calls 20"),
            (
                "forbid",
                "unless { context.session.calls <= 20 && principal.name == \"a\" }",
                "session calls 21",
            ),
            ("forbid", "when { context.session.calls < 20 }", ""),
            ("permit", "when { context.member.policiesAllowCounts[\"x\"] < 10 }", "member allow/x 10"),
            ("permit", "when { context.member.toolsUsed[\"notes:add\"] <= 10 }", "member tool/notes:add 11"),
            ("permit", "unless { context.session.calls >= 5 }", "session calls 5"),
            ("permit", "when { context.session.calls >= 5 }", ""),
            ("permit", "when { context.session.calls + context.member.calls < 5 }", ""),
            ("permit", "when { context.time.hour < 5 }", ""),
        ];
        for (effect, condition, expected) in table {
            let bundle = bundle(&format!("@id(\"x\") {effect}(principal, action, resource) {condition};"));
            let written = bundle.limits().into_iter().map(|limit| {
                let scope = if limit.scope == CounterScope::Session { "session" } else { "member" };
                format!("{scope} {} {}", limit.counter, limit.stops_at)
            });
            assert_eq!(written.collect::<Vec<_>>().join(", "), expected, "{effect} {condition}");
        }
    }
}
