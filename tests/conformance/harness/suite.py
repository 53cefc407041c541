"""Runs the official suite and reads what it found; keeps, for each scenario, what was written meanwhile."""
import collections
import json
import pathlib
import platform
import re
import shutil
import subprocess

from .processes import PACKAGES, Missing, Trouble

# What the suite itself counts as the session era and as 2026-07-28.
REQUIREMENTS = {"session": "2025-11-25", "stateless": "2026-07-28"}
SUITE_S_MAX = 600
STARTED = re.compile(r"=== Running scenario: (\S+) ===|Running client scenario '([^']+)'")
ANSI = re.compile(r"\x1b\[[0-9;]*m")

Check = collections.namedtuple("Check", "scenario id name turn status message")


def node():
    """Node 22 or newer: the one beside the suite, or the one on PATH."""
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), "x64")
    beside = PACKAGES / f"node-linux-{machine}/bin/node"
    found = str(beside) if beside.exists() else shutil.which("node")
    if found is None:
        raise Missing("there is no Node: .ci/tools conformance brings one")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    major = int(version[1:].split(".")[0])
    if major < 22:
        raise Missing(f"the suite needs Node 22 or newer, {found} is {major}: .ci/tools conformance brings one")
    return found


def run(url, era, folder, scenario, watched):
    """The checks of a run, in order; `watched` are files of which each scenario keeps its part."""
    script = PACKAGES / "@modelcontextprotocol/conformance/dist/index.js"
    if not script.exists():
        raise Missing("the suite is not installed: .ci/tools conformance brings it")
    results = folder / "suite"
    command = [node(), str(script), "server", "--url", url, "--output-dir", str(results)]
    if scenario is None:
        command += ["--requirements", REQUIREMENTS[era]]
    else:
        command += ["--scenario", scenario, "--spec-version", REQUIREMENTS[era], "--force"]
    parts = Parts(watched)
    with open(folder / "suite.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            for line in process.stdout:
                log.write(ANSI.sub("", line))
                if found := STARTED.match(line):
                    parts.began(found.group(1) or found.group(2))
            process.wait(SUITE_S_MAX)
        finally:
            process.kill()
            process.wait()
    checks = read(results)
    if not checks:
        raise Trouble(f"the suite gave no results: {folder / 'suite.log'}")
    return checks, parts


def read(results):
    """Checks by scenario, as the suite wrote them; the same id may come several times in one scenario."""
    checks = []
    for path in sorted(results.glob("server-*/checks.json")):
        scenario = re.sub(r"-\d{4}-\d\d-\d\dT[\d-]+Z$", "", path.parent.name.removeprefix("server-"))
        turns = collections.Counter()
        for one in json.loads(path.read_text()):
            key = (one["id"], one["name"])
            turns[key] += 1
            checks.append(Check(scenario, *key, turns[key], one["status"], one.get("errorMessage") or ""))
    return checks


class Parts:
    """Which part of each watched file was written while a scenario ran."""

    def __init__(self, watched):
        self.watched = watched
        self.starts = []

    def began(self, scenario):
        if self.starts and self.starts[-1][0] == scenario:
            return
        self.starts.append((scenario, {name: _size(path) for name, path in self.watched.items()}))

    def keep(self, scenario, folder):
        """Writes the parts into `folder`."""
        for at, (name, begins) in enumerate(self.starts):
            if name != scenario:
                continue
            ends = self.starts[at + 1][1] if at + 1 < len(self.starts) else {}
            folder.mkdir(parents=True, exist_ok=True)
            for file, path in self.watched.items():
                if not path.exists():
                    continue
                with open(path, "rb") as source:
                    source.seek(begins[file])
                    part = source.read(ends[file] - begins[file] if file in ends else -1)
                (folder / file).write_bytes(part)


def _size(path):
    return pathlib.Path(path).stat().st_size if pathlib.Path(path).exists() else 0
