//! The upstream side against real peers: a server on a socket and a child process.

mod asking;
mod door;
mod eras;
mod http;
mod sdk;
mod server;
mod stdio;
mod watches;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::*;
use crate::connector::Lock;
use crate::mcp::{self, Capabilities, ClientFace, Revision};
use crate::model::Caller;
use crate::model::{ConversationId, SourceFile, Timestamp};
use crate::session::Session;
use crate::session::{SessionLimits, Sessions};

#[derive(Debug)]
struct Inside;

#[async_trait]
impl InProcess for Inside {
    async fn call(&self, outbound: &Outbound, _upstreams: &Upstreams) -> (Bytes, OutcomeKind) {
        (mcp::reply::empty_result(outbound.call.id()), OutcomeKind::Result)
    }
}

/// The connector `peer` with this descriptor and these accepted tools.
fn connectors(descriptor: &str, tools: &[Value]) -> Arc<Connectors> {
    let service = ServiceKey::parse("peer").unwrap();
    let lock = Lock::from_definitions(&service, tools, None).unwrap().to_json().unwrap();
    let files = [SourceFile::new("peer.toml", descriptor), SourceFile::new("peer.tools.json", &lock)];
    Arc::new(Connectors::read(&files).unwrap_or_else(|faults| panic!("{faults:?}\n{descriptor}")))
}

fn definition(name: &str) -> Value {
    json!({"name": name, "description": format!("does {name}"), "inputSchema": {"type": "object"}})
}

/// How one call went.
#[derive(Debug)]
struct Went {
    sent: bool,
    status: u16,
    single: bool,
    events: Vec<ReplyEvent>,
    failure: Option<UpstreamFailure>,
}

impl Went {
    /// The response's JSON.
    fn answer(&self) -> Value {
        let body = self.events.iter().find_map(|event| match event {
            ReplyEvent::Json { body, .. } => Some(body.clone()),
            _ => None,
        });
        serde_json::from_slice(&body.unwrap_or_else(|| panic!("no answer: {self:?}"))).unwrap()
    }

    fn content(&self) -> Value {
        self.answer()["result"]["structuredContent"].clone()
    }

    fn notifications(&self) -> Vec<Value> {
        let of = |event: &ReplyEvent| match event {
            ReplyEvent::Notification(body) => Some(serde_json::from_slice(body).unwrap()),
            _ => None,
        };
        self.events.iter().filter_map(of).collect()
    }

    /// The failure, wherever it came.
    fn failed(&self) -> UpstreamFailure {
        let broken = self.events.iter().find_map(|event| match event {
            ReplyEvent::Broken(failure) => Some(failure.clone()),
            _ => None,
        });
        self.failure.clone().or(broken).unwrap_or_else(|| panic!("no failure: {self:?}"))
    }
}

struct Rig {
    upstreams: Arc<Upstreams>,
    connectors: Arc<Connectors>,
    caller: Caller,
    session: Session,
}

/// A client of this revision that can do these things.
fn client(revision: Revision, capabilities: Capabilities) -> Arc<ClientFace> {
    Arc::new(ClientFace { revision, capabilities, ..ClientFace::unknown() })
}

