//! The `[transport]` table: exactly the keys of its kind, nothing that MCP or HTTP itself sets, and
//! no secret written down.

use std::collections::BTreeMap;

use toml::Spanned;

use super::Faults;
use super::raw::{RawEra, RawHeader, RawTransport, RawTransportKind};
use crate::connector::{EraChoice, HeaderValueSource, Transport};

/// Headers of one connector.
const HEADERS_MAX: usize = 32;

/// Set by the gate for every request; a descriptor must not fight with them.
const OWN_HEADERS: [&str; 16] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-request-id",
    "proxy-connection",
];

/// Headers whose value is a secret.
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "proxy-authorization", "x-api-key", "api-key"];

pub(super) fn read(raw: &Spanned<RawTransport>, faults: &mut Faults<'_>) -> Option<Transport> {
    let table = raw.as_ref();
    let stray: &[(&str, bool)] = match table.kind {
        RawTransportKind::Http => &[
            ("command", table.command.is_some()),
            ("args", table.args.is_some()),
            ("env", table.env.is_some()),
            ("pass_env", table.pass_env.is_some()),
            ("working_dir", table.working_dir.is_some()),
            ("tell_roots", table.tell_roots.is_some()),
        ],
        RawTransportKind::Stdio => &[
            ("url", table.url.is_some()),
            ("headers", table.headers.is_some()),
            ("host", table.host.is_some()),
            ("allow_private", table.allow_private.is_some()),
        ],
    };
    for (key, _) in stray.iter().filter(|(_, given)| *given) {
        faults.at(raw.span(), format!("`{key}` does not belong to this kind of transport"), "remove it");
    }
    match table.kind {
        RawTransportKind::Http => read_http(raw, faults),
        RawTransportKind::Stdio => read_stdio(raw, faults),
    }
}

fn read_http(raw: &Spanned<RawTransport>, faults: &mut Faults<'_>) -> Option<Transport> {
    let table = raw.as_ref();
    let Some(url) = &table.url else {
        faults.at(raw.span(), "`url` is missing", "such as `https://mcp.example.com/mcp`");
        return None;
    };
    let checked = faults.take(url.span(), check_url(url.as_ref()), "such as `https://mcp.example.com/mcp`");
    if let Some(host) = &table.host
        && host.as_ref().parse::<http::uri::Authority>().is_err()
    {
        faults.at(host.span(), "not a host", "such as `mcp.example.com` or `mcp.example.com:8443`");
    }
    let none = BTreeMap::new();
    let given = table.headers.as_ref().unwrap_or(&none);
    if given.len() > HEADERS_MAX {
        faults.at(raw.span(), format!("more than {HEADERS_MAX} headers"), "remove some");
    }
    let mut headers = Vec::new();
    for (name, value) in given {
        let source = match value.as_ref() {
            RawHeader::Literal(text) => HeaderValueSource::Literal(text.clone()),
            RawHeader::Env(variable) => HeaderValueSource::Env(variable.env.clone()),
        };
        if let Some((fault, help)) = header_fault(name, &source) {
            faults.at(value.span(), fault, help);
        }
        headers.push((name.to_ascii_lowercase(), source));
    }
    headers.sort_by(|(a, _), (b, _)| a.cmp(b));
    if headers.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        faults.at(raw.span(), "a header stands there twice, in other capitals", "keep one");
    }
    Some(Transport::Http {
        url: checked?,
        headers,
        host: table.host.as_ref().map(|host| host.as_ref().clone()),
        allow_private: table.allow_private.unwrap_or(false),
        era: era(table.era),
    })
}

fn era(raw: RawEra) -> EraChoice {
    match raw {
        RawEra::Auto => EraChoice::Auto,
        RawEra::Session => EraChoice::Session,
        RawEra::Stateless => EraChoice::Stateless,
    }
}

fn check_url(text: &str) -> Result<String, String> {
    let fault = |why: &str| format!("`url` {why}");
    let uri = text.parse::<http::Uri>().map_err(|error| fault(&format!("cannot be read: {error}")))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(fault("must begin with `http://` or `https://`"));
    }
    // The text itself is not shown: user information may be a password.
    let authority = uri.authority().filter(|authority| !authority.host().is_empty());
    match authority {
        None => Err(fault("names no host")),
        Some(authority) if authority.as_str().contains('@') => Err(fault("must not hold user information")),
        Some(_) if text.contains('#') => Err(fault("must not hold a fragment")),
        Some(_) => Ok(text.to_owned()),
    }
}

fn header_fault(name: &str, source: &HeaderValueSource) -> Option<(String, &'static str)> {
    let lower = name.to_ascii_lowercase();
    let shown = name.chars().take(80).collect::<String>();
    if lower.parse::<http::HeaderName>().is_err() {
        return Some((format!("`{}` is not a header name", shown.escape_default()), "correct it"));
    }
    if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("mcp-") {
        return Some((
            format!("`{shown}` is set by the gate itself"),
            "remove it; `host` is a key of its own",
        ));
    }
    match source {
        HeaderValueSource::Literal(_) if SECRET_HEADERS.contains(&lower.as_str()) => Some((
            format!("the value of `{shown}` is a secret and must not stand in a file"),
            "write `{ env = \"NAME\" }` and put the whole value into that environment variable",
        )),
        HeaderValueSource::Literal(text) if text.parse::<http::HeaderValue>().is_err() => {
            Some((format!("the value of `{shown}` cannot be sent"), "visible ASCII and blanks only"))
        }
        HeaderValueSource::Env(variable) if !is_variable(variable) => {
            Some((format!("`{}` is not an environment variable", variable.escape_default()), "correct it"))
        }
        _ => None,
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn read_stdio(raw: &Spanned<RawTransport>, faults: &mut Faults<'_>) -> Option<Transport> {
    let table = raw.as_ref();
    let Some(command) = &table.command else {
        faults.at(raw.span(), "`command` is missing", "such as `node`");
        return None;
    };
    let texts = table.args.iter().flatten().chain(&table.working_dir);
    if command.as_ref().is_empty() || texts.chain([command.as_ref()]).any(|text| text.contains('\0')) {
        faults.at(command.span(), "the command cannot be run", "no empty command, no NUL character");
    }
    let env = table.env.clone().unwrap_or_default();
    for (name, value) in &env {
        if !is_variable(name) || value.contains('\0') {
            let message = format!("`{}` is not an environment variable", name.escape_default());
            faults.at(raw.span(), message, "letters, digits and `_`");
        }
    }
    let mut pass_env = Vec::new();
    for name in table.pass_env.iter().flatten() {
        if !is_variable(name.as_ref()) || env.contains_key(name.as_ref()) {
            let message = format!(
                "`{}` is not an environment variable, or stands in `env` too",
                name.as_ref().escape_default()
            );
            faults.at(name.span(), message, "correct it");
        }
        pass_env.push(name.as_ref().clone());
    }
    Some(Transport::Stdio {
        command: command.as_ref().clone(),
        args: table.args.clone().unwrap_or_default(),
        env,
        pass_env,
        working_dir: table.working_dir.clone(),
        tell_roots: table.tell_roots.unwrap_or(false),
        era: era(table.era),
    })
}
