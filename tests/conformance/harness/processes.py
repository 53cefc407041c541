"""Starts and ends the programs of a run; each writes into a log of its own."""
import contextlib
import pathlib
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
HERE = ROOT / "tests/conformance"
# A debug build on a busy two-core machine.
START_S_MAX = 60
STOP_S_MAX = 20
PYTHON = ROOT / ".tools/python/mcp2/bin/python"
PACKAGES = ROOT / ".tools/conformance/node_modules"


class Trouble(Exception):
    """The run cannot go on; its text says what to do."""


class Missing(Trouble):
    """What must be installed first is not there."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(name, command, log, port=None, ready=None, cwd=ROOT):
    """The program while it runs: until `port` accepts, or `ready()` gives something, it is waited for."""
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd)
    try:
        yield _wait(name, process, log, ready or (lambda: _accepts(port)))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            print(f"{name} had to be killed: {log}", file=sys.stderr)


def _wait(name, process, log, ready):
    began = time.monotonic()
    while time.monotonic() - began < START_S_MAX:
        if process.poll() is not None:
            raise Trouble(f"{name} ended at start:\n{tail(log)}")
        if found := ready():
            return found
        time.sleep(0.02)
    raise Trouble(f"{name} is not up after {START_S_MAX} s:\n{tail(log)}")


def _accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def tail(log, lines=30):
    text = pathlib.Path(log).read_text(encoding="utf-8", errors="replace")
    return "\n".join(text.splitlines()[-lines:])


@contextlib.contextmanager
def backend(era, log):
    """Our own MCP server; its port."""
    if not PYTHON.exists():
        raise Missing(f"{PYTHON} is not there: .ci/tools conformance makes it")
    port = free_port()
    command = [str(PYTHON), "-B", str(HERE / "backend/main.py"), "--port", str(port), "--era", era]
    with running(f"the backend ({era})", command, log, port=port):
        yield port


@contextlib.contextmanager
def proxy(to, record, *options, port=None):
    """A proxy in front of the port `to`; its own port."""
    port = port or free_port()
    command = [sys.executable, "-B", str(HERE / "proxy.py"), "--listen", str(port), "--to", f"127.0.0.1:{to}"]
    command += ["--record", str(record), *options]
    with running("the test proxy", command, f"{record}.log", port=port):
        yield port
