//! One gate with everybody whom the API tells apart, and one thing of each kind that it speaks of.
//!
//! Invariant: what one request changed does not stand in the next one's way: [`World::renew`] makes an
//! agent with members, invites, a group, a key and a tool session anew.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request};
use hyper_util::client::legacy::{Client as Pool, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Gate, GateOptions, SCOPES};

/// No answer may take longer: a hang is red.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// Limits that do not stand in the way of thousands of requests, good and bad.
const UNHURRIED: &str = "[control]\nrate_burst = 1_000_000\nrate_per_second = 1_000_000.0\n\
    address_rate_burst = 1_000_000\naddress_rate_per_second = 1_000_000.0\n";

/// How a request says who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    Nobody,
    Token(String),
    /// A cookie; and the session's word, where the page sends it.
    Session {
        cookie: String,
        word: Option<String>,
    },
}

/// What of a person's credential is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A token of every scope.
    Full,
    /// A token of this scope alone.
    Scope(&'static str),
    /// A token of every scope that was revoked.
    Revoked,
    /// A token of every scope that is over.
    Expired,
    /// A browser.
    Session,
    /// A browser whose page does not say the session's word.
    SessionWithoutWord,
}

/// The gate and its people.
pub struct World {
    pub gate: Gate,
    pool: Pool<HttpConnector, Full<Bytes>>,
    known: RefCell<BTreeMap<(String, Kind), Credential>>,
    /// Ids and the like, by name: what stands in braces in a path and after `$` in a body.
    pub values: BTreeMap<String, String>,
    rounds: u32,
}

/// Who is what to the agent.
pub const PEOPLE: &[&str] =
    &["stranger", "pending", "rejected", "member", "other", "owner", "foreign", "disabled"];

