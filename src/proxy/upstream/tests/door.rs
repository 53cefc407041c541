//! The one door, with the real permit, receipt and reservation of a real bundle, journal and session.

use super::server::{Act, Peer, echo, reply};
use super::*;
use crate::audit::{CallFacts, Durability, Journal, JournalConfig};
use crate::connector::resource_of;
use crate::keys::SigningKey;
use crate::model::MemberId;
use crate::model::{
    Agent, AgentId, AgentStatus, Caller, ConversationId, CounterKey, CounterScope, History, KeyId, Member,
    MemberStatus, Outcome, Role, Tier, TrustMode,
};
use crate::policy::{Bundle, Question, Sources, Verdict};
use crate::session::{CallCounts, Session, SessionLimits, Sessions};

struct Door {
    rig: Rig,
    bundle: Bundle,
    journal: Journal,
    session: Session,
    caller: Caller,
    _dir: tempfile::TempDir,
}

pub(super) fn caller() -> Caller {
    let now = Timestamp::now();
    let agent = Agent {
        id: AgentId::mint(now, random()),
        name: "agent".to_owned(),
        trust: TrustMode::Trusted,
        status: AgentStatus::Active,
        services: ["peer"].map(|service| ServiceKey::parse(service).unwrap()).into(),
        rate: None,
        owner: None,
        tags: Vec::new(),
        created_at: now,
    };
    let member = Member {
        id: MemberId::mint(now, random()),
        agent_id: agent.id,
        name: "member".to_owned(),
        role: Role::Owner,
        status: MemberStatus::Approved,
        groups: Default::default(),
        account: None,
        created_at: now,
    };
    Caller {
        agent: Arc::new(agent),
        member: Arc::new(member),
        key: KeyId::mint(now, random()),
        ip: [127, 0, 0, 1].into(),
        session: None,
    }
}

impl Door {
    fn new(descriptor: &str) -> Self {
        let rig = Rig::new(descriptor, &[definition("echo"), definition("other")]);
        let policy = SourceFile::new("all.cedar", r#"@id("all") permit(principal, action, resource);"#);
        let connectors = Arc::clone(&rig.connectors);
        let bundle = Bundle::build(&Sources {
            show: Default::default(),
            policies: vec![policy],
            cases: None,
            connectors,
        })
        .unwrap();
        let dir = tempfile::tempdir().unwrap();
        let config = JournalConfig::in_data_dir(dir.path(), Durability::Process);
        let node = uuid::Uuid::now_v7();
        let (journal, _) =
            Journal::open(config, node, SigningKey::generate([7; 32]), Timestamp::now()).unwrap();
        let caller = caller();
        let conversation = ConversationId::from_bytes([1; 16]);
        let sessions = Sessions::new(SessionLimits::default());
        let session = sessions.enter(&caller, conversation, None, Timestamp::now()).unwrap();
        Self { rig, bundle, journal, session, caller, _dir: dir }
    }

    /// Decides, records and counts one call.
    async fn papers(&self, call: &Outbound) -> (Permit, Receipt, Reservation) {
        let (now, history) = (Timestamp::now(), History::default());
        let tool = &call.connector.tools[&call.tool];
        let resource = resource_of(&call.connector, tool, call.call.arguments_value());
        let question = Question {
            call: call.call_id,
            caller: &self.caller,
            connector: &call.connector,
            tool,
            arguments: call.call.arguments_value(),
            resource: &resource,
            history: &history,
            now,
        };
        let permit = match self.bundle.authorise(&question) {
            Verdict::Allow(permit) => permit,
            Verdict::Deny(denial) => panic!("{denial:?}"),
        };
        let (_, version) = self.session.read(&[], &[], now);
        let service = &call.connector.service;
        let counts = CallCounts {
            service,
            tool: &call.tool,
            tier: Tier::Destructive,
            permits: &permit.decision().determining,
        };
        let reservation = self.session.reserve(&version, &counts, now).unwrap();
        let facts = CallFacts {
            call: call.call_id,
            at: now,
            caller: &self.caller,
            session: Some(self.session.id()),
            conversation: None,
            client: None,
            service: service.as_str(),
            tool: call.tool.as_str(),
            tier: Some(tool.tier),
            action: "PeerMCP::Action::\"echo\"",
            resource: &resource.uid(),
            principal: "Wicket::Member::\"m\"",
            arguments: call.call.arguments(),
            redact: &[],
            history: &history,
        };
        let receipt = self.journal.intent(&permit, &facts).await.unwrap();
        (permit, receipt, reservation)
    }

    fn calls_counted(&self) -> i64 {
        let (history, _) = self.session.read(&[CounterKey::Calls], &[], Timestamp::now());
        history.get(CounterScope::Session, &CounterKey::Calls)
    }
}

fn done(receipt: Receipt) {
    receipt.complete(Outcome { kind: OutcomeKind::Result, status: 200, bytes: 0, duration_ms: 1 });
}

async fn open() -> (Peer, Door) {
    let peer =
        Peer::start(vec![definition("echo"), definition("other")], |request| vec![reply(&echo(request))])
            .await;
    let door = Door::new(&peer.descriptor(""));
    (peer, door)
}

#[tokio::test]
async fn a_call_with_its_papers_is_sent_counted_and_comes_back_with_its_receipt() {
    let (peer, door) = open().await;
    let call = door.rig.outbound("peer", "echo", &json!({"a": 1}), None);
    let call_id = call.call_id;
    let (permit, receipt, reservation) = door.papers(&call).await;
    let Sent::Reply(reply) = door.rig.upstreams.send(permit, receipt, reservation, call).await else {
        panic!("no reply")
    };
    assert!(reply.receipt.call() == call_id && reply.status == 200);
    done(reply.receipt);
    let calls = peer.requests("tools/call");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].header("x-request-id").unwrap(), call_id.to_string());
    assert_eq!(door.calls_counted(), 1);
}

