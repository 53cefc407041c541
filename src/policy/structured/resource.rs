//! What a call acts on: restrictions to repositories, channels and pages, and conditions on attributes
//! (specification 4.3, 4.4).
//!
//! Invariant: where a call could have named what the policy asks about and did not, or named it in a way
//! that cannot be read, it counts as unknown: met in a forbid, not met in a permit.

mod condition;
mod known;

use std::collections::BTreeSet;

use super::expression::{Clause, Expression, Test, listed, quoted, texts};
use super::{Draft, VALUES_MAX};
use crate::model::{PolicyEffect, RepositoryRestriction};
use crate::policy::finding::FindingCode;

/// Which of a policy's lists of ids is compiled.
struct Ids<'a> {
    field: &'static str,
    /// The attribute of the connector's resources that holds the id.
    attribute: &'static str,
    ids: &'a BTreeSet<String>,
    /// All but these.
    except: bool,
    noun: &'static str,
}

impl Draft<'_> {
    pub(super) fn restrictions(&mut self) -> Vec<Clause> {
        let policy = self.policy;
        let lists = [
            ("channelRestrictions", "channelId", &policy.channel_restrictions, false, "channel"),
            ("channelExceptions", "channelId", &policy.channel_exceptions, true, "channel"),
            ("pageRestrictions", "pageId", &policy.page_restrictions, false, "page"),
            ("pageExceptions", "pageId", &policy.page_exceptions, true, "page"),
        ];
        let mut clauses: Vec<Clause> = Vec::new();
        clauses.extend(self.repositories("repoRestrictions", &policy.repo_restrictions, false));
        clauses.extend(self.repositories("repoExceptions", &policy.repo_exceptions, true));
        for (field, attribute, ids, except, noun) in lists {
            clauses.extend(self.ids(&Ids { field, attribute, ids, except, noun }));
        }
        clauses
    }

    fn repositories(
        &mut self,
        field: &str,
        entries: &[RepositoryRestriction],
        except: bool,
    ) -> Option<Clause> {
        if entries.is_empty() || !self.bounded(field, entries.len(), VALUES_MAX) {
            return None;
        }
        let folds = self.attribute(field, "owner")?.folds_case && self.attribute(field, "repo")?.folds_case;
        let mut within = Vec::with_capacity(entries.len());
        let mut without = Vec::with_capacity(entries.len());
        for (at, entry) in entries.iter().enumerate() {
            let here = format!("{field}[{at}]");
            if !self.comparable(&format!("{here}.owner"), &entry.owner)
                || !(entry.repo.is_empty() || self.comparable(&format!("{here}.repo"), &entry.repo))
            {
                continue;
            }
            let pairs = [("owner", &entry.owner), ("repo", &entry.repo)];
            let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
            let (mut is, mut is_not) = (Vec::new(), Vec::new());
            for (attribute, value) in pairs {
                let value = quoted(&if folds { value.to_lowercase() } else { value.clone() });
                let known = Expression::atom(format!("resource has {attribute}"));
                is.push(known.clone());
                is.push(Expression::atom(format!("resource.{attribute} == {value}")));
                let differs = Expression::atom(format!("resource.{attribute} != {value}"));
                is_not.push(Expression::All(vec![known, differs]));
            }
            within.extend(Expression::all(is));
            without.extend(Expression::any(is_not));
        }
        let named = listed(entries.iter().map(written), "or");
        let known_within = Expression::any(within)?;
        let known_without = Expression::all(without)?;
        let met = self.unknown_is_met(None);
        let (says, when) = match (except, met) {
            (false, false) => (format!("In {named} alone."), known_within),
            (false, true) => {
                (format!("In {named}, or where the repository is not known."), known_without.negated())
            }
            (true, false) => (format!("In repositories other than {named}."), known_without),
            (true, true) => {
                (format!("In repositories other than {named}, or not known."), known_within.negated())
            }
        };
        Some(Clause::new(says, when))
    }

    fn ids(&mut self, list: &Ids<'_>) -> Option<Clause> {
        if list.ids.is_empty() || !self.bounded(list.field, list.ids.len(), VALUES_MAX) {
            return None;
        }
        self.attribute(list.field, list.attribute)?;
        for id in list.ids {
            self.comparable(list.field, id);
        }
        let attribute = list.attribute;
        let one_of = Expression::atom(format!(
            "{}.contains(resource.{attribute})",
            texts(list.ids.iter().map(String::as_str))
        ));
        let known = vec![Expression::atom(format!("resource has {attribute}"))];
        let (holds, fails) = (one_of.clone(), one_of.negated());
        let test = if list.except { Test { holds: fails, fails: holds } } else { Test { holds, fails } };
        let met = self.unknown_is_met(None);
        let named = listed(list.ids, "or");
        let other = if list.except { "other than " } else { "" };
        let unknown = if met { ", or not known" } else { "" };
        let says = format!("In the {}s {other}{named}{unknown}.", list.noun);
        Some(Clause::new(says, Expression::of_known(known, test, met)))
    }

    /// Says what a forbid or permit does with calls that cannot name what it asks about.
    fn find_blind_tools(
        &mut self,
        what: &str,
        can_name: impl Fn(&crate::connector::Tool) -> bool,
        met: bool,
    ) {
        let blind: Vec<String> =
            self.tools().iter().filter(|tool| !can_name(tool)).map(|tool| tool.name.to_string()).collect();
        if blind.is_empty() {
            return;
        }
        let verb = match (self.policy.effect, met) {
            (PolicyEffect::Forbid, true) => "forbids every call",
            (PolicyEffect::Permit, true) => "permits every call",
            (_, false) => "never matches a call",
        };
        let says = format!(
            "no argument of {} names {what}: as far as that condition goes, the policy {verb} of {}",
            listed(&blind, "and"),
            if blind.len() == 1 { "it" } else { "them" }
        );
        self.finding(FindingCode::NotNamed, says);
    }
}

fn written(entry: &RepositoryRestriction) -> String {
    let repo = if entry.repo.is_empty() { "*" } else { &entry.repo };
    format!("{}/{repo}", entry.owner)
}
