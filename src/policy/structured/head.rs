//! Who does what: annotations, principal and actions.

use std::collections::BTreeSet;

use super::expression::{Clause, Expression, comment, listed, quoted};
use super::{DENY_MESSAGE_CHARACTERS_MAX, Draft, NAME_CHARACTERS_MAX, VALUES_MAX};
use crate::connector::Tool;
use crate::model::{PolicyEffect, PolicyKey, PolicyPrincipal};

/// The scope of a policy, and what of it does not fit there.
pub(super) struct Head {
    pub(super) scope: String,
    pub(super) clauses: Vec<Clause>,
}

impl Draft<'_> {
    pub(super) fn annotations(&mut self, key: &PolicyKey) -> String {
        let name = self.policy.name.trim();
        let characters = name.chars().count();
        if characters == 0 || characters > NAME_CHARACTERS_MAX || name.chars().any(char::is_control) {
            let detail = format!("a name of 1 to {NAME_CHARACTERS_MAX} characters on one line is expected");
            self.fault("name", detail, "");
        }
        let mut out = comment(name);
        out.push_str(&format!("@id({})\n@name({})\n", quoted(key.as_str()), quoted(name)));
        if let Some(message) = &self.policy.deny_message {
            if self.policy.effect == PolicyEffect::Permit {
                self.fault(
                    "denyMessage",
                    "a permit denies nothing",
                    "leave it out, or make the policy a forbid",
                );
            }
            let characters = message.chars().count();
            let one_line = !message.chars().any(char::is_control);
            if characters == 0 || characters > DENY_MESSAGE_CHARACTERS_MAX || !one_line {
                let detail =
                    format!("1 to {DENY_MESSAGE_CHARACTERS_MAX} characters on one line are expected");
                self.fault("denyMessage", detail, "");
            }
            out.push_str(&format!("@denyMessage({})\n", quoted(message)));
        }
        if let Some(show) = self.policy.show {
            out.push_str(&format!("@show({})\n", quoted(show.as_str())));
        }
        out
    }

    pub(super) fn head(&mut self) -> Head {
        let mut clauses = Vec::new();
        let principal = self.principal(&mut clauses);
        let action = self.actions();
        let effect = match self.policy.effect {
            PolicyEffect::Permit => "permit",
            PolicyEffect::Forbid => "forbid",
        };
        Head { scope: format!("{effect} (\n  {principal},\n  {action},\n  resource\n)"), clauses }
    }

    fn principal(&mut self, clauses: &mut Vec<Clause>) -> String {
        let (field, names): (_, Vec<String>) = match &self.policy.principal {
            PolicyPrincipal::AllMembers => {
                return self.narrowed(&[], clauses).unwrap_or_else(|| "principal".to_owned());
            }
            PolicyPrincipal::SpecificMembers { user_ids } => {
                let uid =
                    |id: &crate::model::MemberId| format!("Wicket::Member::{}", quoted(&id.to_string()));
                ("principal.userIds", user_ids.iter().map(uid).collect())
            }
            PolicyPrincipal::Groups { groups } => {
                let uid =
                    |group: &crate::model::GroupName| format!("Wicket::Group::{}", quoted(group.as_str()));
                ("principal.groups", groups.iter().map(uid).collect())
            }
        };
        if names.is_empty() {
            self.fault(field, "nobody is named", "name one at least, or take `all_members`");
        }
        self.bounded(field, names.len(), VALUES_MAX);
        if let Some(scope) = self.narrowed(&names, clauses) {
            return scope;
        }
        if let [only] = names.as_slice() {
            let operator = if field == "principal.groups" { "in" } else { "==" };
            return format!("principal {operator} {only}");
        }
        let says = match &self.policy.principal {
            PolicyPrincipal::Groups { groups } => {
                format!("Members of {}.", listed(groups.iter().map(ToString::to_string), "or"))
            }
            _ => format!("These {} members alone.", names.len()),
        };
        clauses.push(Clause::new(says, Expression::atom(format!("principal in [{}]", names.join(", ")))));
        "principal".to_owned()
    }

    /// The scope of a policy that is one member's own; `None` for one that is not.
    fn narrowed(&mut self, names: &[String], clauses: &mut Vec<Clause>) -> Option<String> {
        let member = self.member?;
        let uid = format!("Wicket::Member::{}", quoted(&member.to_string()));
        match &self.policy.principal {
            PolicyPrincipal::AllMembers => {}
            PolicyPrincipal::SpecificMembers { user_ids } if user_ids.contains(&member) => {}
            PolicyPrincipal::SpecificMembers { .. } => self.fault(
                "principal.userIds",
                "the member whose policy it is is not named",
                "name that member, or take `all_members`: it speaks of that member alone in any case",
            ),
            PolicyPrincipal::Groups { groups } => {
                let says = format!("While in {}.", listed(groups.iter().map(ToString::to_string), "or"));
                let within = format!("principal in [{}]", names.join(", "));
                clauses.push(Clause::new(says, Expression::atom(within)));
            }
        }
        Some(format!("principal == {uid}"))
    }

    fn actions(&mut self) -> String {
        let namespace = &self.connector.namespace;
        let uid = |name: &str| format!("{namespace}::Action::{}", quoted(name));
        let mut names: Vec<String> = self.policy.tiers.iter().map(|tier| uid(tier.as_str())).collect();
        names.extend(self.policy.tools.iter().map(|tool| uid(tool.as_str())));
        let unknown: Vec<String> = (self.policy.tools.iter())
            .filter(|tool| self.connector.action(tool.as_str()).is_none())
            .map(ToString::to_string)
            .collect();
        for tool in unknown {
            let detail = format!("`{}` has no tool `{tool}`", self.connector.service);
            self.fault(
                "tools",
                detail,
                "`wicket connector list` and the catalogue name its tools, without the prefix",
            );
        }
        if names.is_empty() {
            self.fault(
                "tools",
                "no tool and no tier is named",
                "name one at least, in `tools` or in `tiers`",
            );
        }
        self.bounded("tools", names.len(), VALUES_MAX);
        match names.as_slice() {
            [only] if self.policy.tiers.is_empty() => format!("action == {only}"),
            [only] => format!("action in {only}"),
            _ => {
                let one_line = format!("action in [{}]", names.join(", "));
                if one_line.chars().count() <= 96 {
                    one_line
                } else {
                    format!("action in [\n    {}\n  ]", names.join(",\n    "))
                }
            }
        }
    }

    /// The tools that the policy speaks of as things stand.
    pub(super) fn tools(&self) -> Vec<&Tool> {
        let named: BTreeSet<&str> = self.policy.tools.iter().map(|tool| tool.as_str()).collect();
        let spoken_of = |tool: &&std::sync::Arc<Tool>| {
            named.contains(tool.name.as_str()) || self.policy.tiers.contains(&tool.tier)
        };
        let actions = self.connector.actions().map(|(_, tool)| tool);
        actions.filter(spoken_of).map(std::convert::AsRef::as_ref).collect()
    }
}
