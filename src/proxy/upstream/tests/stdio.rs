//! Child processes: a real MCP server in Python with bad habits on request.

use super::*;

const TOOLS: [&str; 13] = [
    "echo",
    "slow",
    "die",
    "garbage",
    "flood",
    "notify",
    "ask",
    "env",
    "big",
    "spawn",
    "silent",
    "change",
    "cancelled",
];

/// The interpreter itself: what stands on the PATH may be a script that sets variables of its own.
fn python() -> &'static str {
    static PYTHON: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PYTHON.get_or_init(|| {
        let ask = ["-c", "import sys; print(sys.executable)"];
        let said = std::process::Command::new("python3").args(ask).output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    })
}

pub fn descriptor(limits: &str) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/stdio_server.py");
    format!(
        "[transport]\nkind = \"stdio\"\ncommand = \"{}\"\nargs = [\"-S\", \"{script}\"]\nenv = {{ OWN = \"o\" }}\n\
         pass_env = [\"PASSED\"]\n[limits]\ndial_ms_max = 20000\n{limits}\n",
        python()
    )
}

fn rig(limits: &str) -> Rig {
    Rig::new(&descriptor(limits), &TOOLS.map(definition))
}

#[tokio::test]
async fn calls_are_answered_each_by_its_own_and_the_list_is_read_in_pages() {
    let rig = rig("");
    let calls = (0..30).map(|turn| rig.call("echo", json!({ "turn": turn })));
    for (turn, went) in futures_util::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(went.content()["echo"], json!({ "turn": turn }));
        assert!(went.sent && went.single && went.status == 0);
    }
    let catalogue = rig.upstreams.catalogue(&rig.service()).await.unwrap();
    assert_eq!(catalogue.definitions.len(), TOOLS.len());
    let status = rig.status();
    assert_eq!((status.state, status.transport, status.restarts, status.tools), ("up", "stdio", 0, 13));
}

#[tokio::test]
async fn a_slow_call_holds_up_no_other_and_arguments_may_hold_line_ends() {
    let rig = rig("");
    let slow = rig.call("slow", json!({"seconds": 1}));
    let quick = async {
        rig.until("the slow call is under way", |status| status.in_flight == 1).await;
        let mut outbound = rig.outbound("peer", "echo", &json!({}), None);
        let text = "{\"jsonrpc\":\"2.0\",\"id\":\"c-1\",\"method\":\"tools/call\",\"params\":{\"name\":\"peer__echo\",\
                    \"arguments\":{\r\n \"a\":\n 1}}}";
        let Ok(mcp::Message::Request(mcp::Request::Call(call))) =
            mcp::read(Bytes::from(text), mcp::Limits::REQUEST)
        else {
            panic!("not a call")
        };
        outbound.call = Arc::new(call);
        let began = Instant::now();
        (rig.go(outbound).await, began.elapsed())
    };
    let (slow, (quick, took)) = tokio::join!(slow, quick);
    assert_eq!(quick.content()["echo"], json!({"a": 1}));
    assert!(took < Duration::from_millis(900), "{took:?}");
    assert_eq!(slow.content()["echo"], json!({"seconds": 1}));
}

#[tokio::test]
async fn a_dying_child_breaks_its_calls_once_and_is_started_again() {
    let rig = rig("");
    let first = rig.call("echo", json!({})).await.content()["pid"].clone();
    let (dead, died) = tokio::join!(rig.call("slow", json!({"seconds": 30})), async {
        rig.until("the slow call is under way", |status| status.in_flight == 1).await;
        rig.call("die", json!({})).await
    });
    for went in [dead, died] {
        assert!(went.sent, "it may have run");
        assert!(matches!(went.failed(), UpstreamFailure::Broken { .. }), "{went:?}");
        assert!(went.failed().to_string().contains("exit status: 3"), "{}", went.failed());
    }
    let went = rig.call("echo", json!({})).await;
    assert!(!went.sent && went.failed().to_string().contains("started again in"), "{went:?}");
    rig.until("it is up again", |status| status.state == "up" && status.restarts == 1).await;
    let second = rig.call("echo", json!({})).await.content()["pid"].clone();
    assert_ne!(first, second);
}

