//! Child processes and what `/proc` says of them: CPU time and resident memory.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::ops::Sub;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

/// Clock ticks a second in `/proc/<pid>/stat` on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running part; it is killed with this value, its children too where it has any.
pub struct Part {
    child: Mutex<Child>,
}

/// CPU time in seconds, all threads. `all` is exact (the scheduler's own nanoseconds) where the kernel
/// keeps it; user and system time are sampled in ticks of 10 ms.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub all_s: f64,
    pub user_s: f64,
    pub system_s: f64,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            all_s: self.all_s - earlier.all_s,
            user_s: self.user_s - earlier.user_s,
            system_s: self.system_s - earlier.system_s,
        }
    }
}

/// An environment variable that asks for something.
#[expect(clippy::disallowed_methods, reason = "the one place of the benchmark that reads the environment")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Where a command is, if it is installed. `/usr/sbin` is not in everybody's PATH.
pub fn installed(command: &str) -> Option<PathBuf> {
    let path = setting("PATH").unwrap_or_default() + ":/usr/sbin:/usr/local/sbin:/sbin";
    path.split(':').map(|dir| PathBuf::from(dir).join(command)).find(|file| file.is_file())
}

/// A port that was free a moment ago.
pub fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

impl Part {
    /// This binary in another role.
    pub fn of_this_binary(arguments: &[&str]) -> Self {
        Self::spawn(Command::new(std::env::current_exe().unwrap()).args(arguments).stdout(Stdio::piped()))
    }

    /// Any command.
    pub fn spawn(command: &mut Command) -> Self {
        Self { child: Mutex::new(command.stdin(Stdio::null()).spawn().unwrap()) }
    }

    /// The address that the part prints as `listening ADDRESS`.
    pub fn listening(&self) -> SocketAddr {
        let output = self.child.lock().unwrap().stdout.take().unwrap();
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).unwrap();
        line.trim().strip_prefix("listening ").unwrap_or_else(|| panic!("said `{line}`")).parse().unwrap()
    }

    /// Whether it has ended by itself.
    pub fn ended(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_some()
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub fn end(&self) {
        let mut child = self.child.lock().unwrap();
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "ended with {status}");
    }

    /// Stops it where it is (SIGSTOP): it takes no time and no cache until it may go on.
    pub fn pause(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        for pid in self.pids() {
            rustix::process::kill_process(rustix::process::Pid::from_raw(pid as i32).unwrap(), signal)
                .unwrap();
        }
    }

    /// CPU time so far, all threads.
    pub fn cpu(&self) -> Cpu {
        let mut cpu = Cpu::default();
        for pid in self.pids() {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            // The name in brackets may hold spaces; utime and stime are fields 14 and 15.
            let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            let seconds = |field: usize| fields[field].parse::<f64>().unwrap() / TICKS_PER_SECOND;
            let (user, system) = (seconds(11), seconds(12));
            cpu.user_s += user;
            cpu.system_s += system;
            cpu.all_s += scheduled_s(pid).unwrap_or(user + system);
        }
        cpu
    }

    /// Resident memory now, in MiB.
    pub fn rss_mib(&self) -> f64 {
        let kib = |pid: &u32| -> f64 {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
            line.split_whitespace().next().and_then(|number| number.parse().ok()).unwrap_or(0.0)
        };
        self.pids().iter().map(kib).sum::<f64>() / 1_024.0
    }

    /// The processes that do the work: the child, and the workers that it forked (nginx).
    fn pids(&self) -> Vec<u32> {
        let main = self.child.lock().unwrap().id();
        let children =
            std::fs::read_to_string(format!("/proc/{main}/task/{main}/children")).unwrap_or_default();
        let workers = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        std::iter::once(main).chain(workers).collect()
    }
}

/// Time on a processor of all threads that live, in seconds; `None` where the kernel does not keep it.
/// None of what is measured ends a thread under load.
fn scheduled_s(pid: u32) -> Option<f64> {
    let mut all_ns = 0_u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = std::fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
        all_ns += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (all_ns > 0).then_some(all_ns as f64 / 1e9)
}

impl Drop for Part {
    fn drop(&mut self) {
        for pid in self.pids().into_iter().skip(1) {
            if let Some(pid) = rustix::process::Pid::from_raw(pid as i32) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let mut child = self.child.lock().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}
