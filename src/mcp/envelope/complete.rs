//! Results of any era as a client of the stateless era is to find them (MCP 2026-07-28, basic,
//! responses; server, utilities, caching).
//!
//! Invariant: what is missing is put in, `cacheScope` is never wider than `private`, and everything
//! else is the upstream's, byte for byte.

use bytes::Bytes;
use serde_json::Value;

use super::ReplyBody;
use crate::mcp::message::RequestId;
use crate::mcp::scan::{self, Limits};
use crate::mcp::splice::splice_into;
use crate::model::{ClientInfo, OutcomeKind};

/// Where a result names its server.
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

impl ReplyBody {
    /// The response with the client's id, complete: `resultType`, the server's name, and, for what may be
    /// cached, how long and for whom. An error is left as it is.
    pub fn completed(&self, id: &RequestId, server: &ClientInfo, cacheable: bool) -> Bytes {
        if self.kind == OutcomeKind::RpcError {
            return self.with_id(id);
        }
        let mut new: Vec<String> = Vec::new();
        let mut edits = vec![(self.id.clone(), id.raw().to_owned())];
        if !self.parts.typed {
            new.push(r#""resultType":"complete""#.to_owned());
        }
        if cacheable && self.kind != OutcomeKind::InputRequired {
            if !self.parts.ttl {
                new.push(r#""ttlMs":0"#.to_owned());
            }
            match &self.parts.scope {
                // What one client may see is nothing for a cache that others share.
                Some(place) => edits.push((place.clone(), r#""private""#.to_owned())),
                None => new.push(r#""cacheScope":"private""#.to_owned()),
            }
        }
        let [name, version] = [&server.name, &server.version].map(|text| Value::from(text.as_str()));
        let named = format!(r#""{SERVER_INFO}":{{"name":{name},"version":{version}}}"#);
        match &self.parts.meta {
            None => new.push(format!(r#""_meta":{{{named}}}"#)),
            Some(place) => {
                let text = self.text.get(place.clone()).unwrap_or_default();
                let names_it =
                    scan::scan_text(text, Limits::REPLY).map(|meta| meta.get(SERVER_INFO).is_some());
                // What is no object cannot be completed; it is the upstream's to answer for.
                if names_it == Ok(false) && text.starts_with('{') {
                    edits.push((place.start + 1..place.start + 1, opening(&[named], text)));
                }
            }
        }
        if !new.is_empty() {
            let at = self.content.start + 1;
            let result = self.text.get(self.content.clone()).unwrap_or_default();
            edits.push((at..at, opening(&new, result)));
        }
        edits.sort_by_key(|(range, _)| range.start);
        let edits: Vec<_> = edits.iter().map(|(range, text)| (range.clone(), text.as_str())).collect();
        let mut out = String::with_capacity(self.text.len() + 256);
        splice_into(&mut out, &self.text, &edits);
        Bytes::from(out)
    }
}

/// New first members of this object.
fn opening(members: &[String], object: &str) -> String {
    let rest = object.strip_prefix('{').unwrap_or_default().trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{}{comma}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mcp::{FromUpstream, read_upstream};

    fn check(result: &str, cacheable: bool, expect: &str) {
        for text in [
            format!(r#"{{"jsonrpc":"2.0","id":7,"result":{result}}}"#),
            format!(r#"{{"result":{result},"id":7,"jsonrpc":"2.0"}}"#),
        ] {
            let Ok(FromUpstream::Response { body, .. }) =
                read_upstream(Bytes::from(text.clone()), Limits::REPLY)
            else {
                panic!("{text}")
            };
            let server = ClientInfo { name: "a\"b".to_owned(), version: "1".to_owned() };
            let id = RequestId::parse("\"c\"").unwrap();
            let done = body.completed(&id, &server, cacheable);
            assert_eq!(done, text.replace(result, expect).replace(":7", ":\"c\""), "{text}");
            assert!(serde_json::from_slice::<serde_json::Value>(&done).is_ok());
        }
    }

    #[test]
    fn only_what_is_missing_is_put_into_a_result() {
        let named = r#""io.modelcontextprotocol/serverInfo":{"name":"a\"b","version":"1"}"#;
        let type_and_name = format!(r#""resultType":"complete","_meta":{{{named}}}"#);
        check("{}", false, &format!("{{{type_and_name}}}"));
        check("{ }", false, &format!("{{{type_and_name} }}"));
        check(r#"{ "a":1.0}"#, false, &format!(r#"{{{type_and_name}, "a":1.0}}"#));
        check(
            r#"{"resultType":"task","_meta":{"x":1}}"#,
            false,
            &format!(r#"{{"resultType":"task","_meta":{{{named},"x":1}}}}"#),
        );
        check(
            r#"{"_meta":{},"resultType":"complete"}"#,
            false,
            &format!(r#"{{"_meta":{{{named}}},"resultType":"complete"}}"#),
        );
        let whole =
            format!(r#"{{"resultType":"complete","_meta":{{{named}}},"ttlMs":5,"cacheScope":"private"}}"#);
        check(&whole, true, &whole);
        check(&whole.replace("private", "public"), true, &whole);
        check(
            r#"{"resultType":"complete","_meta":8,"contents":[]}"#,
            true,
            r#"{"ttlMs":0,"cacheScope":"private","resultType":"complete","_meta":8,"contents":[]}"#,
        );
        check(
            r#"{"resultType":"input_required","requestState":"s"}"#,
            true,
            &format!(r#"{{"_meta":{{{named}}},"resultType":"input_required","requestState":"s"}}"#),
        );
    }
}