#[tokio::test]
async fn garbage_is_dropped_and_a_flood_of_it_restarts_the_child() {
    let rig = rig("");
    let went = rig.call("garbage", json!({"a": 1})).await;
    assert_eq!(went.content()["echo"], json!({"a": 1}), "lines that are no MCP are dropped");
    assert_eq!(rig.status().restarts, 0);
    let went = rig.call("flood", json!({})).await;
    assert!(matches!(went.failed(), UpstreamFailure::Broken { .. }), "{went:?}");
    assert!(went.failed().to_string().contains("no MCP messages"), "{}", went.failed());
    rig.until("it is up again", |status| status.state == "up" && status.restarts == 1).await;
}

#[tokio::test]
async fn progress_comes_under_the_clients_token_and_nothing_of_others() {
    let rig = rig("");
    let went =
        rig.go(rig.outbound("peer", "notify", &json!({"steps": 3}), Some(json!(["a", 1])[0].clone()))).await;
    let notes = went.notifications();
    assert_eq!(notes.len(), 3, "the log line is for everybody and so for nobody: {notes:?}");
    assert!(notes.iter().all(|note| note["params"]["progressToken"] == "a"));
    assert_eq!(went.content()["echo"], json!({"steps": 3}));
    assert!(rig.call("notify", json!({"steps": 3})).await.notifications().is_empty());
}

#[tokio::test]
async fn a_reader_that_does_not_read_ends_its_own_call_only() {
    let rig = rig("");
    let outbound = rig.outbound("peer", "notify", &json!({"steps": 500}), Some(json!(1)));
    let mut sent = false;
    let (_, first, rest) = rig.upstreams.forward(&outbound, &mut sent).await.unwrap();
    // Nobody reads while another call is answered.
    assert!(rig.call("slow", json!({"seconds": 0.5})).await.failure.is_none());
    let events: Vec<ReplyEvent> = ReplyStream::new(first, rest).collect().await;
    assert!(events.len() < 100, "what waits is bounded: {}", events.len());
    let last = events.last().unwrap();
    assert!(
        matches!(last, ReplyEvent::Broken(UpstreamFailure::Broken { why, .. }) if why.contains("faster")),
        "{last:?}"
    );
    assert_eq!(rig.status().restarts, 0);
}

#[tokio::test]
async fn a_childs_own_requests_are_answered_by_the_gate() {
    let rig = rig("");
    let went = rig.call("ask", json!({})).await;
    assert_eq!(went.content()["answers"], json!({"q0": "result", "q1": -32601}));
}

const FORM: Capabilities = Capabilities {
    sampling: false,
    sampling_tools: false,
    elicitation: true,
    elicitation_url: false,
    roots: false,
    roots_changed: false,
};

fn form(rig: &Rig) -> Outbound {
    let mut outbound = rig.outbound("peer", "form", &json!({}), None);
    outbound.client = client(Revision::R2025_11_25, FORM);
    outbound
}

#[tokio::test]
async fn a_child_asks_the_one_client_that_can_be_meant_and_nobody_else() {
    let mut rig = Rig::new(&descriptor("silence_ms_max = 600"), &[definition("form"), definition("slow")]);
    let said = "{\n \"action\": \"accept\" }";
    let (went, asked) = rig.converse(form(&rig), |_, _| Some(ClientAnswer::Result(said.to_owned()))).await;
    assert_eq!(asked, ["elicitation/create"]);
    assert_eq!(went.content()["answer"], json!({"action": "accept"}), "also over several lines");
    let mut mute = form(&rig);
    mute.client = client(Revision::R2025_11_25, Capabilities::default());
    let (went, asked) = rig.converse(mute, |_, _| None).await;
    assert_eq!((asked.len(), went.content()["answer"].clone()), (0, json!(-32601)));

    // The client takes longer than the child may be silent.
    let outbound = form(&rig);
    let mut sent = false;
    let (_, first, rest) = rig.upstreams.forward(&outbound, &mut sent).await.unwrap();
    let ReplyEvent::Request(request) = first else { panic!("{first:?}") };
    let late = async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        assert!(request.answer.answer(ClientAnswer::Result(said.to_owned())));
    };
    let rest = ReplyStream::new(ReplyEvent::Notification(Bytes::new()), rest).skip(1).collect::<Vec<_>>();
    let (events, ()) = tokio::join!(rest, late);
    assert!(matches!(events[..], [ReplyEvent::Json { .. }, ReplyEvent::End]), "{events:?}");

    // With a second call under way nothing says which client is meant.
    rig.apply(&descriptor("silence_ms_max = 5000"), &[definition("form"), definition("slow")]);
    let other = rig.call("slow", json!({"seconds": 1}));
    let asks = async {
        rig.until("the slow call is under way", |status| status.in_flight == 1 && status.state == "up").await;
        rig.converse(form(&rig), |_, _| Some(ClientAnswer::Result("{}".to_owned()))).await
    };
    let (_, (went, asked)) = tokio::join!(other, asks);
    assert_eq!((asked.len(), went.content()["answer"].clone()), (0, json!(-32603)));
}

