//! One question to a solver: is there a call for which this holds and that does not?
//!
//! Invariants: "no" is the only answer that proves anything, and comes from the solver alone, or from a
//! condition that is false on its face; whatever goes wrong on the way, also a panic of the symbolic
//! compiler, is "unknown".

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use cedar_policy::{EntityTypeName, EntityUid, Policy, RequestEnv, Schema};
use cedar_policy_core::ast::{self, Effect, Expr, PolicyID};
use cedar_policy_symcc::err::Error;
use cedar_policy_symcc::solver::Solver;
use cedar_policy_symcc::{CedarSymCompiler, CompiledPolicy, Env, matches_implies_asserts};

use crate::model::Digest;
use crate::policy::schema::NAMESPACE;

/// Bytes of one question's schema and conditions; a larger one is not asked.
const QUESTION_BYTES_MAX: usize = 4 << 20;

/// The question.
pub(super) struct Puzzle {
    pub(super) schema: String,
    pub(super) action: String,
    pub(super) resource: String,
    /// What holds of the call.
    pub(super) holds: Expr,
    /// What does not.
    pub(super) fails: Expr,
}

/// The answer.
#[derive(Debug, Clone)]
pub(super) enum Found {
    Nothing,
    Call(Box<Env>),
    Unknown(String),
}

impl Puzzle {
    /// Two questions with the same text have the same answer.
    pub(super) fn digest(&self) -> Digest {
        let (holds, fails) = (self.holds.to_string(), self.fails.to_string());
        Digest::of_parts(
            [&self.schema, &self.action, &self.resource, &holds, &fails].map(|text| text.as_bytes()),
        )
    }

    /// Asks.
    pub(super) fn ask<S: Solver>(&self, compiler: &mut CedarSymCompiler<S>) -> Found {
        match catch_unwind(AssertUnwindSafe(|| self.put(compiler))) {
            Ok(Ok(None)) => Found::Nothing,
            Ok(Ok(Some(env))) => Found::Call(Box::new(env)),
            Ok(Err(why)) => Found::Unknown(why),
            Err(_) => Found::Unknown("the symbolic compiler failed on these policies".to_owned()),
        }
    }

    fn put<S: Solver>(&self, compiler: &mut CedarSymCompiler<S>) -> Result<Option<Env>, String> {
        let (holds, fails) = (self.holds.to_string(), self.fails.to_string());
        if self.schema.len() + holds.len() + fails.len() > QUESTION_BYTES_MAX {
            return Err(format!("the question is larger than {QUESTION_BYTES_MAX} bytes"));
        }
        let (schema, _) = Schema::from_cedarschema_str(&self.schema)
            .map_err(|error| format!("no schema can be made for it: {error}"))?;
        let name = |text: &str| text.parse::<EntityTypeName>().map_err(|error| error.to_string());
        let action: EntityUid = self.action.parse().map_err(|error| format!("{error}"))?;
        let env = RequestEnv::new(name(&format!("{NAMESPACE}::Member"))?, action, name(&self.resource)?);
        let compile = |id: &str, condition: &Expr| {
            let (id, condition) = (PolicyID::from_string(id), condition.clone());
            let policy = ast::Policy::from_when_clause(Effect::Permit, condition, id, None);
            CompiledPolicy::compile(&Policy::from(policy), &env, &schema).map_err(|error| said(&error))
        };
        let (holds, fails) = (compile("holds", &self.holds)?, compile("fails", &self.fails)?);
        let asserts = matches_implies_asserts(&holds, &fails);
        let answer = at_once(compiler.check_sat(&asserts)).ok_or("the solver did not answer at once")?;
        answer.map_err(|error| said(&error))
    }
}

/// Why there is no answer, in one line.
fn said(error: &Error) -> String {
    let detail = match error {
        Error::PolicyNotWellTyped { errs } => errs.first().map(ToString::to_string),
        Error::SolverUnknown => return "the solver found neither a proof nor a call".to_owned(),
        Error::SolverError(why) => return why.to_string(),
        _ => None,
    };
    let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{error}{detail}")
}

/// The outcome of a future that never waits: the solver behind it is asked in one step.
fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(outcome) => Some(outcome),
        Poll::Pending => None,
    }
}
