//! Which policies, and which clauses of their conditions, the cases exercise.
//!
//! A clause is what `&&`, `||`, `!` and `if` join: a comparison, a `has`, an `in`. It is exercised when one
//! case saw it hold and another saw it fail; a clause behind one that settled the matter is not reached, as in
//! Cedar. A policy is exercised when it determined a decision.

use cedar_policy_core::ast::{Expr, ExprKind, Literal, SlotEnv, UnaryOp};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use serde::Serialize;

use crate::model::{Decision, PolicyKey};
use crate::policy::bundle::{Bundle, Prepared};
use crate::policy::engine::{self, Rule, Truth, rule};
use crate::policy::explain::clause_text;
use crate::policy::question::{Effect, Question};

/// Clauses of one policy that are followed; a policy has far fewer.
const CLAUSES_MAX: usize = 2_000;

/// All policies of a bundle.
#[derive(Debug, Clone, Serialize)]
pub struct Coverage {
    /// What is exercised of what could be, in hundredths, rounded down; 100 where there is nothing.
    pub percent: u32,
    pub policies: Vec<PolicyCoverage>,
}

/// One policy.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyCoverage {
    pub key: PolicyKey,
    pub effect: Effect,
    pub file: String,
    pub line: u32,
    /// Decisions that it determined.
    pub determined: u32,
    pub clauses: Vec<ClauseCoverage>,
}

/// One clause.
#[derive(Debug, Clone, Serialize)]
pub struct ClauseCoverage {
    /// As it stands in the file.
    pub text: String,
    pub line: u32,
    /// How often it held, failed, or could not be evaluated.
    pub held: u32,
    pub failed: u32,
    pub errors: u32,
}

impl ClauseCoverage {
    /// What no case showed of it, in words.
    pub fn missing(&self) -> Option<&'static str> {
        match (self.held, self.failed, self.errors) {
            (0, 0, 0) => Some("never reached"),
            (0, ..) => Some("never held"),
            (_, 0, _) => Some("never failed"),
            _ => None,
        }
    }
}

impl Coverage {
    /// Nothing exercised yet.
    pub(super) fn of(bundle: &Bundle) -> Self {
        let policies = bundle.rules.iter().map(|rule| PolicyCoverage {
            key: rule.body.reference.key.clone(),
            effect: rule.body.effect,
            file: rule.place.file.to_string(),
            line: rule.place.line,
            determined: 0,
            clauses: clauses(rule),
        });
        Self { percent: 0, policies: policies.collect() }
    }

    /// Adds one decided call.
    pub(super) fn add(&mut self, bundle: &Bundle, question: &Question<'_>, decision: &Decision) {
        let asked = bundle.asked(question);
        let Ok(scope) = asked.scope() else { return };
        let Ok(Prepared { request, store, .. }) = asked.prepare(scope, &question.moment()) else { return };
        let evaluator = Evaluator::new(request, store.entities(), Extensions::all_available());
        for number in asked.candidates(scope) {
            let place = usize::try_from(*number).ok().and_then(|at| self.policies.get_mut(at));
            let (Some(rule), Some(policy)) = (rule(&bundle.rules, *number), place) else { continue };
            policy.determined += u32::from(decision.determining.contains(&rule.body.reference));
            if let Some(condition) = rule.body.located() {
                Walk { evaluator: &evaluator, clauses: &mut policy.clauses, next: 0 }.go(condition, true);
            }
        }
    }

    /// Sums up what was added.
    pub(super) fn settled(self) -> Self {
        Self { percent: self.hundredths(), ..self }
    }

    fn hundredths(&self) -> u32 {
        let clauses = || self.policies.iter().flat_map(|policy| &policy.clauses);
        let all = self.policies.len() + 2 * clauses().count();
        let decided = self.policies.iter().filter(|policy| policy.determined > 0).count();
        let seen = clauses().map(|one| usize::from(one.held > 0) + usize::from(one.failed > 0));
        let covered = decided + seen.sum::<usize>();
        u32::try_from((covered * 100).checked_div(all).unwrap_or(100)).unwrap_or(100)
    }
}