#[tokio::test]
async fn a_child_that_bears_no_question_before_initialize_is_spoken_to_in_the_session_era() {
    for (habit, restarts) in [("--mute", 0), ("--dies", 1)] {
        let descriptor =
            descriptor("").replace("stdio_server.py\"", &format!("stdio_server.py\", \"{habit}\""));
        let rig = Rig::new(&descriptor, &[definition("echo")]);
        rig.until("it is up", |status| status.state == "up").await;
        assert_eq!(rig.call("echo", json!({"a": 1})).await.content()["echo"], json!({"a": 1}), "{habit}");
        let status = rig.status();
        assert_eq!((status.restarts, status.era), (restarts, Some("session")), "{habit}");
    }
}

#[tokio::test]
async fn a_child_gets_only_the_environment_that_is_named() {
    let rig = rig("");
    let went = rig.call("env", json!({})).await;
    let names: Vec<String> = serde_json::from_value(went.content()["names"].clone()).unwrap();
    let foreign = |name: &&String| !["PATH", "HOME", "OWN", "PASSED", "LC_CTYPE"].contains(&name.as_str());
    assert_eq!(names.iter().filter(foreign).count(), 0, "{names:?}");
    assert!(names.contains(&"PASSED".to_owned()) && !names.contains(&"KEPT".to_owned()));
}

#[tokio::test]
async fn too_large_an_answer_ends_its_call_and_the_child_goes_on() {
    let rig = rig("reply_bytes_max = 100000\nevent_bytes_max = 50000");
    let (went, other) =
        tokio::join!(rig.call("big", json!({"bytes": 200_000})), rig.call("slow", json!({"seconds": 1})));
    assert_eq!(went.failed(), UpstreamFailure::TooLarge { bytes_max: 100_000 });
    assert!(went.sent && other.failure.is_none(), "{other:?}");
    let went = rig.call("big", json!({"bytes": 50_000})).await;
    assert_eq!(went.content()["text"].as_str().unwrap().len(), 50_000);
}

#[tokio::test]
async fn silence_ends_a_call_tells_the_child_and_at_last_replaces_it() {
    let rig = rig("silence_ms_max = 700");
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    let went = rig.call("silent", json!({})).await;
    assert_eq!((went.sent, went.failed()), (true, UpstreamFailure::Silent { after_ms: 700 }));
    let told = rig.call("cancelled", json!({})).await.content()["cancelled"].clone();
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    let calls = (0..5).map(|_| rig.call("silent", json!({})));
    for went in futures_util::future::join_all(calls).await {
        assert_eq!(went.failed().label(), if went.sent { "silent" } else { "unreachable" });
    }
    rig.until("it is replaced", |status| status.state == "up" && status.restarts == 1).await;
}

