//! On what it was measured: processor, kernel, load, versions, build.

use std::path::PathBuf;
use std::process::Command;

use serde::Serialize;

use super::others::envoy_program;
use super::planes::Plane;
use super::process::installed;

/// What it was measured on.
#[derive(Debug, Serialize)]
pub struct Machine {
    pub processor: String,
    pub processors: usize,
    pub memory_mib: u64,
    pub kernel: String,
    /// When the measurement began.
    pub load_average: String,
    pub build: String,
    pub versions: Vec<String>,
}

impl Machine {
    /// This one, now; versions of the planes that are measured.
    pub fn here(planes: &[Plane]) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| -> String {
            let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("");
            line.trim_start_matches([' ', '\t', ':']).trim().to_owned()
        };
        let version = |program: Option<PathBuf>, argument: &str| -> Option<String> {
            let output = Command::new(program?).arg(argument).output().ok()?;
            let text = [output.stdout, output.stderr].concat();
            let text = String::from_utf8_lossy(&text).into_owned();
            text.lines().find(|line| !line.trim().is_empty()).map(|line| line.trim().to_owned())
        };
        let measured = |name: &str| planes.iter().any(|plane| plane.name.starts_with(name));
        let others = [
            measured("nginx").then(|| version(installed("nginx"), "-v")).flatten(),
            measured("haproxy").then(|| version(installed("haproxy"), "-v")).flatten(),
            // Its path names this machine's folders.
            measured("envoy").then(|| version(envoy_program(), "--version")).flatten().map(|text| {
                let own = text.rsplit_once("version: ").map_or(text.as_str(), |(_, version)| version);
                format!("envoy {own}")
            }),
            version(installed("rustc"), "-V"),
            Some(format!("wicket {}", env!("CARGO_PKG_VERSION"))),
        ];
        let kib: u64 =
            field(&read("/proc/meminfo"), "MemTotal:").split(' ').next().unwrap_or("").parse().unwrap_or(0);
        Self {
            processor: field(&read("/proc/cpuinfo"), "model name"),
            processors: std::thread::available_parallelism().map_or(0, usize::from),
            memory_mib: kib / 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: read("/proc/loadavg").trim().to_owned(),
            build: build(),
            versions: others.into_iter().flatten().collect(),
        }
    }
}

/// The profile, by what can be known from within, and what `Cargo.toml` says of it.
fn build() -> String {
    if cfg!(debug_assertions) {
        return "dev profile: a test that it works; the figures mean nothing".to_owned();
    }
    let manifest = include_str!("../../Cargo.toml");
    let section = manifest.split("\n[").find_map(|section| section.strip_prefix("profile.release]"));
    let settings: Vec<&str> = section
        .unwrap_or("")
        .lines()
        .map(|line| line.split('#').next().unwrap_or("").trim())
        .filter(|line| !line.is_empty())
        .collect();
    format!("release profile ({}), mimalloc", settings.join(", "))
}
