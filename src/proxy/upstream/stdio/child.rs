//! One child process: started with nothing of the gate's environment but what the connector names,
//! in a process group of its own, and ended together with whatever it started itself.
//!
//! Invariants: `env_clear` always; the group is killed when the [`Child`] ends, however it ends;
//! standard error is drained line by line, so a talkative child never blocks, and reaches the log at
//! debug level only, capped in length and rate.

use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::lines::{Line, Lines};
use crate::connector::Transport;
use crate::model::ServiceKey;
use crate::proxy::upstream::environment::{CHILD_MINIMUM, Environment};

/// Bytes of a line of standard error that are logged.
const ERROR_LINE_BYTES_MAX: usize = 2_048;
/// Lines of standard error that are logged in a second; the rest is counted.
const ERROR_LINES_PER_SECOND_MAX: u32 = 50;
/// Time that a child has to leave by itself after its input was closed, and again after SIGTERM
/// (MCP 2025-11-25, lifecycle: shutdown over stdio).
const LEAVE: Duration = Duration::from_millis(750);

/// A running process and the task that drains its standard error.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    group: Option<Pid>,
    errors: JoinHandle<()>,
}

/// Why there is no child.
#[derive(Debug)]
pub struct NoChild {
    pub why: String,
    /// The program is not on this machine.
    pub missing: bool,
}

impl From<String> for NoChild {
    fn from(why: String) -> Self {
        Self { why, missing: false }
    }
}

/// The pipes of a fresh child.
#[derive(Debug)]
pub struct Pipes {
    pub input: ChildStdin,
    pub output: ChildStdout,
}

impl Child {
    /// Starts the connector's command.
    ///
    /// # Errors
    /// What keeps it from starting, and what to do.
    pub fn start(
        service: &ServiceKey,
        transport: &Transport,
        environment: &Environment,
    ) -> Result<(Self, Pipes), NoChild> {
        let mut command = command(transport, environment)?;
        let name = command.as_std().get_program().to_string_lossy().escape_default().to_string();
        let mut process = command.spawn().map_err(|error| NoChild {
            why: format!(
                "`{name}` cannot be started: {error} (is it installed and on the PATH of the gate?)"
            ),
            missing: error.kind() == std::io::ErrorKind::NotFound,
        })?;
        let group = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let (Some(input), Some(output), Some(errors)) =
            (process.stdin.take(), process.stdout.take(), process.stderr.take())
        else {
            return Err(NoChild::from(format!("`{name}` was started without its pipes")));
        };
        let errors = tokio::spawn(drain(service.clone(), errors));
        Ok((Self { process, group, errors }, Pipes { input, output }))
    }

    /// Waits until the process has ended by itself; says how.
    pub async fn ended(&mut self) -> String {
        match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => format!("it cannot be waited for: {error}"),
        }
    }

    /// Ends the child and its group: its input was closed before; it may leave, is asked, is killed.
    pub async fn stop(mut self) {
        for signal in [None, Some(Signal::TERM)] {
            if let Some(signal) = signal {
                self.signal(signal);
            }
            if tokio::time::timeout(LEAVE, self.process.wait()).await.is_ok() {
                break;
            }
        }
        self.signal(Signal::KILL);
        drop(tokio::time::timeout(LEAVE, self.process.wait()).await);
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // An error means that nobody is left in the group.
            let _nobody_left = kill_process_group(group, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.errors.abort();
    }
}

fn command(transport: &Transport, environment: &Environment) -> Result<Command, String> {
    let Transport::Stdio { command, args, env, pass_env, working_dir, tell_roots: _, era: _ } = transport
    else {
        return Err("the connector has no command".to_owned());
    };
    let mut child = Command::new(command);
    child.args(args).env_clear().kill_on_drop(true).process_group(0);
    child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for name in CHILD_MINIMUM {
        if let Some(value) = environment.get(name) {
            child.env(name, value);
        }
    }
    for name in pass_env {
        let value = environment.get(name).ok_or_else(|| {
            format!("the environment variable `{name}` is not set for the gate, and `pass_env` names it")
        })?;
        child.env(name, value);
    }
    child.envs(env);
    if let Some(dir) = working_dir {
        child.current_dir(dir);
    }
    Ok(child)
}

async fn drain(service: ServiceKey, errors: ChildStderr) {
    let mut lines = Lines::new(errors, ERROR_LINE_BYTES_MAX);
    let (mut second, mut said, mut withheld) = (Instant::now(), 0u32, 0u64);
    while let Ok(Some(line)) = lines.next().await {
        if second.elapsed() >= Duration::from_secs(1) {
            if withheld > 0 {
                tracing::debug!(%service, withheld, "the upstream says more on standard error than is logged");
            }
            (second, said, withheld) = (Instant::now(), 0, 0);
        }
        if said >= ERROR_LINES_PER_SECOND_MAX {
            withheld = withheld.saturating_add(1);
            continue;
        }
        said += 1;
        let (Line::Whole(text) | Line::TooLong { head: text, .. }) = line;
        let text = String::from_utf8_lossy(&text).escape_debug().to_string();
        tracing::debug!(%service, stderr = text, "the upstream says");
    }
}
