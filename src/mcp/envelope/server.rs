//! What an upstream says of itself.

use crate::mcp::scan::{self, Limits};

/// What a server offers, as it declares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offers {
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
    pub completions: bool,
    pub logging: bool,
    /// It says when its tools change.
    pub tools_changed: bool,
    pub prompts_changed: bool,
    pub resources_changed: bool,
    /// It says when a resource changes.
    pub resources_subscribe: bool,
}

impl Offers {
    pub(super) fn read(capabilities: Option<&str>) -> Self {
        let Some(Ok(document)) = capabilities.map(|raw| scan::scan_text(raw, Limits::REPLY)) else {
            return Self::default();
        };
        let has = |key: &str| document.get(key).is_some();
        let says = |key: &str, flag: &str| document.get_in(key, flag).is_some_and(|v| v.raw() == "true");
        Self {
            tools: has("tools"),
            prompts: has("prompts"),
            resources: has("resources"),
            completions: has("completions"),
            logging: has("logging"),
            tools_changed: says("tools", "listChanged"),
            prompts_changed: says("prompts", "listChanged"),
            resources_changed: says("resources", "listChanged"),
            resources_subscribe: says("resources", "subscribe"),
        }
    }
}
