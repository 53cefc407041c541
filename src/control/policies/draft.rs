//! A policy as it is given: to be made, to replace one, to be previewed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fields::with_contents;
use crate::model::{
    ArgumentCondition, CounterCondition, MemberId, NetworkCondition, PolicyEffect, PolicyId, PolicyMode,
    PolicyPrincipal, PolicyText, RepositoryRestriction, ResourceConditions, ServiceKey, Show,
    StructuredPolicy, Tier, TimeConstraints, ToolName,
};
use crate::policy::structured::Fault;

/// What a policy does while it is enabled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Applied {
    /// It decides.
    #[default]
    Enforced,
    /// It is evaluated, and what it would have changed is recorded; it decides nothing.
    Shadow,
}

impl Applied {
    /// The mode that is stored.
    pub const fn mode(self) -> PolicyMode {
        match self {
            Self::Enforced => PolicyMode::Enforced,
            Self::Shadow => PolicyMode::Shadow,
        }
    }

    /// What is stored, as it is shown.
    pub const fn of(mode: PolicyMode) -> Self {
        match mode {
            PolicyMode::Shadow => Self::Shadow,
            PolicyMode::Enforced | PolicyMode::Off => Self::Enforced,
        }
    }
}

with_contents! {
    /// A policy as it is filled in: either by its fields, or as Cedar.
    #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[schema(example = json!({
        "name": "Block GitHub destructive tools", "service": "github", "effect": "forbid",
        "tools": ["delete_file", "merge_pull_request"], "principal": {"type": "all_members"},
        "denyMessage": "Destructive GitHub operations are blocked.", "enabled": true
    }))]
    pub struct PolicyDraft {
        /// Whether it is evaluated at all. Absent: true for a new one, as it was for another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub enabled: Option<bool>,
        /// Absent: `enforced` for a new one, as it was for another.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pub mode: Option<Applied>,
        /// Whose it is: needed for a new one under an untrusted agent, refused under a trusted one. It never changes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, format = Uuid)]
        pub member_id: Option<MemberId>,
        /// The policy that it would replace, for a preview.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(value_type = Option<String>, max_length = 64)]
        pub policy_id: Option<PolicyId>,
        /// The version that was seen, for whoever sends no `If-Match`; not for a new one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(minimum = 1, maximum = 4_294_967_295_i64)]
        pub version: Option<u32>,
        /// Why, for the list of versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(max_length = 500)]
        pub comment: Option<String>,
    }
}

impl PolicyDraft {
    /// The draft that this policy would be made of.
    pub fn of(name: &str, enabled: bool, mode: PolicyMode, text: &PolicyText) -> Self {
        let mut draft = Self {
            name: name.to_owned(),
            enabled: Some(enabled),
            mode: Some(Applied::of(mode)),
            ..Self::default()
        };
        draft.put(text);
        draft
    }

    /// What is stored of it.
    ///
    /// # Errors
    /// Fields that are missing, or that do not go together.
    pub fn text(&self) -> Result<PolicyText, Vec<Fault>> {
        match &self.cedar {
            Some(cedar) => self.cedar_text(cedar),
            None => self.structured().map(|policy| PolicyText::Structured(Box::new(policy))),
        }
    }

    fn cedar_text(&self, cedar: &str) -> Result<PolicyText, Vec<Fault>> {
        // What has a meaning beside `cedar`, and nothing else.
        let bare = Self {
            name: self.name.clone(),
            deny_message: self.deny_message.clone(),
            enabled: self.enabled,
            mode: self.mode,
            member_id: self.member_id,
            policy_id: self.policy_id,
            version: self.version,
            comment: self.comment.clone(),
            cedar: self.cedar.clone(),
            // Both are shown of a policy in Cedar; what they say is read anew from its text.
            service: self.service.clone(),
            effect: self.effect,
            ..Self::default()
        };
        if *self != bare {
            let detail = "stands in the place of the fields, and some of those are given as well";
            return Err(vec![fault(
                "cedar",
                detail,
                "keep `name`, `denyMessage` and `cedar` alone, or leave `cedar` out",
            )]);
        }
        Ok(PolicyText::Cedar(crate::policy::annotated(cedar, self.name.trim(), self.deny_message.as_deref())))
    }

