//! What is measured: each plane's process and address, and the proof, before anything is measured, that
//! those with a guard do guard.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use wicket::cli::bench::verdict::Verdict;

use super::process::{Part, setting};
use super::{gate, load, others};

pub const UPSTREAM: &str = "upstream alone";
pub const BARE: &str = "pass-through, no limits";
/// What the gate's own work is measured from.
pub const PASS: &str = "pass-through";
pub const HAPROXY_RULE: &str = "haproxy, key and JSON rule";
pub const ENVOY: &str = "envoy, MCP filter and RBAC";
pub const GATE_PROCESS: &str = "wicket, process";
pub const GATE_DURABLE: &str = "wicket, durable";

/// How long a plane that was stopped has to do what fell due.
const SETTLE: Duration = Duration::from_millis(200);

/// A plane: a name and where it listens; the process whose CPU is counted, where it is not the upstream
/// itself.
pub struct Plane {
    pub name: &'static str,
    pub address: SocketAddr,
    pub part: Option<Part>,
    pub key: Option<String>,
    pub tool: &'static str,
    /// A call that it must refuse: tool and arguments.
    refuses: Option<(&'static str, &'static str)>,
}

impl Plane {
    fn plain(name: &'static str, address: SocketAddr, part: Option<Part>) -> Self {
        Self { name, address, part, key: None, tool: "echo", refuses: None }
    }

    /// Whether it is the gate.
    pub fn is_gate(&self) -> bool {
        [GATE_PROCESS, GATE_DURABLE].contains(&self.name)
    }

    /// Stops the plane until it is measured: nobody runs eight proxies beside each other, and even idle ones
    /// wake up and take the caches. The upstream stays awake for all.
    pub fn sleep(&self) {
        if let Some(part) = self.part.as_ref().filter(|_| self.name != UPSTREAM) {
            part.pause();
        }
    }

    /// Does something with the plane while it is awake.
    pub fn awake<T>(&self, what: impl FnOnce(&Self) -> T) -> T {
        if let Some(part) = &self.part {
            part.resume();
        }
        // What fell due meanwhile is done before anything is measured.
        std::thread::park_timeout(SETTLE);
        let done = what(self);
        self.sleep();
        done
    }

    /// A call passes; with another key, or where a rule forbids it, it does not. What guards nothing
    /// would be measured for nothing.
    pub fn show_that_it_guards(&self) {
        let once = |key, tool, arguments| load::once(self.address, key, tool, arguments);
        let answered = once(self.key.as_deref(), self.tool, load::ARGUMENTS);
        assert_eq!(answered, Verdict::Answered, "{}", self.name);
        let Some((tool, arguments)) = self.refuses else { return };
        let refused = once(self.key.as_deref(), tool, arguments);
        assert_ne!(refused, Verdict::Answered, "{} lets a forbidden call pass", self.name);
        for key in [None, Some("another-key")] {
            let refused = once(key, self.tool, load::ARGUMENTS);
            assert_ne!(refused, Verdict::Answered, "{} takes {key:?}", self.name);
        }
    }
}

/// Starts all planes that are asked for and can be; what cannot be started is named with the reason.
/// `WICKET_BENCH_PLANES` chooses by parts of names, with commas; the pass-through always runs.
pub fn start(dir: &Path) -> (Vec<Plane>, Vec<String>) {
    let chosen = setting("WICKET_BENCH_PLANES");
    let wanted = |name: &str| {
        name == PASS
            || chosen.as_deref().is_none_or(|list| list.split(',').any(|part| name.contains(part.trim())))
    };
    let upstream = Part::of_this_binary(&["upstream"]);
    let target = upstream.listening();
    let mut absent = Vec::new();
    // The upstream lives as long as the planes: its own CPU is the price of every call.
    let mut planes = vec![Plane::plain(UPSTREAM, target, Some(upstream))];
    for (name, role) in [(BARE, "bare"), (PASS, "pass")] {
        if wanted(name) {
            let part = Part::of_this_binary(&[role, &target.to_string()]);
            planes.push(Plane::plain(name, part.listening(), Some(part)));
        }
    }
    let rest: [(&'static str, others::Start, bool); 4] = [
        ("nginx", others::nginx, false),
        ("haproxy", others::haproxy, false),
        (HAPROXY_RULE, others::haproxy_with_rule, true),
        (ENVOY, others::envoy, true),
    ];
    for (name, start, guards) in rest {
        if !wanted(name) {
            continue;
        }
        match start(dir, target) {
            Ok((part, address)) => planes.push(Plane {
                key: guards.then(|| others::KEY.to_owned()),
                refuses: guards.then_some((others::REFUSED_TOOL, load::ARGUMENTS)),
                ..Plane::plain(name, address, Some(part))
            }),
            Err(why) => {
                eprintln!("NOT MEASURED: {name}: {why}");
                absent.push(format!("{name}: {why}"));
            }
        }
    }
    for (name, mode) in [(GATE_PROCESS, "process"), (GATE_DURABLE, "durable")] {
        if !wanted(name) {
            continue;
        }
        let home = gate::Home::usual(dir, mode, target);
        let started = home.launch(Command::new(gate::BINARY)).and_then(|up| Ok((up, home.key()?)));
        let ((part, address, _), key) = started.unwrap_or_else(|why| panic!("{name} did not start: {why}"));
        planes.push(Plane {
            key: Some(key),
            tool: "bench__echo",
            refuses: Some(("bench__echo", r#"{"path":"/home/user/key.pem"}"#)),
            ..Plane::plain(name, address, Some(part))
        });
    }
    (planes, absent)
}
