//! Upstreams that ask something of the client during a call: in the session era by requests of their
//! own, in the stateless era by asking for another round.

use super::server::{Act, Peer, Received, discovered, echo, event, events, last_chunk, reply, status};
use super::*;
use crate::model::Digest;

const SHORT: &str = "silence_ms_max = 400\ncall_ms_max = 3000\ndial_ms_max = 500";
const FORM: Capabilities = Capabilities {
    sampling: false,
    sampling_tools: false,
    elicitation: true,
    elicitation_url: false,
    roots: false,
    roots_changed: false,
};

fn accept() -> Option<ClientAnswer> {
    Some(ClientAnswer::Result(r#"{ "action":"accept","content":{"n":1.50} }"#.to_owned()))
}

/// A peer of the session era that asks `count` forms during a call, waits for `answers` answers, and
/// goes on.
async fn asking(count: usize, answers: usize) -> Peer {
    let told: Arc<Mutex<Vec<Value>>> = Arc::default();
    Peer::with(move |request| {
        let log = Arc::clone(&told);
        match request.rpc() {
            "initialize" => {
                vec![server::reply_with("mcp-session-id: s-1\r\n", &server::initialized(request))]
            }
            "tools/list" => {
                let tools = json!({"tools": [definition("echo")]});
                vec![reply(&json!({"jsonrpc": "2.0", "id": request.body["id"], "result": tools}))]
            }
            "tools/call" => {
                let mut acts = vec![events()];
                for n in 0..count {
                    acts.push(event(
                        &json!({"jsonrpc": "2.0", "id": format!("q{n}"), "method": "elicitation/create",
                        "params": {"message": n}}),
                    ));
                }
                let before = log.lock().len();
                acts.push(Act::Until(Arc::new(move || log.lock().len() >= before + answers)));
                acts.extend([event(&echo(request)), last_chunk()]);
                acts
            }
            "" if request.body.get("id").is_some() => {
                log.lock().push(request.body.clone());
                vec![status("202 Accepted", "")]
            }
            _ => vec![status("202 Accepted", "")],
        }
    })
    .await
}

fn answers(peer: &Peer) -> Vec<Received> {
    let received = peer.received.lock();
    received
        .iter()
        .filter(|r| r.body.get("method").is_none() && r.body.get("id").is_some())
        .cloned()
        .collect()
}

fn asked_of(rig: &Rig, capabilities: Capabilities) -> Outbound {
    let mut outbound = rig.outbound("peer", "echo", &json!({"a": 1}), None);
    outbound.client = client(Revision::R2025_11_25, capabilities);
    outbound
}

#[tokio::test]
async fn a_client_answers_what_it_declared_and_the_call_goes_on() {
    let peer = asking(2, 2).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    let (went, asked) = rig.converse(asked_of(&rig, FORM), |_, _| accept()).await;
    assert_eq!(went.content(), json!({"a": 1}), "{went:?}");
    assert_eq!(asked, ["elicitation/create", "elicitation/create"]);
    let answers = answers(&peer);
    let raws: Vec<&str> = answers.iter().map(|answer| answer.raw.as_str()).collect();
    for id in ["q0", "q1"] {
        let raw = format!(
            r#"{{"jsonrpc":"2.0","id":"{id}","result":{{ "action":"accept","content":{{"n":1.50}} }}}}"#
        );
        assert!(raws.contains(&raw.as_str()), "byte for byte: {raws:?}");
    }
    assert!(answers.iter().all(|answer| answer.header("mcp-session-id").unwrap() == "s-1"));
    let hello = peer.requests("initialize");
    assert!(hello.iter().any(|hello| hello.body["params"]["capabilities"] == json!({"elicitation": {}})));
}

#[tokio::test]
async fn a_client_may_take_longer_than_an_upstream_may_be_silent_but_not_longer_than_the_call_lives() {
    let peer = asking(1, 1).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    for (wait_ms, expect) in [(900, None), (4_000, Some(UpstreamFailure::Expired { after_ms: 3_000 }))] {
        let held: Arc<Mutex<Option<AnswerSender>>> = Arc::default();
        let outbound = asked_of(&rig, FORM);
        let mut sent = false;
        let (_, first, rest) = rig.upstreams.forward(&outbound, &mut sent).await.unwrap();
        let ReplyEvent::Request(request) = first else { panic!("{first:?}") };
        *held.lock() = Some(request.answer);
        let late = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            let sender = held.lock().take().unwrap();
            sender.answer(accept().unwrap())
        });
        let events: Vec<ReplyEvent> =
            ReplyStream::new(ReplyEvent::Notification(Bytes::new()), rest).skip(1).collect().await;
        match expect {
            None => {
                assert!(matches!(events[..], [ReplyEvent::Json { .. }, ReplyEvent::End]), "{events:?}");
                assert!(late.await.unwrap());
            }
            Some(failure) => {
                assert!(
                    matches!(&events[..], [ReplyEvent::Broken(broken)] if *broken == failure),
                    "{events:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn what_a_client_cannot_or_does_not_answer_is_refused_and_so_is_too_much() {
    let peer = asking(1, 1).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    let (went, asked) = rig.converse(asked_of(&rig, Capabilities::default()), |_, _| accept()).await;
    assert!(asked.is_empty() && went.content() == json!({"a": 1}), "{went:?}");
    let (went, asked) = rig.converse(asked_of(&rig, FORM), |_, _| None).await;
    assert!(asked.len() == 1 && went.content() == json!({"a": 1}), "{went:?}");
    let no = ClientAnswer::Error(r#"{"code":-1,"message":"the user said no"}"#.to_owned());
    let (went, _) = rig.converse(asked_of(&rig, FORM), |_, _| Some(no.clone())).await;
    assert_eq!(went.content(), json!({"a": 1}));
    let codes: Vec<Value> =
        answers(&peer).iter().map(|answer| answer.body["error"]["code"].clone()).collect();
    assert_eq!(codes, [json!(-32601), json!(-32603), json!(-1)]);

    let peer = asking(9, 1).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    let outbound = asked_of(&rig, FORM);
    let mut sent = false;
    let (_, first, rest) = rig.upstreams.forward(&outbound, &mut sent).await.unwrap();
    let mut events: Vec<ReplyEvent> = ReplyStream::new(first, rest).collect().await;
    assert!(matches!(events.pop(), Some(ReplyEvent::End)));
    assert!(matches!(events.pop(), Some(ReplyEvent::Json { .. })), "{events:?}");
    assert_eq!(events.len(), 8, "eight are open, the ninth is refused");
    assert_eq!(answers(&peer)[0].body["id"], "q8");
}

#[tokio::test]
async fn an_answer_that_does_not_arrive_breaks_the_call() {
    let refusing = Peer::with(|request| match request.rpc() {
        "initialize" => vec![reply(&server::initialized(request))],
        "tools/call" => {
            let ask = json!({"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": {}});
            vec![events(), event(&ask), Act::Wait(2_000)]
        }
        "" => vec![status("400 Bad Request", "")],
        _ => vec![status("202 Accepted", "")],
    })
    .await;
    let rig = Rig::new(&refusing.descriptor(SHORT), &[definition("echo")]);
    let (went, _) = rig.converse(asked_of(&rig, FORM), |_, _| accept()).await;
    let failure = went.failed();
    assert!(failure.label() == "broken" && failure.to_string().contains("HTTP 400"), "{failure}");
}

#[tokio::test]
async fn each_client_has_its_own_session_and_gives_it_back() {
    let count = std::sync::atomic::AtomicU32::new(0);
    let peer = Peer::with(move |request| match request.rpc() {
        "initialize" => {
            let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            vec![server::reply_with(&format!("mcp-session-id: s-{n}\r\n"), &server::initialized(request))]
        }
        "tools/call" => vec![reply(&echo(request))],
        _ => vec![status("202 Accepted", "")],
    })
    .await;
    let rig = Rig::new(&peer.descriptor("catalogue_wait_ms_max = 10"), &[definition("echo")]);
    let session = |n: u8| Some(Digest::of(&[n]));
    let mut last = Vec::new();
    for (mcp_session, capabilities) in [
        (session(1), FORM),
        (session(2), FORM),
        (session(1), Capabilities::default()),
        (session(1), FORM),
        (None, FORM),
    ] {
        let mut outbound = rig.outbound("peer", "echo", &json!({}), None);
        let face = (*client(Revision::R2025_11_25, capabilities)).clone();
        outbound.client = Arc::new(ClientFace { mcp_session, ..face });
        assert!(rig.go(outbound).await.failure.is_none());
        last.push(peer.requests("tools/call").last().unwrap().header("mcp-session-id").unwrap());
    }
    assert_eq!(last[0], last[3], "the same client, the same session");
    let distinct: std::collections::BTreeSet<_> = last.iter().collect();
    assert_eq!(distinct.len(), 4, "{last:?}");
    rig.upstreams.client_gone(rig.caller.member.id, Digest::of(&[1]));
    let ended = || {
        let received = peer.received.lock();
        let ends = received.iter().filter(|request| request.method == "DELETE");
        ends.map(|request| request.header("mcp-session-id").unwrap()).collect::<Vec<_>>()
    };
    rig.until("both sessions are given back", |_| ended().len() == 2).await;
    let mut ended = ended();
    ended.sort();
    let mut expect = vec![last[0].clone(), last[2].clone()];
    expect.sort();
    assert_eq!(ended, expect);
}

/// A peer of the stateless era that asks `rounds` times, as JSON or in a stream.
async fn rounds(count: usize, streamed: bool, requests: Value) -> Peer {
    Peer::with(move |request| match request.rpc() {
        "server/discover" => vec![reply(&discovered(request))],
        "tools/call" => {
            let done = request.body["params"]["requestState"].as_str().map_or(0, |state| state.len());
            let body = if done < count {
                json!({"jsonrpc": "2.0", "id": request.body["id"], "result": {"resultType": "input_required",
                    "inputRequests": requests, "requestState": "x".repeat(done + 1)}})
            } else {
                echo(request)
            };
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params":
                {"progressToken": request.body["params"]["_meta"]["progressToken"], "progress": done}});
            match streamed {
                true => vec![events(), event(&progress), event(&body), last_chunk()],
                false => vec![reply(&body)],
            }
        }
        _ => vec![reply(&json!({"jsonrpc": "2.0", "id": request.body["id"], "result": {"tools": []}}))],
    })
    .await
}

#[tokio::test]
async fn a_client_of_the_session_era_is_asked_what_an_upstream_of_the_stateless_era_wants_to_know() {
    let requests = json!({"z": {"method": "elicitation/create", "params": {"message": "?"}},
        "a": {"method": "roots/list"}});
    for streamed in [false, true] {
        let peer = rounds(2, streamed, requests.clone()).await;
        let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
        let mut outbound = rig.outbound("peer", "echo", &json!({"a": 1}), Some(json!("mine")));
        outbound.client = client(Revision::R2025_11_25, Capabilities { roots: true, ..FORM });
        let (went, mut asked) = rig
            .converse(outbound, |method, _| match method {
                "roots/list" => Some(ClientAnswer::Result(r#"{"roots":[]}"#.to_owned())),
                _ => accept(),
            })
            .await;
        assert_eq!(went.content(), json!({"a": 1}), "{went:?}");
        asked.sort();
        assert_eq!(asked, ["elicitation/create", "elicitation/create", "roots/list", "roots/list"]);
        let calls = peer.requests("tools/call");
        assert_eq!(calls.len(), 3);
        let id = |n: usize| calls[n].body["id"].as_u64().unwrap();
        assert!(id(0) != id(1) && id(1) != id(2), "each round has an id of its own");
        assert!(calls[0].body["params"].get("inputResponses").is_none());
        for (n, state) in [(1, "x"), (2, "xx")] {
            assert!(
                calls[n].raw.contains(r#""z":{ "action":"accept","content":{"n":1.50} }"#),
                "{}",
                calls[n].raw
            );
            assert_eq!(calls[n].body["params"]["inputResponses"]["a"], json!({"roots": []}));
            assert_eq!(calls[n].body["params"]["requestState"], state);
            assert_eq!(calls[n].body["params"]["arguments"], json!({"a": 1}));
        }
        assert_eq!(went.notifications().len(), if streamed { 3 } else { 0 });
        assert!(went.notifications().iter().all(|note| note["params"]["progressToken"] == "mine"));
        let declared = &calls[0].body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert_eq!(*declared, json!({"elicitation": {}, "roots": {}}));
    }
}

#[tokio::test]
async fn rounds_end_where_a_client_cannot_or_does_not_answer_or_there_are_too_many() {
    let form = json!({"k": {"method": "elicitation/create", "params": {}}});
    let sample = json!({"k": {"method": "sampling/createMessage", "params": {}}});
    let peer = rounds(1, false, sample.clone()).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    let (went, asked) = rig.converse(asked_of(&rig, FORM), |_, _| accept()).await;
    assert!(asked.is_empty());
    let error = &went.answer()["error"];
    assert!(
        error["code"] == -32603 && error["message"].as_str().unwrap().contains("did not declare"),
        "{error}"
    );

    let can = Capabilities { sampling: true, ..FORM };
    let (went, _) = rig.converse(asked_of(&rig, can), |_, _| None).await;
    assert!(went.answer()["error"]["message"].as_str().unwrap().contains("did not answer"));
    assert_eq!(peer.requests("tools/call").len(), 2);

    let peer = rounds(1, false, form.clone()).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    let (went, _) = rig.converse(asked_of(&rig, FORM), |_, _| None).await;
    assert_eq!(went.content(), json!({"a": 1}));
    let told = &peer.requests("tools/call")[1].body["params"]["inputResponses"];
    assert_eq!(*told, json!({"k": {"action": "cancel"}}), "a form that nobody saw was not answered");

    let peer = rounds(50, false, form).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    let (went, asked) = rig.converse(asked_of(&rig, FORM), |_, _| accept()).await;
    assert!(went.failed().to_string().contains("again and again"), "{went:?}");
    assert_eq!((asked.len(), peer.requests("tools/call").len()), (8, 9));
}

#[tokio::test]
async fn a_client_of_the_stateless_era_gets_the_question_itself_and_comes_back_with_the_answer() {
    let peer = rounds(1, true, json!({"k": {"method": "elicitation/create", "params": {}}})).await;
    let rig = Rig::new(&peer.descriptor(SHORT), &[definition("echo")]);
    let mut outbound = asked_of(&rig, FORM);
    outbound.client = client(Revision::R2026_07_28, FORM);
    let went = rig.go(outbound).await;
    let kind = went.events.iter().find_map(|event| match event {
        ReplyEvent::Json { kind, .. } => Some(*kind),
        _ => None,
    });
    assert_eq!(kind, Some(OutcomeKind::InputRequired));
    assert_eq!(went.answer()["result"]["requestState"], "x");
    let mut outbound = asked_of(&rig, FORM);
    outbound.client = client(Revision::R2026_07_28, FORM);
    outbound.retry = Some(mcp::Retry {
        input_responses: Some(r#"{"k":{"action":"decline"}}"#.to_owned()),
        request_state: Some("x".to_owned()),
    });
    assert_eq!(rig.go(outbound).await.content(), json!({"a": 1}));
    assert_eq!(peer.requests("tools/call")[1].body["params"]["inputResponses"]["k"]["action"], "decline");
}