fn random() -> [u8; 10] {
    let mut bytes = [0; 10];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

impl Rig {
    fn new(descriptor: &str, tools: &[Value]) -> Self {
        Self::on(Handle::current(), descriptor, tools)
    }

    fn on(background: Handle, descriptor: &str, tools: &[Value]) -> Self {
        let environment =
            ["PATH", "HOME"].map(|name| (name.to_owned(), std::env::vars_os().find(|(n, _)| n == name)));
        let environment = environment.map(|(name, value)| (name, value.unwrap().1.into_string().unwrap()));
        let secrets =
            [("PASSED", "p"), ("KEPT", "k")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let config = Config {
            background,
            environment: Environment::new(environment.into_iter().chain(secrets)),
            in_process: Arc::new(Inside),
        };
        let connectors = connectors(descriptor, tools);
        let upstreams = Arc::new(Upstreams::new(config));
        upstreams.apply(&connectors);
        let caller = door::caller();
        let conversation = ConversationId::from_bytes([1; 16]);
        let sessions = Sessions::new(SessionLimits::default());
        let session = sessions.enter(&caller, conversation, None, Timestamp::now()).unwrap();
        Self { upstreams, connectors, caller, session }
    }

    fn apply(&mut self, descriptor: &str, tools: &[Value]) {
        self.connectors = connectors(descriptor, tools);
        self.upstreams.apply(&self.connectors);
    }

    fn outbound(&self, service: &str, tool: &str, arguments: &Value, token: Option<Value>) -> Outbound {
        let mut params = json!({"name": format!("{service}__{tool}"), "arguments": arguments});
        if let Some(token) = token {
            params["_meta"] = json!({"progressToken": token});
        }
        let text = json!({"jsonrpc": "2.0", "id": "c-1", "method": "tools/call", "params": params});
        let call = match mcp::read(Bytes::from(text.to_string()), mcp::Limits::REQUEST) {
            Ok(mcp::Message::Request(mcp::Request::Call(call))) => call,
            _ => panic!("not a call: {text}"),
        };
        Outbound {
            connector: Arc::clone(self.connectors.get(service).unwrap()),
            tool: ToolName::parse(tool).unwrap(),
            call: Arc::new(call),
            call_id: CallId::mint(Timestamp::now(), random()),
            caller: self.caller.clone(),
            session: self.session.clone(),
            client: Arc::new(mcp::ClientFace::unknown()),
            retry: None,
        }
    }

    async fn go(&self, outbound: Outbound) -> Went {
        let mut sent = false;
        let forwarded = self.upstreams.forward(&outbound, &mut sent).await;
        let mut went = Went { sent, status: 0, single: false, events: Vec::new(), failure: None };
        match forwarded {
            Ok((status, first, rest)) => {
                let stream = ReplyStream::new(first, rest);
                went.status = status;
                went.events = stream.collect().await;
                went.single = matches!(went.events.first(), Some(ReplyEvent::Json { .. }));
            }
            Err(failure) => went.failure = Some(failure),
        }
        went
    }

    /// The same, with a client that answers what it is asked.
    async fn converse(
        &self,
        outbound: Outbound,
        mut answer: impl FnMut(&str, Value) -> Option<ClientAnswer>,
    ) -> (Went, Vec<String>) {
        let (mut sent, mut asked) = (false, Vec::new());
        let forwarded = self.upstreams.forward(&outbound, &mut sent).await;
        let mut went = Went { sent, status: 0, single: false, events: Vec::new(), failure: None };
        match forwarded {
            Ok((status, first, rest)) => {
                went.status = status;
                let mut stream = ReplyStream::new(first, rest);
                while let Some(event) = stream.next().await {
                    let ReplyEvent::Request(request) = event else {
                        went.events.push(event);
                        continue;
                    };
                    asked.push(request.method.clone());
                    let params = serde_json::from_str(&request.params).unwrap();
                    if let Some(said) = answer(&request.method, params) {
                        assert!(request.answer.answer(said), "the upstream waits");
                    }
                }
            }
            Err(failure) => went.failure = Some(failure),
        }
        (went, asked)
    }

    async fn call(&self, tool: &str, arguments: Value) -> Went {
        self.go(self.outbound("peer", tool, &arguments, None)).await
    }

    fn service(&self) -> ServiceKey {
        ServiceKey::parse("peer").unwrap()
    }

    fn status(&self) -> UpstreamStatus {
        self.upstreams.status().into_iter().find(|status| status.service == self.service()).unwrap()
    }

    /// Waits for something to become true: at most 10 seconds, looked at every 5 milliseconds.
    async fn until(&self, what: &str, mut is: impl FnMut(&UpstreamStatus) -> bool) -> UpstreamStatus {
        let watch = async {
            loop {
                let status = self.status();
                if is(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let done = tokio::time::timeout(Duration::from_secs(10), watch).await;
        done.unwrap_or_else(|_| panic!("never: {what}; {:?}", self.status()))
    }
}

#[tokio::test]
async fn the_gates_own_tools_answer_in_the_same_way() {
    let rig = Rig::new("[transport]\nkind = \"stdio\"\ncommand = \"false\"\n", &[definition("echo")]);
    let went = rig.go(rig.outbound("wicket", "whoami", &json!({}), None)).await;
    assert_eq!(went.answer(), json!({"jsonrpc": "2.0", "id": "c-1", "result": {}}));
    assert!(went.sent && went.single && matches!(went.events[..], [_, ReplyEvent::End]));
    let wicket = ServiceKey::parse("wicket").unwrap();
    let catalogue = rig.upstreams.catalogue(&wicket).await.unwrap();
    assert_eq!((catalogue.definitions.len(), catalogue.quarantined.len(), catalogue.stale), (4, 0, false));
}

#[tokio::test]
async fn a_call_that_was_decided_for_another_connector_is_not_sent() {
    let mut rig = Rig::new("[transport]\nkind = \"stdio\"\ncommand = \"cat\"\n", &[definition("echo")]);
    let old = rig.outbound("peer", "echo", &json!({}), None);
    rig.apply("[transport]\nkind = \"stdio\"\ncommand = \"tail\"\n", &[definition("echo")]);
    let went = rig.go(old).await;
    assert!(!went.sent && matches!(went.failed(), UpstreamFailure::Unreachable(_)), "{went:?}");
}

#[test]
fn the_data_plane_and_the_background_may_be_different_runtimes() {
    let background =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let data_plane =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    data_plane.block_on(async {
        let http = server::Peer::start(vec![definition("echo")], |request| {
            vec![server::reply(&server::echo(request))]
        });
        let http = http.await;
        for descriptor in [http.descriptor(""), stdio::descriptor("")] {
            let rig = Rig::on(background.handle().clone(), &descriptor, &[definition("echo")]);
            let calls = (0..50).map(|turn| {
                let rig = &rig;
                async move { (turn, rig.call("echo", json!({ "turn": turn })).await) }
            });
            for (turn, went) in futures_util::future::join_all(calls).await {
                assert!(went.content().to_string().contains(&json!({ "turn": turn }).to_string()));
            }
            assert_eq!(rig.upstreams.catalogue(&rig.service()).await.unwrap().definitions.len(), 1);
            rig.upstreams.shutdown().await;
        }
    });
}
