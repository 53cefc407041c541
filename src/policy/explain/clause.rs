//! One condition taken apart: clauses in the order in which Cedar evaluates them, with what they read.

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, SlotEnv, UnaryOp, Var};
use cedar_policy_core::evaluator::Evaluator;

use super::{Clause, ClauseResult, Read};
use crate::policy::engine::{self, Rule, Truth};
use crate::policy::reads::{chain, children};

/// Clauses of one policy that are shown.
const CLAUSES_MAX: usize = 50;
/// Values of one clause that are shown.
const READS_MAX: usize = 20;
/// Characters of a shown value or text.
const SHOWN_CHARS_MAX: usize = 200;

/// The clauses of a policy, each with how it ended, and how all ended together. After the first that
/// did not hold, the others were not reached, as in Cedar.
pub(super) fn clauses(rule: &Rule, evaluator: &Evaluator<'_>) -> (Vec<Clause>, ClauseResult) {
    let slots = SlotEnv::new();
    let Some(condition) = &rule.body.condition else {
        return (Vec::new(), ClauseResult::Held);
    };
    let whole = result(&engine::truth(evaluator, &slots, condition));
    let mut parts = Vec::new();
    take_apart(rule.body.located().unwrap_or(condition), &mut parts);
    let mut settled = false;
    let mut clauses = Vec::new();
    for part in parts.into_iter().take(CLAUSES_MAX) {
        let truth = (!settled).then(|| engine::truth(evaluator, &slots, part));
        settled = settled || truth != Some(Truth::Held);
        clauses.push(Clause {
            text: text(part, rule),
            line: part.source_loc().map_or(0, |loc| rule.position(loc.start()).0),
            result: truth.as_ref().map_or(ClauseResult::NotReached, result),
            error: match &truth {
                Some(Truth::Error(why, offset)) => Some(engine::at(rule, why, *offset)),
                _ => None,
            },
            reads: if truth.is_some() { reads(part, evaluator) } else { Vec::new() },
        });
    }
    (clauses, whole)
}

/// How each clause ends by itself, whatever stands before it; none where the scope is all there is.
pub(super) fn each(rule: &Rule, evaluator: &Evaluator<'_>) -> Vec<ClauseResult> {
    let mut parts = Vec::new();
    if let Some(condition) = &rule.body.condition {
        take_apart(condition, &mut parts);
    }
    let slots = SlotEnv::new();
    parts.into_iter().take(CLAUSES_MAX).map(|part| result(&engine::truth(evaluator, &slots, part))).collect()
}

const fn result(truth: &Truth) -> ClauseResult {
    match truth {
        Truth::Held => ClauseResult::Held,
        Truth::Failed => ClauseResult::Failed,
        Truth::Error(..) => ClauseResult::Error,
    }
}

/// The operands of the outermost `&&`s, without the `true` that stands for an absent clause.
fn take_apart<'a>(expr: &'a Expr, parts: &mut Vec<&'a Expr>) {
    match expr.expr_kind() {
        ExprKind::And { left, right } => {
            take_apart(left, parts);
            take_apart(right, parts);
        }
        _ => parts.push(expr),
    }
}

/// The clause as it stands in the file.
pub(in crate::policy) fn text(expr: &Expr, rule: &Rule) -> String {
    let written = |expr: &Expr| {
        let loc = expr.source_loc()?;
        let text = rule.body.text.get(loc.start()..loc.end())?;
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let text = match expr.expr_kind() {
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => match (written(expr), written(arg)) {
            (Some(whole), _) if whole.starts_with('!') => whole,
            // Cedar's tree has no `>=`, `>` and `!=`: the file has, and it is shown as it stands there.
            (_, Some(inner)) if turned(arg, rule) => inner,
            (_, Some(inner)) => format!("!({inner})"),
            _ => expr.to_string(),
        },
        _ => written(expr).unwrap_or_else(|| expr.to_string()),
    };
    cut(&text)
}

/// Whether the file compares by an operator that the tree has only as the opposite of its opposite.
fn turned(expr: &Expr, rule: &Rule) -> bool {
    let ExprKind::BinaryApp { op: BinaryOp::Less | BinaryOp::LessEq | BinaryOp::Eq, arg1, arg2 } =
        expr.expr_kind()
    else {
        return false;
    };
    let (Some(left), Some(right)) = (arg1.source_loc(), arg2.source_loc()) else { return false };
    let between = rule.body.text.get(left.end()..right.start());
    between.is_some_and(|operator| operator.contains('>') || operator.contains("!="))
}

/// The values of all attribute chains in the clause, each once.
fn reads(expr: &Expr, evaluator: &Evaluator<'_>) -> Vec<Read> {
    let mut found = Vec::new();
    collect(expr, evaluator, &mut found);
    found.truncate(READS_MAX);
    found
}

fn collect(expr: &Expr, evaluator: &Evaluator<'_>, found: &mut Vec<Read>) {
    let Some((root, path)) = chain(expr) else {
        children(expr).into_iter().for_each(|child| collect(child, evaluator, found));
        return;
    };
    if root == Var::Context && path.is_empty() {
        return;
    }
    let read = Read { path: shown_path(root, &path), value: value(root, &path, evaluator) };
    if !found.contains(&read) {
        found.push(read);
    }
}

/// `context.session.toolsUsed["github:create_issue"]`.
fn shown_path(root: Var, path: &[String]) -> String {
    let mut text = root.to_string();
    for name in path {
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && name.starts_with(|c: char| !c.is_ascii_digit());
        if plain {
            text.push('.');
            text.push_str(name);
        } else {
            text.push_str(&format!("[\"{}\"]", name.escape_debug()));
        }
    }
    text
}

fn value(root: Var, path: &[String], evaluator: &Evaluator<'_>) -> String {
    let expr = path.iter().fold(Expr::var(root), |expr, name| Expr::get_attr(expr, name.as_str().into()));
    match evaluator.interpret(&expr, &SlotEnv::new()) {
        Ok(value) => cut(&value.to_string()),
        Err(_) => "absent".to_owned(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
