"""What the fuzzed API is about: an owner with agents, members, invites, groups and sessions, made over the API."""
import http.client
import json
import random
import socket
import urllib.error
import urllib.request

SCOPES = [
    "agents:read", "agents:write", "members:read", "members:write", "keys:write", "sessions:read", "sessions:write",
    "audit:read", "policies:read", "policies:write", "credentials:read", "credentials:write", "account:read",
]
OWNER, MEMBER = "owner@example.com", "member@example.com"


class Trouble(Exception):
    """The run cannot go on."""


class Admin:
    """The operator's socket."""

    def __init__(self, path):
        self.path = str(path)

    def ask(self, **request):
        connection = http.client.HTTPConnection("wicket")
        connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.sock.connect(self.path)
        connection.request("POST", "/v1/admin", json.dumps(request), {"content-type": "application/json"})
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        if response.status >= 300:
            raise Trouble(f"{request}: {body}")
        return body["value"]

    def token(self, email):
        return self.ask(do="token_create", email=email, name="fuzz", scopes=SCOPES, days=1)["token"]


class Api:
    """The REST API, by a token."""

    def __init__(self, url, token):
        self.url, self.token = url, token

    def ask(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("authorization", f"Bearer {self.token}")
        data = None
        if body is not None:
            request.add_header("content-type", "application/json")
            data = json.dumps(body).encode()
        try:
            with urllib.request.urlopen(request, data, timeout=60) as response:
                text = response.read()
        except urllib.error.HTTPError as error:
            raise Trouble(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
        return json.loads(text) if text else None


class World:
    """Things that are there now: what a made-up path would never name."""

    # Requests after which the lists are read again: what was deleted is replaced by then.
    STALE_AFTER = 150

    def __init__(self, url, owner, member):
        self.owner, self.member = Api(url, owner), Api(url, member)
        self.asked = 0
        self.known = []

    def parts(self, chance):
        """The parts of one path, by their names in the document."""
        self.asked += 1
        if not self.known or self.asked % self.STALE_AFTER == 0:
            self.known = self.read()
        return chance.choice(self.known)

    def read(self):
        agents = self.owner.ask("GET", "/api/agents?role=owner&limit=3&sortBy=createdAt&sortDir=desc")["agents"]
        return [self.of(agent["id"]) for agent in agents] + [self.made()]

    def made(self):
        name = f"fuzzed-{random.getrandbits(64):x}"
        agent = self.owner.ask("POST", "/api/agents", {"name": name, "allowedServices": ["wicket"]})["id"]
        path = f"/api/agents/{agent}"
        token = self.owner.ask("POST", f"{path}/invite", {"email": MEMBER})["token"]
        self.member.ask("POST", f"{path}/join", {"token": token})
        self.owner.ask("POST", f"{path}/invite", {"email": "invited@example.com"})
        self.owner.ask("POST", f"{path}/groups", {"name": "reviewers"})
        policy = {"name": "No whoami", "service": "wicket", "effect": "forbid", "tools": ["whoami"]}
        self.owner.ask("POST", f"{path}/policies", policy)
        return self.of(agent)

    def of(self, agent):
        path = f"/api/agents/{agent}"
        members = self.owner.ask("GET", f"{path}/members?limit=20")["members"]
        invites = self.owner.ask("GET", f"{path}/invites?limit=20")["invites"]
        groups = self.owner.ask("GET", f"{path}/groups?limit=20")["groups"]
        policies = self.owner.ask("GET", f"{path}/policies?limit=20")["policies"]
        return {
            "id": [agent],
            "memberId": [one["id"] for one in members],
            "inviteId": [one["id"] for one in invites],
            "group": [one["name"] for one in groups],
            "policyId": [one["id"] for one in policies],
            "service": ["wicket"],
        }
