//! Cedar text that somebody wrote by hand for one stored policy, before its whole set is tried.
//!
//! Invariants: it is one policy and no more; what the store says of a policy (its key, its name, its deny
//! message) stands in the store's fields and never in the text that was given, so that the two cannot
//! differ.

use cedar_policy_core::ast::{
    ActionConstraint, Effect, EntityReference, EntityUID, Policy, PrincipalOrResourceConstraint,
};
use cedar_policy_core::parser;

use super::source;
use super::structured::{self, Fault};
use crate::connector::Connectors;
use crate::model::{MemberId, PolicyEffect, ServiceKey};

/// Bytes of the text of one stored policy.
pub const POLICY_TEXT_BYTES_MAX: usize = 64 << 10;
/// What is said of a policy beside its text, and so not in it.
const FIELDS: [(&str, &str); 3] = [
    ("id", "leave it out: the policy's key is made of its name"),
    ("name", "leave it out: it is the field `name`"),
    ("denyMessage", "leave it out: it is the field `denyMessage`"),
];
const NAME: &str = "@name(";
const DENY_MESSAGE: &str = "@denyMessage(";

/// What a policy's text says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawCedar {
    pub effect: PolicyEffect,
    /// The connector whose actions it names, where it names one's alone.
    pub service: Option<ServiceKey>,
    /// The member whose calls alone it speaks of, where its head says so.
    pub member: Option<MemberId>,
}

impl RawCedar {
    /// Reads the text of one policy, as it was given.
    ///
    /// # Errors
    /// Everything that can be told without the rest of its set, in the field `cedar`.
    pub fn read(text: &str, connectors: &Connectors) -> Result<Self, Vec<Fault>> {
        let policy = parsed(text).map_err(|(detail, help)| vec![fault(detail, help)])?;
        let named = FIELDS.iter().filter(|(name, _)| annotation(&policy, name).is_some());
        let faults: Vec<Fault> =
            named.map(|(name, help)| fault(format!("the text has an `@{name}`"), help)).collect();
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            effect: match policy.effect() {
                Effect::Permit => PolicyEffect::Permit,
                Effect::Forbid => PolicyEffect::Forbid,
            },
            service: service(&policy, connectors),
            member: member(&policy),
        })
    }
}

/// The text with its fields as annotations before it, as it is stored and evaluated; the key is not among
/// them. They stand on its first line, so that lines count as whoever wrote it counts them.
pub fn annotated(text: &str, name: &str, deny_message: Option<&str>) -> String {
    let mut out = format!("{NAME}{}) ", structured::quoted(name));
    if let Some(message) = deny_message {
        out.push_str(&format!("{DENY_MESSAGE}{}) ", structured::quoted(message)));
    }
    out + text
}

/// The text that [`annotated`] was given, and its deny message.
pub fn unannotated(stored: &str) -> (&str, Option<String>) {
    let Some(rest) = after_annotation(stored, NAME) else { return (stored, None) };
    match after_annotation(rest, DENY_MESSAGE) {
        Some(text) => (text, parsed(stored).ok().and_then(|policy| annotation(&policy, "denyMessage"))),
        None => (rest, None),
    }
}

/// What stands behind an annotation that [`annotated`] wrote.
fn after_annotation<'a>(text: &'a str, begins: &str) -> Option<&'a str> {
    let literal = text.strip_prefix(begins)?;
    let mut escaped = false;
    for (at, character) in literal.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return literal.get(at..)?.strip_prefix("\") "),
            _ => {}
        }
    }
    None
}

fn fault(detail: impl Into<String>, help: &str) -> Fault {
    let help = (!help.is_empty()).then(|| help.to_owned());
    Fault { field: "cedar".to_owned(), detail: detail.into(), help }
}

