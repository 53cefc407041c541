//! The parameters of the requests that are decided and sent on, but for `tools/call`.
//!
//! Invariant: what is decided is what is sent: the text made here, the client's parameters with the
//! prefix taken off a name and without `_meta` and the answers of an earlier round.

use std::ops::Range;

use super::{Method, object};
use crate::mcp::scan::{self, Document, Kind, Limits, Value};
use crate::mcp::splice::splice_into;
use crate::model::split_prefixed;

/// Bytes of a name or a URI.
const NAME_BYTES_MAX: usize = 8 * 1024;

/// What an operation is asked of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A prefixed name: the service, and the name without it; with no prefix the service is empty.
    Named { service: String, name: String },
    /// A resource, or a template of resources, by the URI that its upstream gave it.
    Uri(String),
    /// Every upstream.
    All,
}

/// What was read of an operation's parameters.
#[derive(Debug, Clone)]
pub(super) struct Operation {
    pub target: Target,
    /// As the client sent it: the name or the URI.
    pub name: String,
    /// The parameters to decide and to send, an object.
    pub params: String,
}

/// Members of the parameters that do not belong to what is asked.
const NOT_ASKED: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// Reads the parameters by method.
pub(super) fn read(
    document: &Document<'_>,
    method: Method,
    limits: Limits,
) -> Result<Operation, &'static str> {
    let params = document.get("params");
    let raw = params.as_ref().map_or("{}", Value::raw);
    let inner = scan::scan_text(raw, limits).map_err(|_| "`params` cannot be read")?;
    let (target, name, edit) = match method {
        Method::PromptsGet => {
            let (value, name) = text(inner.get("name"), "`name` is not a string of 1 to 8192 bytes")?;
            let (target, own) = named(&name);
            (target, name, Some((value, own)))
        }
        Method::ResourcesRead | Method::ResourcesSubscribe | Method::ResourcesUnsubscribe => {
            let (_, uri) = text(inner.get("uri"), "`uri` is not a string of 1 to 8192 bytes")?;
            (Target::Uri(uri.clone()), uri, None)
        }
        Method::Complete => reference(&inner)?,
        Method::SetLevel => {
            let (_, level) = text(inner.get("level"), "`level` is not a string")?;
            (Target::All, level, None)
        }
        Method::ToolsCall => return Err("`tools/call` is no operation"),
    };
    if method == Method::PromptsGet && inner.get("arguments").is_some_and(|value| !object(&value)) {
        return Err("`arguments` is not an object");
    }
    let edit = edit.map(|(range, own)| (range, serde_json::Value::from(own).to_string()));
    Ok(Operation { target, name, params: kept(raw, &inner, edit.as_ref()) })
}

type Reference = (Target, String, Option<(Range<usize>, String)>);

/// `ref` of a completion: a prompt by its name, or a resource's template by its URI.
fn reference(params: &Document<'_>) -> Result<Reference, &'static str> {
    if params.get("argument").is_none_or(|value| !object(&value)) {
        return Err("`argument` is not an object");
    }
    let kind = params.get_in("ref", "type").and_then(|value| value.string());
    match kind.as_deref() {
        Some("ref/prompt") => {
            let (place, name) = text(params.get_in("ref", "name"), "`ref.name` is not a string")?;
            let (target, own) = named(&name);
            Ok((target, name, Some((place, own))))
        }
        Some("ref/resource") => {
            let (_, uri) = text(params.get_in("ref", "uri"), "`ref.uri` is not a string")?;
            Ok((Target::Uri(uri.clone()), uri, None))
        }
        _ => Err("`ref.type` is neither `ref/prompt` nor `ref/resource`"),
    }
}

fn text(value: Option<Value<'_>>, rule: &'static str) -> Result<(Range<usize>, String), &'static str> {
    let value = value.filter(|value| value.kind() == Kind::String).ok_or(rule)?;
    let text = value.string().ok_or(rule)?.into_owned();
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(rule);
    }
    Ok((value.range(), text))
}

fn named(name: &str) -> (Target, String) {
    let (service, own) = split_prefixed(name).unwrap_or(("", name));
    (Target::Named { service: service.to_owned(), name: own.to_owned() }, own.to_owned())
}

/// The members that are asked, one of them edited, as an object.
fn kept(raw: &str, params: &Document<'_>, edit: Option<&(Range<usize>, String)>) -> String {
    let mut out = String::with_capacity(raw.len());
    out.push('{');
    for member in params.members() {
        if NOT_ASKED.contains(&member.key) {
            continue;
        }
        if out.len() > 1 {
            out.push(',');
        }
        let place = member.range.clone();
        let text = raw.get(place.clone()).unwrap_or_default();
        match edit.filter(|(range, _)| place.start <= range.start && range.end <= place.end) {
            Some((range, by)) => {
                splice_into(&mut out, text, &[(range.start - place.start..range.end - place.start, by)]);
            }
            None => out.push_str(text),
        }
    }
    out.push('}');
    out
}
