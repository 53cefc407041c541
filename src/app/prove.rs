//! The solver: cvc5 as a child process, asked one question at a time.
//!
//! Invariants: a question ends after its time, and the child with it; what the child says beyond a bound is
//! not read; an answer that is not plainly `sat` or `unsat` proves nothing. The solver is optional: where
//! there is none, whoever asks is told what to install.

mod keeper;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use cedar_policy_symcc::solver::{Decision, DecisionWithModel, Solver, SolverError};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

pub use keeper::Keeper;

/// Names the solver, before the search path is looked through; the second is what Cedar's own tools know.
const VARIABLES: [&str; 2] = ["WICKET_CVC5", "CVC5"];
/// Bytes of memory that the solver may take.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// How much longer than its own limit the solver is waited for, before it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// What a proof may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// One question.
    pub question: Duration,
    /// All of them.
    pub whole: Duration,
}

impl Patience {
    /// Whether there is time left, for a proof that begins now.
    pub fn starting_now(self) -> impl Fn() -> bool {
        let end = Instant::now().checked_add(self.whole);
        move || end.is_none_or(|end| Instant::now() < end)
    }
}

/// Where the solver is.
///
/// # Errors
/// What to install, or which variable names a file that is not there.
pub fn find(environment: &BTreeMap<String, String>) -> Result<PathBuf, String> {
    for name in VARIABLES {
        let Some(path) = environment.get(name).filter(|path| !path.is_empty()) else { continue };
        return match Path::new(path).is_file() {
            true => Ok(PathBuf::from(path)),
            false => Err(format!("`{name}` names `{path}`, which is no file")),
        };
    }
    let path = environment.get("PATH").map(String::as_str).unwrap_or_default();
    let found = std::env::split_paths(path).map(|dir| dir.join("cvc5")).find(|file| file.is_file());
    found.ok_or_else(|| {
        "the solver cvc5 is not installed: `apt-get install cvc5`, or name it in WICKET_CVC5".to_owned()
    })
}

/// cvc5, started anew for each question.
#[derive(Debug)]
pub struct Cvc5 {
    path: PathBuf,
    question: Duration,
    script: Vec<u8>,
}

impl Cvc5 {
    /// The solver at this path, which has so much time for each question.
    pub fn new(path: PathBuf, question: Duration) -> Self {
        Self { path, question, script: Vec::new() }
    }

    /// Puts what was written to a new solver.
    fn run(&mut self, ending: &str) -> Result<String, SolverError> {
        let mut script = std::mem::take(&mut self.script);
        script.extend_from_slice(ending.as_bytes());
        let millis = self.question.as_millis();
        let mut child = Command::new(&self.path)
            .args(["--lang", "smt", "--strings-exp", &format!("--tlimit={millis}")])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| SolverError::Solver(format!("`{}`: {error}", self.path.display())))?;
        bound(&child);
        let answer = talk(&mut child, &script, self.question.saturating_add(GRACE));
        // Whatever it is doing: nobody listens any more.
        let _gone = child.kill();
        let _reaped = child.wait();
        answer
    }
}

/// Bounds the child's memory. Where the system refuses, its time is bounded all the same.
fn bound(child: &Child) {
    let limit = Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: Some(MEMORY_BYTES_MAX) };
    if let Err(error) = prlimit(Some(Pid::from_child(child)), Resource::As, limit) {
        tracing::warn!(%error, "the solver's memory cannot be bounded");
    }
}

/// Writes the script and reads the answer, for so long at most.
fn talk(child: &mut Child, script: &[u8], patience: Duration) -> Result<String, SolverError> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else {
        return Err(SolverError::Solver("the solver has no pipes".to_owned()));
    };
    let (sender, answered) = sync_channel(1);
    let script = script.to_vec();
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        std::thread::Builder::new().name(name.to_owned()).spawn(work)
    };
    // A solver that ends early does not read to the end: what it said then counts.
    spawn("solver-asks", Box::new(move || drop(stdin.write_all(&script))))?;
    let read = move || {
        let mut answer = Vec::new();
        let read = stdout.take(ANSWER_BYTES_MAX).read_to_end(&mut answer);
        let _waited_for = sender.send(read.map(|_| String::from_utf8_lossy(&answer).into_owned()));
    };
    spawn("solver-says", Box::new(read))?;
    match answered.recv_timeout(patience) {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(SolverError::Solver(format!("no answer in {} ms", patience.as_millis()))),
    }
}

/// The first line, and what follows it.
fn verdict(answer: &str) -> Result<(Decision, &str), SolverError> {
    let (first, rest) = answer.split_once('\n').unwrap_or((answer, ""));
    match first.trim() {
        "sat" => Ok((Decision::Sat, rest)),
        "unsat" => Ok((Decision::Unsat, rest)),
        "unknown" => Ok((Decision::Unknown, rest)),
        "" | "cvc5 interrupted by timeout." => {
            Err(SolverError::Solver("the solver ran out of time or memory".to_owned()))
        }
        other => Err(SolverError::UnrecognizedSolverOutput(other.chars().take(200).collect())),
    }
}

impl Solver for Cvc5 {
    fn smtlib_input(&mut self) -> &mut (dyn tokio::io::AsyncWrite + Unpin + Send) {
        &mut self.script
    }

    async fn enable_models(&mut self) -> Result<(), SolverError> {
        self.script.extend_from_slice(b"(set-option :produce-models true)\n");
        Ok(())
    }

    async fn check_sat(&mut self) -> Result<Decision, SolverError> {
        let answer = self.run("(check-sat)\n(exit)\n")?;
        Ok(verdict(&answer)?.0)
    }

    async fn check_sat_with_model(&mut self) -> Result<DecisionWithModel, SolverError> {
        let answer = self.run("(check-sat)\n(get-model)\n(exit)\n")?;
        Ok(match verdict(&answer)? {
            (Decision::Sat, model) => DecisionWithModel::Sat { model: model.to_owned() },
            (Decision::Unsat, _) => DecisionWithModel::Unsat,
            (Decision::Unknown, _) => DecisionWithModel::Unknown,
        })
    }
}

#[cfg(test)]
mod tests;