    fn structured(&self) -> Result<StructuredPolicy, Vec<Fault>> {
        let (Some(service), Some(effect)) = (&self.service, self.effect) else {
            let missing = [("service", self.service.is_none()), ("effect", self.effect.is_none())];
            let missing = missing.into_iter().filter(|(_, missing)| *missing);
            return Err(missing
                .map(|(field, _)| fault(field, "is missing", "give it, or the whole policy as `cedar`"))
                .collect());
        };
        Ok(StructuredPolicy {
            name: self.name.trim().to_owned(),
            service: service.clone(),
            effect,
            tools: self.tools.clone(),
            tiers: self.tiers.clone(),
            principal: self.principal.clone().unwrap_or_default(),
            deny_message: self.deny_message.clone(),
            show: self.show,
            time_constraints: self.time_constraints.clone(),
            repo_restrictions: self.repo_restrictions.clone(),
            repo_exceptions: self.repo_exceptions.clone(),
            channel_restrictions: self.channel_restrictions.clone(),
            channel_exceptions: self.channel_exceptions.clone(),
            page_restrictions: self.page_restrictions.clone(),
            page_exceptions: self.page_exceptions.clone(),
            resource_conditions: self.resource_conditions.clone(),
            session_conditions: self.session_conditions.clone(),
            network_conditions: self.network_conditions.clone(),
            argument_conditions: self.argument_conditions.clone(),
        })
    }
}

fn fault(field: &str, detail: &str, help: &str) -> Fault {
    Fault { field: field.to_owned(), detail: detail.to_owned(), help: Some(help.to_owned()) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn draft(json: serde_json::Value) -> PolicyDraft {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn what_is_stored_is_shown_as_the_draft_that_it_was() {
        for given in [
            json!({"name": "No deletes", "service": "github", "effect": "forbid", "tools": ["delete_file"],
                "tiers": ["destructive"], "principal": {"type": "groups", "groups": ["a"]}, "denyMessage": "no", "show": "hidden",
                "timeConstraints": {"hoursFrom": 9}, "repoRestrictions": [{"owner": "o", "repo": ""}],
                "repoExceptions": [{"owner": "o", "repo": "r"}], "channelRestrictions": ["C1"],
                "channelExceptions": ["C2"], "pageRestrictions": ["p"], "pageExceptions": ["q"],
                "resourceConditions": {"match": "any", "conditions": [{"type": "isDraft", "value": true}]},
                "sessionConditions": [{"kind": "totalDenyCount", "over": "session", "op": ">=", "value": 3}],
                "networkConditions": [{"cidrs": ["10.0.0.0/8"], "not": false}],
                "argumentConditions": [{"argument": "path", "op": "given"}], "enabled": false, "mode": "shadow"}),
            json!({"name": "Raw", "cedar": "// c\nforbid (principal, action, resource);", "denyMessage": "no",
                "enabled": true, "mode": "enforced", "tools": [], "service": null, "effect": null}),
        ] {
            let first = draft(given.clone());
            let text = first.text().unwrap();
            let again =
                PolicyDraft::of(&first.name, first.enabled.unwrap(), first.mode.unwrap().mode(), &text);
            assert_eq!(again, first);
            // No field of the form was forgotten: what went in comes out.
            let shown = serde_json::to_value(&again).unwrap();
            for (name, value) in given.as_object().unwrap() {
                assert_eq!(shown.get(name), Some(value), "{name}");
            }
        }
    }

    #[test]
    fn a_draft_is_one_of_two_kinds() {
        for (given, fields) in [
            (json!({"name": "x"}), &["service", "effect"][..]),
            (json!({"name": "x", "service": "github"}), &["effect"]),
            (
                json!({"name": "x", "cedar": "permit (principal, action, resource);", "tools": ["a"]}),
                &["cedar"],
            ),
            (
                json!({"name": "x", "cedar": "permit (principal, action, resource);", "show": "plain"}),
                &["cedar"],
            ),
        ] {
            let faults = draft(given).text().unwrap_err();
            assert_eq!(faults.iter().map(|fault| fault.field.as_str()).collect::<Vec<_>>(), fields);
        }
        assert!(serde_json::from_value::<PolicyDraft>(json!({"name": "x", "tool": []})).is_err());
    }
}