#[tokio::test]
async fn a_cancelled_call_ends_and_the_child_is_told() {
    let rig = rig("");
    let outbound = rig.outbound("peer", "slow", &json!({"seconds": 20}), None);
    let call_id = outbound.call_id;
    let (went, ()) = tokio::join!(rig.go(outbound), async {
        rig.until("it is under way", |status| status.in_flight == 1 && status.state == "up").await;
        // The child answers this after it has read the slow call.
        assert!(rig.call("echo", json!({})).await.failure.is_none());
        assert!(rig.upstreams.cancel(call_id, Some("enough")));
    });
    assert_eq!(went.failed(), UpstreamFailure::Cancelled);
    let told = rig.call("cancelled", json!({})).await.content()["cancelled"].clone();
    assert_eq!(told[0]["reason"], "enough", "{told}");
}

#[tokio::test]
async fn a_new_tool_is_seen_and_not_served() {
    let rig = rig("");
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    assert!(rig.call("change", json!({})).await.failure.is_none());
    let catalogue = rig.upstreams.catalogue(&rig.service()).await.unwrap();
    assert!(!catalogue.stale, "{:?}", rig.status());
    assert_eq!(catalogue.unknown, [ToolName::parse("added").unwrap()]);
    assert!(!catalogue.definitions.iter().any(|definition| definition.name.as_str() == "added"));
}

fn is_alive(pid: &Value) -> bool {
    // A process that has ended and was not waited for is a zombie, not alive.
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !matches!(status.rsplit(") ").next().and_then(|rest| rest.chars().next()), None | Some('Z' | 'X'))
}

#[tokio::test]
async fn a_stopped_child_takes_its_own_children_with_it() {
    let mut rig = rig("");
    let answer = rig.call("spawn", json!({})).await.content();
    let (pid, grandchild) = (answer["pid"].clone(), answer["child"].clone());
    assert!(is_alive(&pid) && is_alive(&grandchild));
    // A reload that does not touch it leaves it running.
    rig.apply(&descriptor(""), &TOOLS.map(definition));
    assert_eq!(rig.call("echo", json!({})).await.content()["pid"], pid);
    // One that does replaces it.
    rig.apply(&descriptor("in_flight_max = 3"), &TOOLS.map(definition));
    let replaced = rig.call("echo", json!({})).await.content()["pid"].clone();
    assert_ne!(replaced, pid);
    rig.until("both are gone", |_| !is_alive(&pid) && !is_alive(&grandchild)).await;
    rig.upstreams.shutdown().await;
    assert!(!is_alive(&replaced));
    assert!(rig.call("echo", json!({})).await.failure.is_some());
}

#[tokio::test]
async fn what_cannot_start_says_why_and_what_is_optional_is_skipped() {
    let missing = "[transport]\nkind = \"stdio\"\ncommand = \"no-such-program-here\"\n";
    let rig = Rig::new(missing, &[definition("echo")]);
    rig.until("it is down", |status| status.state == "down").await;
    let went = rig.call("echo", json!({})).await;
    assert!(
        !went.sent && went.failed().to_string().contains("`no-such-program-here` cannot be started"),
        "{went:?}"
    );

    let rig = Rig::new(&format!("optional = true\n{missing}"), &[definition("echo")]);
    rig.until("it is skipped", |status| status.state == "skipped").await;
    assert!(!rig.call("echo", json!({})).await.sent);

    let mute =
        "[transport]\nkind = \"stdio\"\ncommand = \"sleep\"\nargs = [\"60\"]\n[limits]\ndial_ms_max = 200\n";
    let rig = Rig::new(mute, &[definition("echo")]);
    let status = rig.until("it is down", |status| status.state == "down").await;
    assert!(status.last_error.unwrap().contains("did not answer `initialize` within 200 ms"));
}

#[tokio::test]
async fn a_call_that_is_dropped_anywhere_leaves_nothing_behind() {
    let rig = rig("in_flight_max = 4");
    rig.upstreams.catalogue(&rig.service()).await.unwrap();
    for turn in 0..200u64 {
        let outbound = rig.outbound("peer", "notify", &json!({ "steps": 2 }), Some(json!(turn)));
        drop(tokio::time::timeout(Duration::from_micros(turn * 10), rig.go(outbound)).await);
        assert_eq!(rig.status().in_flight, 0, "turn {turn}");
    }
    assert_eq!(rig.call("echo", json!({"a": 1})).await.content()["echo"], json!({"a": 1}));
    assert_eq!(rig.status().restarts, 0);
}
