//! Parts of a path and conditions of a request, as extractors.

use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode, header};
use serde::Serialize;

use super::ApiState;
use super::access::of_path;
use super::extract::Json;
use super::problem::{Code, Problem};
use crate::control::AdminFault;
use crate::model::{
    Agent, AgentId, Digest, GroupName, InviteId, MemberId, PolicyId, SessionId, TokenId, WebSessionId,
};

/// What a part of a path names, and how it is called in the path and by people.
pub trait Named: std::str::FromStr + Send {
    const PARAMETER: &'static str;
    const NOUN: &'static str;
}

macro_rules! named {
    ($($type:ty: $parameter:literal, $noun:literal;)*) => {
        $(impl Named for $type {
            const PARAMETER: &'static str = $parameter;
            const NOUN: &'static str = $noun;
        })*
    };
}

named! {
    AgentId: "id", "agent";
    MemberId: "memberId", "member";
    InviteId: "inviteId", "invite";
    SessionId: "sessionId", "session";
    GroupName: "group", "group";
    PolicyId: "policyId", "policy";
    TokenId: "tokenId", "token";
    WebSessionId: "sessionId", "session";
}

/// A part of the path. What cannot be one is not there: 404.
pub struct Part<T>(pub T);

impl<T: Named> FromRequestParts<ApiState> for Part<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ApiState) -> Result<Self, Problem> {
        of_path(parts, state, T::PARAMETER, T::NOUN).await.map(Self)
    }
}

/// `If-Match` (RFC 9110, 13.1.1): the versions of which the thing must still be one.
pub struct IfMatch(Option<Vec<String>>);

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let mut wanted = Vec::new();
        for value in parts.headers.get_all(header::IF_MATCH) {
            let text = value.to_str().map_err(|_| unreadable())?;
            for tag in text.split(',').map(str::trim) {
                // A weak one matches nothing (RFC 9110, 8.8.3.2).
                let quoted = tag.strip_prefix("W/").unwrap_or(tag);
                let is_quoted = quoted.len() >= 2 && quoted.starts_with('"') && quoted.ends_with('"');
                if tag != "*" && !is_quoted {
                    return Err(unreadable());
                }
                wanted.push(tag.to_owned());
            }
        }
        Ok(Self((!wanted.is_empty()).then_some(wanted)))
    }
}

fn unreadable() -> Problem {
    Problem::new(Code::Invalid, "`If-Match` is not as RFC 9110 has it")
        .with_help("send back the `ETag` that you were given, with its quotes, or leave the header out")
}

impl IfMatch {
    /// Whether the agent is one that the asker saw; without the header every agent is.
    pub fn admits(&self, agent: &Agent) -> bool {
        self.0.is_none() || self.names(&version(agent))
    }

    /// The same for what counts its versions.
    pub fn admits_number(&self, version: u32) -> bool {
        self.0.is_none() || self.names(&format!("\"{version}\""))
    }

    /// Whether the header is there.
    pub const fn is_given(&self) -> bool {
        self.0.is_some()
    }

    fn names(&self, version: &str) -> bool {
        self.0.iter().flatten().any(|tag| tag == "*" || tag == version)
    }
}

/// The version of an agent's own settings: its members, keys and counts are not part of it.
pub fn version(agent: &Agent) -> String {
    let text = serde_json::to_string(agent).unwrap_or_default();
    let digest = Digest::of(text.as_bytes()).to_string();
    let hexadecimal = digest.rsplit(':').next().unwrap_or_default();
    format!("\"{}\"", hexadecimal.chars().take(32).collect::<String>())
}

/// A body with its version, and its place where it was just made.
pub struct Versioned<T> {
    pub version: String,
    pub made_at: Option<String>,
    pub body: T,
}

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response<axum::body::Body> {
        let status = if self.made_at.is_some() { StatusCode::CREATED } else { StatusCode::OK };
        let mut response = (status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        if let Ok(version) = HeaderValue::from_str(&self.version) {
            headers.insert(header::ETAG, version);
        }
        if let Some(Ok(place)) = self.made_at.map(|place| HeaderValue::from_str(&place)) {
            headers.insert(header::LOCATION, place);
        }
        response
    }
}

/// The same result, where what is wrong is this field of the request.
pub fn in_field(field: &str, checked: Result<(), AdminFault>) -> Result<(), Problem> {
    checked.map_err(|fault| {
        let problem = Problem::field(field, fault.message);
        match fault.help {
            Some(help) => problem.with_help(help),
            None => problem,
        }
    })
}

/// A text to search for: nothing where it is empty.
pub fn search(text: Option<String>) -> Result<Option<String>, Problem> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    if text.chars().count() > SEARCH_CHARACTERS_MAX || text.chars().any(char::is_control) {
        return Err(Problem::field(
            "query.search",
            format!("at most {SEARCH_CHARACTERS_MAX} characters are taken, none of them a control character"),
        ));
    }
    Ok(Some(text))
}

/// Characters of a text to search for.
pub const SEARCH_CHARACTERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    async fn admits(header: &[&str], agent: &Agent) -> Result<bool, Code> {
        let mut request = http::Request::builder();
        for value in header {
            request = request.header("if-match", *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        let read = IfMatch::from_request_parts(&mut parts, &()).await;
        read.map(|condition| condition.admits(agent)).map_err(|problem| problem.code())
    }

    #[tokio::test]
    async fn a_condition_holds_for_the_version_that_was_seen_alone() {
        let agent = Agent {
            id: AgentId::from_uuid(uuid::Uuid::nil()),
            name: "a".into(),
            trust: crate::model::TrustMode::Trusted,
            status: crate::model::AgentStatus::Active,
            services: Default::default(),
            rate: None,
            owner: None,
            tags: Vec::new(),
            created_at: crate::model::Timestamp::from_millis(0),
        };
        let seen = version(&agent);
        let changed = Agent { tags: vec!["x".into()], ..agent.clone() };
        let list = format!("\"other\", {seen}");
        for (header, before, after) in [
            (vec![], true, true),
            (vec!["*"], true, true),
            (vec![seen.as_str()], true, false),
            (vec![list.as_str()], true, false),
            (vec!["\"other\"", seen.as_str()], true, false),
            (vec!["\"other\""], false, false),
            (vec![&*format!("W/{seen}")], false, false),
        ] {
            assert_eq!(admits(&header, &agent).await, Ok(before), "{header:?}");
            assert_eq!(admits(&header, &changed).await, Ok(after), "{header:?}");
        }
        for bad in ["", "abc", "\"", "W/abc", "\"a\","] {
            assert_eq!(admits(&[bad], &agent).await, Err(Code::Invalid), "{bad}");
        }
    }
}