/// The clauses of a policy, none of them seen.
fn clauses(rule: &Rule) -> Vec<ClauseCoverage> {
    fn collect<'a>(expr: &'a Expr, found: &mut Vec<&'a Expr>) {
        match parts(expr) {
            Parts::Clause => found.push(expr),
            Parts::Constant => {}
            Parts::Joined(parts) => parts.into_iter().for_each(|part| collect(part, found)),
        }
    }
    let mut found = Vec::new();
    rule.body.located().into_iter().for_each(|condition| collect(condition, &mut found));
    let clause = |expr: &Expr| ClauseCoverage {
        text: clause_text(expr, rule),
        line: expr.source_loc().map_or(0, |loc| rule.position(loc.start()).0),
        held: 0,
        failed: 0,
        errors: 0,
    };
    found.into_iter().take(CLAUSES_MAX).map(clause).collect()
}

enum Parts<'a> {
    Clause,
    /// `true`, which stands for an absent condition.
    Constant,
    Joined(Vec<&'a Expr>),
}

fn parts(expr: &Expr) -> Parts<'_> {
    match expr.expr_kind() {
        ExprKind::And { left, right } | ExprKind::Or { left, right } => Parts::Joined(vec![left, right]),
        ExprKind::If { test_expr, then_expr, else_expr } => {
            Parts::Joined(vec![test_expr, then_expr, else_expr])
        }
        // What the file writes as `a >= b` is `!(a < b)`: a clause by itself.
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } if joins(arg) => Parts::Joined(vec![arg]),
        ExprKind::Lit(Literal::Bool(_)) => Parts::Constant,
        _ => Parts::Clause,
    }
}

fn joins(expr: &Expr) -> bool {
    matches!(parts(expr), Parts::Joined(_))
}

/// One evaluation of a condition, part by part, in Cedar's order.
struct Walk<'a> {
    evaluator: &'a Evaluator<'a>,
    clauses: &'a mut Vec<ClauseCoverage>,
    /// The number of the next clause.
    next: usize,
}

impl Walk<'_> {
    /// How this part ends; `None` where it is not reached.
    fn go(&mut self, expr: &Expr, reached: bool) -> Option<Truth> {
        match expr.expr_kind() {
            ExprKind::And { left, right } => {
                let left = self.go(left, reached);
                let right = self.go(right, left == Some(Truth::Held));
                if left == Some(Truth::Held) { right } else { left }
            }
            ExprKind::Or { left, right } => {
                let left = self.go(left, reached);
                let right = self.go(right, left == Some(Truth::Failed));
                if left == Some(Truth::Failed) { right } else { left }
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                let test = self.go(test_expr, reached);
                let then = self.go(then_expr, test == Some(Truth::Held));
                let otherwise = self.go(else_expr, test == Some(Truth::Failed));
                match test {
                    Some(Truth::Held) => then,
                    Some(Truth::Failed) => otherwise,
                    other => other,
                }
            }
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } if joins(arg) => {
                self.go(arg, reached).map(|truth| match truth {
                    Truth::Held => Truth::Failed,
                    Truth::Failed => Truth::Held,
                    error @ Truth::Error(..) => error,
                })
            }
            ExprKind::Lit(Literal::Bool(truth)) => {
                reached.then_some(if *truth { Truth::Held } else { Truth::Failed })
            }
            _ => self.clause(expr, reached),
        }
    }

    fn clause(&mut self, expr: &Expr, reached: bool) -> Option<Truth> {
        let number = self.next;
        self.next += 1;
        if !reached {
            return None;
        }
        let truth = engine::truth(self.evaluator, &SlotEnv::new(), expr);
        if let Some(seen) = self.clauses.get_mut(number) {
            match &truth {
                Truth::Held => seen.held += 1,
                Truth::Failed => seen.failed += 1,
                Truth::Error(..) => seen.errors += 1,
            }
        }
        Some(truth)
    }
}
