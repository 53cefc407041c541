//! Version 2: accounts and what they sign in with, invites, owners and tags of agents; the gates of one
//! database; the audit's index and statistics; stored policies.
//!
//! A file for each part, so that the parts are read apart.

mod ledger;
mod nodes;
mod people;
mod policies;

use super::Step;

pub(super) fn steps() -> Vec<Step> {
    let mut steps = people::steps();
    steps.extend(nodes::steps());
    steps.extend(ledger::steps());
    steps.extend(policies::steps());
    steps
}
