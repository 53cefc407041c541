//! The small bodies that the routes of policies take, and what of a draft's form no schema of its parts holds.

use serde::Deserialize;
use utoipa::ToSchema;

use crate::control::api::problem::Problem;
use crate::control::policies::PolicyDraft;

/// Characters of a name.
const NAME_CHARACTERS_MAX: usize = 200;
/// Characters of a deny message, and of a comment.
const SENTENCE_CHARACTERS_MAX: usize = 500;

/// Whether a draft's own texts and numbers are within what the document says.
///
/// # Errors
/// 400 names the field.
pub(super) fn in_form(draft: &PolicyDraft) -> Result<(), Problem> {
    let name = draft.name.chars().count();
    if name == 0 || name > NAME_CHARACTERS_MAX {
        return Err(Problem::field("body.name", format!("1 to {NAME_CHARACTERS_MAX} characters are taken")));
    }
    for (field, text) in [("body.denyMessage", &draft.deny_message), ("body.comment", &draft.comment)] {
        if text.as_ref().is_some_and(|text| text.chars().count() > SENTENCE_CHARACTERS_MAX) {
            let detail = format!("at most {SENTENCE_CHARACTERS_MAX} characters are taken");
            return Err(Problem::field(field, detail));
        }
    }
    if draft.version == Some(0) {
        return Err(Problem::field("body.version", "1 is the first one"));
    }
    Ok(())
}

/// Whether a policy is evaluated from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TogglePolicy, example = json!({"enabled": false}))]
pub(super) struct ToggleBody {
    pub enabled: bool,
}

/// The version that is the newest from now on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RollBackPolicy, example = json!({"version": 1}))]
pub(super) struct RollbackBody {
    #[schema(minimum = 1, maximum = 4_294_967_295_i64)]
    pub version: u32,
}
