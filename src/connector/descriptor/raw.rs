//! A descriptor as it is written: every key, checked for its form only.
//!
//! Unknown keys are refused everywhere. `docs/guide/connectors.md` lists every key; a test compares.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

type Text = Spanned<String>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDescriptor {
    /// For people. Default: the service key.
    pub display_name: Option<String>,
    /// What the connector is for, in a sentence for people. Default: none.
    pub description: Option<String>,
    /// The Cedar namespace. Default: from the service key, `my-crm` gives `MyCrmMCP`.
    pub namespace: Option<Text>,
    /// Skip the connector, loudly, where its command is missing. Default: false.
    #[serde(default)]
    pub optional: bool,
    /// Files without which the server cannot start, relative to the gate's working directory; with
    /// `optional`, the connector is skipped where one is missing. Default: none.
    #[serde(default)]
    pub requires: Vec<String>,
    /// What happens to a tool that differs from the lock. Default: quarantine.
    #[serde(default)]
    pub on_change: RawOnChange,
    /// Argument paths that the audit does not show. Default: none.
    #[serde(default)]
    pub redact: Vec<Text>,
    pub transport: Spanned<RawTransport>,
    #[serde(default)]
    pub limits: RawLimits,
    /// Tools by tier, over what the lock says.
    #[serde(default)]
    pub tiers: RawTiers,
    /// Named sets of tools.
    #[serde(default)]
    pub groups: BTreeMap<String, Spanned<Vec<Text>>>,
    /// Resource types, the first that fits a call wins.
    #[serde(default)]
    pub resource: Vec<RawResource>,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawOnChange {
    #[default]
    Quarantine,
    Report,
    Allow,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawTransportKind {
    Http,
    Stdio,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTransport {
    /// `http` or `stdio`.
    pub kind: RawTransportKind,
    /// Of which era the server is: `auto` asks it, `session` begins with `initialize` (up to
    /// 2025-11-25), `stateless` does not (2026-07-28). Default: auto.
    #[serde(default)]
    pub era: RawEra,
    /// http: where the server listens.
    pub url: Option<Text>,
    /// http: sent with every request; a text, or `{ env = "NAME" }`.
    pub headers: Option<BTreeMap<String, Spanned<RawHeader>>>,
    /// http: the `Host` to send. Default: the URL's.
    pub host: Option<Text>,
    /// http: whether loopback, private and link-local addresses may be dialled. Default: false.
    pub allow_private: Option<bool>,
    /// stdio: the program, looked up in `PATH` where it has no `/`.
    pub command: Option<Text>,
    /// stdio: its arguments. Default: none.
    pub args: Option<Vec<String>>,
    /// stdio: environment of the child. Default: none.
    pub env: Option<BTreeMap<String, String>>,
    /// stdio: names of the gate's environment variables to pass on. Default: none.
    pub pass_env: Option<Vec<Text>>,
    /// stdio: where the child runs. Default: the gate's working directory.
    pub working_dir: Option<String>,
    /// stdio: whether the child is told that a client's roots changed. Default: false.
    pub tell_roots: Option<bool>,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawEra {
    #[default]
    Auto,
    Session,
    Stateless,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawHeader {
    Literal(String),
    Env(RawHeaderEnv),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawHeaderEnv {
    pub env: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLimits {
    pub silence_ms_max: Option<Spanned<u32>>,
    pub call_ms_max: Option<Spanned<u32>>,
    pub in_flight_max: Option<Spanned<u32>>,
    pub reply_bytes_max: Option<Spanned<u32>>,
    pub event_bytes_max: Option<Spanned<u32>>,
    pub dial_ms_max: Option<Spanned<u32>>,
    pub catalogue_ttl_ms: Option<Spanned<u32>>,
    pub catalogue_wait_ms_max: Option<Spanned<u32>>,
    pub catalogue_waiters_max: Option<Spanned<u32>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTiers {
    #[serde(default)]
    pub read: Vec<Text>,
    #[serde(default)]
    pub write: Vec<Text>,
    #[serde(default)]
    pub destructive: Vec<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResource {
    /// The Cedar entity type.
    #[serde(rename = "type")]
    pub name: Text,
    /// The id's template over attributes, such as `{owner}/{repo}`. Either this or `paths`.
    pub id: Option<Text>,
    /// Arguments that hold a path or a list of paths.
    pub paths: Option<Spanned<Vec<Text>>>,
    /// With `paths`: the absolute directory of relative paths. Default: none, they are unreadable.
    pub base: Option<Text>,
    /// With `paths`: tools that also act on what is below their paths. Default: none.
    #[serde(default)]
    pub recursive_tools: Vec<Text>,
    /// The declared type in which this one stands. Default: the service.
    pub parent: Option<Text>,
    /// Tools that act on the type. Default: those whose schema has the arguments of the id.
    pub tools: Option<Vec<Text>>,
    #[serde(default)]
    pub attributes: BTreeMap<String, Spanned<RawAttribute>>,
    /// By tool: attribute to argument path, where a tool names its argument otherwise.
    #[serde(default)]
    pub overrides: BTreeMap<String, Spanned<BTreeMap<String, Text>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAttribute {
    #[serde(rename = "type")]
    pub kind: RawAttributeType,
    /// The argument path. Default: the attribute's name.
    pub argument: Option<Text>,
    /// Known to harvests only, never read from arguments. Default: false.
    #[serde(default)]
    pub harvested: bool,
    /// Whether the server ignores case in it; the value is lower-cased. Default: false.
    #[serde(default)]
    pub fold_case: bool,
    /// `host`: the argument is a URL, the value its host. Default: the whole argument.
    pub part: Option<RawPart>,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawPart {
    Host,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawAttributeType {
    String,
    Long,
    Bool,
    Decimal,
    StringSet,
}