impl World {
    /// A gate with its people and a first agent.
    pub async fn start() -> Self {
        let gate = Gate::start(GateOptions::new(Vec::new()).with_config(UNHURRIED)).await;
        let pool = Pool::builder(TokioExecutor::new()).build(HttpConnector::new());
        let mut world = Self { gate, pool, known: RefCell::default(), values: BTreeMap::new(), rounds: 0 };
        for person in PEOPLE {
            world.gate.admin(json!({"do": "account_create", "email": email(person)})).await;
        }
        let disabled = world.credential("disabled", Kind::Full).await;
        assert_eq!(world.send(&disabled, "get", "/api/agents", None, &[]).await.status, 200);
        world
            .gate
            .admin(json!({"do": "account_status", "email": email("disabled"), "status": "disabled"}))
            .await;
        world.ask("foreign", "post", "/api/agents", Some(json!({"name": "foreign"})), 201).await;
        world.values.extend(
            [("service", "wicket"), ("type", "repository")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        world.renew().await;
        world
    }

    /// This credential of this person; made where it is not there yet.
    pub async fn credential(&self, person: &str, kind: Kind) -> Credential {
        if person == "nobody" {
            return Credential::Nobody;
        }
        let key = (person.to_owned(), kind);
        if let Some(known) = self.known.borrow().get(&key) {
            return known.clone();
        }
        let made = match kind {
            Kind::Full => self.token(person, SCOPES).await.0,
            Kind::Scope(scope) => self.token(person, &[scope]).await.0,
            Kind::Revoked => {
                let (token, id) = self.token(person, SCOPES).await;
                self.gate.admin(json!({"do": "token_revoke", "token": id})).await;
                token
            }
            Kind::Expired => {
                let (token, id) = self.token(person, SCOPES).await;
                self.expire(&id).await;
                token
            }
            Kind::Session => self.browser(person).await,
            Kind::SessionWithoutWord => match self.browser(person).await {
                Credential::Session { cookie, .. } => Credential::Session { cookie, word: None },
                other => other,
            },
        };
        self.known.borrow_mut().insert(key, made.clone());
        made
    }

    async fn token(&self, person: &str, scopes: &[&str]) -> (Credential, String) {
        let asked = json!({"do": "token_create", "email": email(person), "name": "tests", "scopes": scopes, "days": 1});
        let minted = self.gate.admin(asked).await;
        let id = minted["record"]["id"].as_str().or(minted["id"].as_str()).unwrap().to_owned();
        (Credential::Token(minted["token"].as_str().unwrap().to_owned()), id)
    }

    /// A day later, for this token: nothing else of the gate waits for a clock.
    async fn expire(&self, token: &str) {
        let path = self.gate.data_dir().join("wicket.db");
        let store = sea_orm::Database::connect(format!("sqlite://{}", path.display())).await.unwrap();
        let hex: String = token.chars().filter(|letter| *letter != '-').collect();
        let update = format!(
            "UPDATE api_token SET expires_at = created_at + 1 WHERE lower(id) = '{token}' OR lower(hex(id)) = '{hex}'"
        );
        assert_eq!(store.execute_unprepared(&update).await.unwrap().rows_affected(), 1);
        store.close().await.unwrap();
    }

    /// A browser in which the person signs in by a link.
    async fn browser(&self, person: &str) -> Credential {
        let link = self.gate.admin(json!({"do": "account_link", "email": email(person)})).await;
        let (_, secret) = link["url"].as_str().unwrap().split_once('#').unwrap();
        let origin = self.origin();
        let own = [("origin", origin.as_str())];
        let body = Some(json!({"secret": secret}));
        let answer = self.send(&Credential::Nobody, "post", "/api/auth/sign-in", body, &own).await;
        answer.expect(200);
        let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let signed = Credential::Session { cookie: cookie.clone(), word: None };
        let status = self.send(&signed, "get", "/api/auth/status", None, &[]).await.expect(200);
        Credential::Session { cookie, word: Some(status["csrfToken"].as_str().unwrap().to_owned()) }
    }

    fn origin(&self) -> String {
        format!("http://{}", self.gate.control())
    }

    /// A request; of an answer that does not end, its head.
    pub async fn send(
        &self,
        credential: &Credential,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut all: Vec<(&str, String)> =
            headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            all.push(("content-type", "application/json".to_owned()));
        }
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        self.send_bytes(credential, method, path, body.into_bytes(), &all).await
    }

    /// The same with any bytes as its body.
    pub async fn send_bytes(
        &self,
        credential: &Credential,
        method: &str,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, String)],
    ) -> Answer {
        let method: Method = method.to_ascii_uppercase().parse().unwrap();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.origin()));
        match credential {
            Credential::Nobody => {}
            Credential::Token(token) => request = request.header("authorization", format!("Bearer {token}")),
            Credential::Session { cookie, word } => {
                request = request.header("cookie", cookie).header("origin", self.origin());
                if let Some(word) = word {
                    request = request.header("x-csrf-token", word);
                }
            }
        }
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let sent = self.pool.request(request.body(Full::new(Bytes::from(body))).unwrap());
        let response = tokio::time::timeout(ANSWER_MAX, sent).await.unwrap().unwrap();
        let (head, body) = response.into_parts();
        let endless = head.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
        let body = match endless {
            true => Bytes::new(),
            false => tokio::time::timeout(ANSWER_MAX, body.collect()).await.unwrap().unwrap().to_bytes(),
        };
        Answer { status: head.status, headers: head.headers, body }
    }

    /// What must go well, by a token of every scope of this person.
    async fn ask(&self, person: &str, method: &str, path: &str, body: Option<Value>, status: u16) -> Value {
        let credential = self.credential(person, Kind::Full).await;
        self.send(&credential, method, path, body, &[]).await.expect(status)
    }

    /// A new agent with everybody in their places, and the rest that paths and bodies name.
    pub async fn renew(&mut self) {
        self.rounds += 1;
        self.values.insert("newName".to_owned(), format!("made-in-{}", self.rounds));
        let asked = json!({"name": format!("round-{}", self.rounds), "allowedServices": ["wicket"]});
        let agent = self.ask("owner", "post", "/api/agents", Some(asked), 201).await;
        let id = text(&agent["id"]);
        self.values.insert("id".to_owned(), id.clone());
        self.values.insert("ownerMemberId".to_owned(), text(&agent["membership"]["id"]));
        let at = |rest: &str| format!("/api/agents/{id}/{rest}");
        for person in ["member", "other", "pending", "rejected"] {
            let invite =
                self.ask("owner", "post", &at("invite"), Some(json!({"email": email(person)})), 201).await;
            let joined =
                self.ask(person, "post", &at("join"), Some(json!({"token": invite["token"]})), 201).await;
            let member = text(&joined["membership"]["id"]);
            match person {
                "pending" => {}
                "rejected" => {
                    drop(self.ask("owner", "post", &at(&format!("members/{member}/reject")), None, 200).await)
                }
                _ => {
                    let approved = Some(json!({"status": "approved"}));
                    self.ask("owner", "put", &at(&format!("members/{member}/status")), approved, 200).await;
                }
            }
            let name = if person == "member" { "memberId".to_owned() } else { format!("{person}MemberId") };
            self.values.insert(name, member);
        }
        let invite =
            self.ask("owner", "post", &at("invite"), Some(json!({"email": email("stranger")})), 201).await;
        self.values.insert("inviteId".to_owned(), text(&invite["id"]));
        self.values.insert("inviteToken".to_owned(), text(&invite["token"]));
        self.ask("owner", "post", &at("groups"), Some(json!({"name": "reviewers"})), 201).await;
        self.values.insert("group".to_owned(), "reviewers".to_owned());
        let policy =
            json!({"name": "No whoami", "service": "wicket", "effect": "forbid", "tools": ["search_tools"]});
        let policy = self.ask("owner", "post", &at("policies"), Some(policy), 201).await;
        self.values.insert("policyId".to_owned(), text(&policy["id"]));
        let member = self.values["memberId"].clone();
        self.ask("owner", "put", &at(&format!("groups/reviewers/members/{member}")), None, 204).await;
        self.session(&id, &member).await;
        self.account().await;
    }

    /// The member's key, and a tool session by one call with it.
    async fn session(&mut self, agent: &str, member: &str) {
        let path = format!("/api/agents/{agent}/members/{member}/key");
        let key = text(&self.ask("member", "put", &path, None, 200).await["key"]);
        let called = Client::new(self.gate.agents(), &key).call("wicket__whoami", json!({})).await;
        assert_eq!(called.status, 200, "{}", called.message());
        let path = format!("/api/agents/{agent}/sessions");
        let sessions = self.ask("owner", "get", &path, None, 200).await;
        self.values.insert("sessionId".to_owned(), text(&sessions["sessions"][0]["id"]));
    }

    /// What stands on the owner's account page: a token to spare, another browser, a link.
    async fn account(&mut self) {
        // An account has a bounded number of tokens that open.
        if let Some(before) = self.values.get("tokenId") {
            self.gate.admin(json!({"do": "token_revoke", "token": before})).await;
        }
        let (_, token) = self.token("owner", SCOPES).await;
        self.values.insert("tokenId".to_owned(), token);
        let browsers = [Kind::Session, Kind::SessionWithoutWord].map(|kind| ("owner".to_owned(), kind));
        self.known.borrow_mut().retain(|key, _| !browsers.contains(key));
        let before = self.credential("owner", Kind::Session).await;
        self.browser("owner").await;
        let sessions = self.send(&before, "get", "/api/users/me/sessions", None, &[]).await.expect(200);
        let other =
            sessions["sessions"].as_array().unwrap().iter().find(|one| one["current"] == false).unwrap();
        self.values.insert("webSessionId".to_owned(), text(&other["id"]));
        let link = self.gate.admin(json!({"do": "account_link", "email": email("stranger")})).await;
        let (_, secret) = link["url"].as_str().unwrap().split_once('#').unwrap();
        self.values.insert("linkSecret".to_owned(), secret.to_owned());
        for person in ["stranger", "owner"] {
            self.values.insert(format!("{person}Email"), email(person));
        }
    }

    /// The text with `{name}` and `$name` put in; red where a name has no value.
    pub fn filled(&self, template: &str, over: &BTreeMap<String, String>) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap();
            let name = over.get(name).map_or(name, |over| over.as_str());
            text.push_str(before);
            text.push_str(
                self.values.get(name).unwrap_or_else(|| panic!("{template}: nothing is called `{name}`")),
            );
            rest = after;
        }
        text + rest
    }

    /// The body with each text `$name` replaced.
    pub fn filled_body(&self, body: &Value) -> Value {
        match body {
            Value::String(text) => match text.strip_prefix('$') {
                Some(name) => Value::from(self.values[name].as_str()),
                None => body.clone(),
            },
            Value::Array(items) => items.iter().map(|item| self.filled_body(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (name.clone(), self.filled_body(value))).collect()
            }
            other => other.clone(),
        }
    }
}

fn email(person: &str) -> String {
    format!("{person}@example.com")
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
