//! One decision, again and again on one thread: the 100 policies of the benchmark, a call that five of
//! them can matter to, with arguments and counters. The real bundle, asked as `wicket policy explain`
//! asks it.

use std::hint::black_box;
use std::sync::Arc;

use serde_json::json;
use wicket::connector::{Connectors, Lock};
use wicket::model::{CounterKey, ServiceKey, SourceFile, Timestamp};
use wicket::policy::{Bundle, Scenario, Sources};

/// Decides so many times.
pub fn main(times: u64) {
    let service = ServiceKey::parse("bench").unwrap();
    let lock = Lock::from_definitions(&service, &super::upstream::definitions(), None).unwrap();
    let files = [
        SourceFile::new(
            "bench.toml",
            "namespace = \"Bench\"\n[transport]\nkind = \"http\"\nurl = \"http://127.0.0.1:1/mcp\"\nallow_private = true\n",
        ),
        SourceFile::new("bench.tools.json", &lock.to_json().unwrap()),
    ];
    let connectors = Arc::new(Connectors::read(&files).unwrap());
    let policies = vec![SourceFile::new("hundred.cedar", &super::policies::text(100))];
    let bundle =
        Bundle::build(&Sources { show: Default::default(), policies, cases: None, connectors }).unwrap();
    let mut scenario = Scenario::new("bench__echo", Timestamp::from_millis(1_795_310_401_020));
    scenario.arguments =
        json!({ "path": "/home/user/project/src/main.rs", "text": "a few words that an agent might send" });
    scenario.history.session.insert(CounterKey::Calls, 7);
    scenario
        .ask(&bundle, |question| {
            for _ in 0..times {
                let decision = black_box(bundle.decide(black_box(question)));
                assert!(decision.allowed, "{decision:?}");
            }
        })
        .unwrap();
}
