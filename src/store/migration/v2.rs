//! Version 2: accounts and what they sign in with, invites, owners and tags of agents.
//!
//! A file for each part, so that the parts are read apart.

mod people;

use super::Step;

pub(super) fn steps() -> Vec<Step> {
    people::steps()
}
