//! Stand-in until the policy branch explains.
use crate::policy::{Bundle, Question};
#[derive(serde::Serialize)]
pub struct Explanation { pub allowed: bool }
impl std::fmt::Display for Explanation { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
pub fn explain(bundle: &Bundle, question: &Question<'_>) -> Explanation { Explanation { allowed: bundle.decide(question).allowed } }