#[tokio::test]
async fn papers_of_another_call_open_nothing() {
    let (peer, door) = open().await;
    let mine = |tool: &str| door.rig.outbound("peer", tool, &json!({}), None);
    for wrong in ["permit", "receipt", "call", "tool", "service"] {
        let (one, two) = (mine("echo"), mine("echo"));
        let (permit, receipt, reservation) = door.papers(&one).await;
        let (other_permit, other_receipt, other_reservation) = door.papers(&two).await;
        other_reservation.release();
        let (permit, receipt, spare, mut call) = match wrong {
            "permit" => (other_permit, receipt, other_receipt, one),
            "receipt" => (permit, other_receipt, receipt, one),
            "call" => (permit, receipt, other_receipt, two),
            _ => (permit, receipt, other_receipt, one),
        };
        match wrong {
            // Decided as one tool, named as another.
            "tool" => call.tool = ToolName::parse("other").unwrap(),
            "service" => call.connector = Arc::clone(door.rig.connectors.get("wicket").unwrap()),
            _ => {}
        }
        match door.rig.upstreams.send(permit, receipt, reservation, call).await {
            Sent::Failed { receipt, failure: UpstreamFailure::Unpermitted } => done(receipt),
            other => panic!("{wrong}: {other:?}"),
        }
        done(spare);
        assert_eq!(door.calls_counted(), 0, "{wrong}: what was not sent is not counted");
    }
    assert!(peer.requests("tools/call").is_empty());
}

#[tokio::test]
async fn a_call_counts_unless_certainly_nothing_was_sent() {
    let silent = Peer::start(vec![], |_| vec![Act::Close]).await;
    let mute = Peer::with(|_| vec![Act::Close]).await;
    for (peer, counted, label) in [(silent, 1, "broken"), (mute, 0, "unreachable")] {
        let door = Door::new(&peer.descriptor("silence_ms_max = 500"));
        let call = door.rig.outbound("peer", "echo", &json!({}), None);
        let (permit, receipt, reservation) = door.papers(&call).await;
        match door.rig.upstreams.send(permit, receipt, reservation, call).await {
            Sent::Failed { receipt, failure } => {
                assert_eq!(failure.label(), label, "{failure}");
                done(receipt);
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(door.calls_counted(), counted, "{label}");
        assert_eq!(peer.requests("tools/call").len() as i64, counted, "{label}");
    }
}
