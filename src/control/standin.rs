//! Stand-in until the policy branch has its bundle.
use std::sync::Arc;
use crate::connector::{Connector, Connectors, Resource, Tool};
use crate::model::*;
use crate::policy::PolicyInfo;
pub struct Bundle;
pub struct Question<'a> { pub call: CallId, pub caller: &'a Caller, pub connector: &'a Connector, pub tool: &'a Tool, pub arguments: &'a serde_json::Value, pub resource: &'a Resource, pub history: &'a History, pub now: Timestamp }
impl Bundle {
    pub fn digest(&self) -> Digest { Digest::of(b"") }
    pub fn connectors(&self) -> &Arc<Connectors> { unreachable!() }
    pub fn policies(&self) -> &[PolicyInfo] { &[] }
    pub fn warnings(&self) -> &[Diagnostic] { &[] }
    pub fn schema_text(&self) -> &str { "" }
}
#[derive(serde::Serialize)]
pub struct Explanation { pub allowed: bool }
impl std::fmt::Display for Explanation { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
pub fn explain(_: &Bundle, _: &Question<'_>) -> Explanation { Explanation { allowed: false } }
