//! `[policies]`: where the files are, what policies tell of themselves, and when invariants are proved.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::Show;

/// The policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    pub dir: PathBuf,
    pub show: Show,
    pub prove: Prove,
    pub prove_unknown: ProveUnknown,
    pub prove_question_ms_max: u32,
    pub prove_ms_max: u32,
}

/// When invariants are asked of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prove {
    Off,
    /// Before it is taken, at start and at each reload.
    Reload,
}

/// What becomes of a set of which nobody knows whether an invariant holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProveUnknown {
    Refuse,
    Accept,
}

impl Default for Policies {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("./policies"),
            show: Show::Plain,
            prove: Prove::Off,
            prove_unknown: ProveUnknown::Refuse,
            prove_question_ms_max: 10_000,
            prove_ms_max: 120_000,
        }
    }
}
