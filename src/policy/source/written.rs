//! One policy as it was written, wherever it stands, and where it stands now.
//!
//! Invariant: what is kept of a policy follows from the text of its piece alone, so that the same piece
//! elsewhere, or in a later set of files, is the same policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use cedar_policy_core::ast::{Policy, PolicyID};
use cedar_policy_core::parser;

use super::split::{Piece, after};
use crate::model::{Diagnostic, PolicyId, PolicyKey, PolicyMode, PolicyRef, SourceFile};
use crate::policy::engine::{Body, Place, Rule};
use crate::policy::question::PolicyInfo;
use crate::policy::reads::CounterReach;

/// Something to tell the operator about a place in a piece.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Note {
    pub(super) offset: usize,
    pub(super) message: String,
    pub(super) help: String,
}

/// What a policy reads that the schema has to declare for it.
#[derive(Debug, Clone, Default)]
pub(in crate::policy) struct Declared {
    pub(in crate::policy) session: Option<CounterReach>,
    pub(in crate::policy) member: Option<CounterReach>,
    /// Time zones, each with the byte offset of the place in the piece.
    pub(in crate::policy) zones: Vec<(String, usize)>,
    /// Whether the record of all zones is read as a whole.
    pub(in crate::policy) all_zones: bool,
}

impl Declared {
    /// Whether the policy is valid or not whatever counters and zones the schema declares.
    pub(in crate::policy) fn is_nothing(&self) -> bool {
        self.session.is_none() && self.member.is_none() && self.zones.is_empty() && !self.all_zones
    }
}

/// One policy.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Written {
    /// The text that it was parsed from, comments before it included.
    pub(in crate::policy) piece: Arc<str>,
    pub(in crate::policy) body: Arc<Body>,
    pub(super) annotations: Arc<BTreeMap<String, String>>,
    /// Where in the piece the policy itself begins.
    pub(super) start: usize,
    pub(in crate::policy) declared: Declared,
    pub(super) notes: Vec<Note>,
}

/// A policy in its place.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Placed {
    pub(in crate::policy) written: Arc<Written>,
    /// Which of the sources it stands in, and where in it the piece begins.
    pub(super) file: Arc<str>,
    line: u32,
    column: u32,
}

impl Placed {
    pub(super) fn new(written: Arc<Written>, file: &SourceFile, piece: Piece<'_>) -> Self {
        let Piece { line, column, .. } = piece;
        Self { written, file: Arc::clone(&file.name), line, column }
    }

    /// The same in another mode.
    pub(in crate::policy) fn in_mode(&self, mode: PolicyMode) -> Self {
        if self.written.body.mode == mode {
            return self.clone();
        }
        let mut written = self.written.as_ref().clone();
        written.body = Arc::new(Body { mode, ..written.body.as_ref().clone() });
        Self { written: Arc::new(written), ..self.clone() }
    }

    /// The same, as this version of a stored policy.
    pub(super) fn of_stored(self, (id, version): (PolicyId, u32)) -> Self {
        let mut written = Arc::unwrap_or_clone(self.written);
        let mut body = Arc::unwrap_or_clone(written.body);
        body.reference = PolicyRef { id: Some(id), version, ..body.reference };
        body.mode = PolicyMode::Enforced;
        written.body = Arc::new(body);
        Self { written: Arc::new(written), ..self }
    }

    /// The policy under its own name, with places in its piece, for the validator. It is parsed again:
    /// the trees of 10,000 policies, kept until all are read, would be most of what a load takes up.
    /// `None` where Cedar no longer takes the text that it took before.
    pub(in crate::policy) fn policy(&self) -> Option<Policy> {
        let id = PolicyID::from_string(self.written.body.reference.key.as_str());
        parser::parse_policy(Some(id), &self.written.piece).ok().map(Policy::from)
    }

    /// Its `@id`.
    pub(in crate::policy) fn key(&self) -> &PolicyKey {
        &self.written.body.reference.key
    }

    /// Line and column of a byte of the piece.
    fn position(&self, offset: usize) -> (u32, u32) {
        let before = self.written.piece.get(..offset).unwrap_or(&self.written.piece);
        after((self.line, self.column), before)
    }

    /// A finding at a byte of the piece.
    pub(in crate::policy) fn finding(&self, offset: usize, message: impl Into<String>) -> Diagnostic {
        let (line, column) = self.position(offset);
        Diagnostic { line, column, ..Diagnostic::of_file(&self.file, message) }
    }

    /// Where in the piece the policy itself begins.
    pub(in crate::policy) fn start(&self) -> usize {
        self.written.start
    }

    /// A finding at the policy as a whole.
    pub(in crate::policy) fn finding_here(&self, message: impl Into<String>) -> Diagnostic {
        self.finding(self.written.start, message)
    }

    /// What there is to say of the policy itself.
    pub(in crate::policy) fn warnings(&self) -> impl Iterator<Item = Diagnostic> {
        let notes = self.written.notes.iter();
        notes.map(|note| self.finding(note.offset, note.message.clone()).with_help(note.help.clone()))
    }

    /// What the policy is to those who look at a bundle.
    pub(in crate::policy) fn info(&self) -> PolicyInfo {
        let body = &self.written.body;
        PolicyInfo {
            key: body.reference.key.clone(),
            name: Arc::clone(&body.reference.name),
            effect: body.effect,
            show: body.show,
            mode: body.mode,
            id: body.reference.id,
            file: Arc::clone(&self.file),
            line: self.position(self.written.start).0,
            annotations: Arc::clone(&self.written.annotations),
            text: Arc::clone(&body.text),
        }
    }

    /// The policy, ready to be evaluated.
    pub(in crate::policy) fn rule(&self) -> Rule {
        let (line, column) = self.position(self.written.start);
        let place = Place { file: Arc::clone(&self.file), line, column };
        Rule { body: Arc::clone(&self.written.body), place }
    }
}
