"""A gate of its own for each upstream, set up by the command line as an operator would."""
import contextlib
import json
import shutil
import subprocess

from .processes import ROOT, Trouble, running

PREFIX = "conf__"
CONFIGURATION = """data_dir = "data"
[listen.agents]
address = "127.0.0.1:0"
[listen.control]
address = "127.0.0.1:0"
[trust]
allowed_origins = ["http://localhost:{port}", "http://127.0.0.1:{port}"]
[limits]
rate_burst = 1_000_000
rate_per_second = 1_000_000.0
[policies]
dir = "policies"
[connectors]
dir = "connectors"
[audit]
mode = "process"
record_ms_max = 5_000
[threads]
agents = 2
[drain]
ms_max = 1_000
[log]
filter = "info,wicket=debug"
"""
CONNECTOR = """namespace = "Conf"
display_name = "The backend of the conformance suite"

[transport]
kind = "http"
url = "http://127.0.0.1:{port}/mcp"
allow_private = true
"""
POLICY = """@id("all-of-the-suite")
permit (principal, action, resource in Wicket::Service::"conf");
"""
# Policies that ship and name no connector of their own.
SHIPPED = ("wicket.cedar", "protocol.cedar")


class Gate:
    """The folder of a gate, and its command line."""

    def __init__(self, folder, binary):
        self.folder = folder
        self.binary = binary
        self.log = folder / "gate.log"

    def write(self, backend_port, proxy_port):
        for name in ("connectors", "policies"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "wicket.toml").write_text(CONFIGURATION.format(port=proxy_port))
        (self.folder / "policies/suite.cedar").write_text(POLICY)
        for name in SHIPPED:
            if (ROOT / "policies" / name).exists():
                shutil.copy(ROOT / "policies" / name, self.folder / "policies" / name)
        self._connector.write_text(CONNECTOR.format(port=backend_port))

    @property
    def _connector(self):
        return self.folder / "connectors/conf.toml"

    @property
    def lock(self):
        return self.folder / "connectors/conf.tools.json"

    def accept(self, spare_lock):
        """Asks the upstream for its tools and tiers all as reading; what went wrong, where another's lock had to do."""
        trouble = None
        try:
            self.command("connector", "sync", "conf")
        except Trouble as error:
            if spare_lock is None:
                raise
            trouble = str(error)
            shutil.copy(spare_lock, self.lock)
        names = [tool["name"] for tool in json.loads(self.lock.read_text())["tools"]]
        with open(self._connector, "a", encoding="utf-8") as file:
            file.write(f"\n[tiers]\nread = {json.dumps(names)}\n")
        return trouble

    def command(self, *arguments):
        command = [str(self.binary), *arguments, "--config", "wicket.toml", "--no-color"]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise Trouble(f"wicket {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextlib.contextmanager
    def running(self):
        """Starts it and makes agent, member and key: the agents' port, and the file that holds the key."""
        addresses = self.folder / "data/addresses.json"

        def ready():
            return json.loads(addresses.read_text()) if addresses.exists() else None

        command = [str(self.binary), "run", "--config", "wicket.toml"]
        with running("the gate", command, self.log, ready=ready, cwd=self.folder) as found:
            self.command("agent", "create", "suite", "--service", "conf")
            self.command("member", "add", "suite", "tester")
            minted = json.loads(self.command("key", "create", "suite", "tester", "--json"))
            key_file = self.folder / "key"
            key_file.touch(mode=0o600)
            key_file.write_text(minted["key"])
            yield int(found["agents"].rsplit(":", 1)[1]), key_file
        if "panicked at" in self.log.read_text(errors="replace"):
            raise Trouble(f"the gate panicked: {self.log}")