/// The one policy of the text, or what is wrong and what to do.
fn parsed(text: &str) -> Result<Policy, (String, &'static str)> {
    if text.len() > POLICY_TEXT_BYTES_MAX {
        let detail = format!("the text has {} bytes, {POLICY_TEXT_BYTES_MAX} at most", text.len());
        return Err((detail, "split it into several policies"));
    }
    source::is_flat(text).map_err(|(_, why)| (why, "split it into several policies"))?;
    parser::parse_policy(None, text).map(Policy::from).map_err(|errors| {
        let all: Vec<String> = errors.iter().take(3).map(ToString::to_string).collect();
        (all.join("; "), "exactly one policy is expected, without `?principal` and `?resource`")
    })
}

fn annotation(policy: &Policy, name: &str) -> Option<String> {
    let found = policy.annotations().find(|(key, _)| AsRef::<str>::as_ref(*key) == name);
    found.map(|(_, annotation)| annotation.val.to_string())
}

fn service(policy: &Policy, connectors: &Connectors) -> Option<ServiceKey> {
    let of = |uid: &EntityUID| {
        let kind = uid.entity_type().to_string();
        let namespace = kind.strip_suffix("::Action")?;
        let found = connectors.iter().find(|connector| *connector.namespace == *namespace)?;
        Some(found.service.clone())
    };
    match policy.action_constraint() {
        ActionConstraint::Any => None,
        ActionConstraint::Eq(uid) => of(uid),
        ActionConstraint::In(uids) => {
            let mut services = uids.iter().map(|uid| of(uid));
            let first = services.next()??;
            services.all(|other| other.as_ref() == Some(&first)).then_some(first)
        }
    }
}

fn member(policy: &Policy) -> Option<MemberId> {
    match policy.principal_constraint().into_inner() {
        PrincipalOrResourceConstraint::Eq(EntityReference::EUID(uid))
            if uid.entity_type().to_string() == "Wicket::Member" =>
        {
            let id: &str = uid.eid().as_ref();
            id.parse().ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixtures;

    #[test]
    fn one_policy_says_what_it_is_about() {
        let bundle = fixtures::bundle("");
        let member = "0190b5a0-0000-7000-8000-000000000002";
        let read = |text: &str| RawCedar::read(text, bundle.connectors());
        let some = read("permit (principal, action == DepotMCP::Action::\"search\", resource);").unwrap();
        assert_eq!((some.effect, some.member), (PolicyEffect::Permit, None));
        assert_eq!(some.service.unwrap().as_str(), "depot");
        let text = format!("forbid (principal == Wicket::Member::\"{member}\", action, resource);");
        let own = read(&text).unwrap();
        assert_eq!((own.effect, own.service), (PolicyEffect::Forbid, None));
        assert_eq!(own.member.unwrap().to_string(), member);
        for (bad, expected) in [
            ("permit (principal, action, resource", "unexpected"),
            ("", "unexpected"),
            ("permit (principal == ?principal, action, resource);", "template"),
            ("permit (principal, action, resource); permit (principal, action, resource);", "unexpected"),
            ("@id(\"x\") permit (principal, action, resource);", "@id"),
            ("@name(\"x\") permit (principal, action, resource);", "@name"),
            ("@denyMessage(\"x\") forbid (principal, action, resource);", "@denyMessage"),
            (&format!("permit (principal, action, resource) when {{ {} }};", "(".repeat(100)), "nested"),
            (&" ".repeat(POLICY_TEXT_BYTES_MAX + 1), "bytes"),
        ] {
            let faults = read(bad).unwrap_err();
            let said: String = faults.iter().map(ToString::to_string).collect();
            assert!(said.contains(expected), "{bad:.60}: {said}");
        }
    }

    #[test]
    fn fields_go_before_the_text_and_come_off_again() {
        let text = "forbid ( // why\nprincipal, action, resource);\n";
        for message in [None, Some("not \"now\"\\ or, é")] {
            let stored = annotated(text, "It's \"off\"", message);
            assert!(parsed(&stored).is_ok(), "{stored}");
            assert_eq!(unannotated(&stored), (text, message.map(str::to_owned)), "{stored}");
        }
    }
}
