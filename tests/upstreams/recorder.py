#!/usr/bin/env python3
"""A second MCP upstream with another parser, so that the gate's reading of a body can be compared.

Streamable HTTP of the session era, standard library only. Each request becomes one JSON line of
--file, on disk (fsync) before its answer: what this parser understood, duplicate keys detected.
Prints `listening ADDRESS` when ready.
"""
import argparse
import hashlib
import http.server
import json
import os
import sys
import threading


class Duplicate(ValueError):
    """An object held one key twice: parsers differ on which value counts."""


def without_duplicates(pairs):
    seen = {}
    for key, value in pairs:
        if key in seen:
            raise Duplicate(key)
        seen[key] = value
    return seen


def refuse_constant(name):
    raise ValueError(f"{name} is no JSON")


def strict(text):
    return json.loads(text, object_pairs_hook=without_duplicates, parse_constant=refuse_constant)


TOOLS = [
    {
        "name": name,
        "description": what,
        "inputSchema": {"type": "object", "properties": {"nonce": {"type": "string"}, "text": {"type": "string"}}},
        "annotations": {"readOnlyHint": reads, "destructiveHint": destroys},
    }
    for name, reads, destroys, what in [
        ("echo", True, False, "answers its arguments"),
        ("write_note", False, False, "answers its arguments; not read-only"),
        ("delete_thing", False, True, "destructive"),
        ("count", True, False, "streams progress, then a result"),
    ]
]


class Upstream(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    lock = threading.Lock()
    sequence = 0
    file = None

    def log_message(self, *_):
        pass

    def record(self, entry):
        cls = type(self)
        with cls.lock:
            entry["sequence"] = cls.sequence
            cls.sequence += 1
            cls.file.write(json.dumps(entry, sort_keys=True).encode() + b"\n")
            cls.file.flush()
            os.fsync(cls.file.fileno())

    def do_POST(self):
        length = self.headers.get_all("content-length") or []
        body = self.rfile.read(int(length[0])) if len(length) == 1 else self.chunks()
        entry = {
            "headers": [[name.lower(), value] for name, value in self.headers.items()],
            "body_bytes": len(body),
            "body_sha256": hashlib.sha256(body).hexdigest(),
            "method": "",
            "id": None,
            "tool": "",
            "arguments": None,
            "fault": None,
        }
        message = {}
        try:
            message = strict(body.decode("utf-8", errors="strict"))
            params = message.get("params") or {}
            entry.update(
                method=message.get("method", ""),
                id=message.get("id"),
                tool=params.get("name", ""),
                arguments=params.get("arguments"),
            )
        except (ValueError, AttributeError, RecursionError) as fault:
            entry["fault"] = f"{type(fault).__name__}: {fault}"
        self.record(entry)
        self.reply_to(message, entry)

    def chunks(self):
        body = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return body

    def reply_to(self, message, entry):
        method = entry["method"]
        if entry["fault"] is not None:
            return self.json(400, {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": entry["fault"]}})
        if method.startswith("notifications/"):
            return self.json(202, None)
        if method == "initialize":
            result = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "recorder-python", "version": "1.0.0"},
            }
        elif method == "tools/list":
            result = {"tools": TOOLS}
        elif method == "tools/call" and entry["tool"] == "count":
            return self.stream(message)
        elif method == "tools/call":
            result = {"content": [{"type": "text", "text": json.dumps(entry["arguments"])}], "isError": False}
        elif method == "ping":
            result = {}
        else:
            return self.json(200, {"jsonrpc": "2.0", "id": entry["id"], "error": {"code": -32601, "message": "unknown"}})
        return self.json(200, {"jsonrpc": "2.0", "id": entry["id"], "result": result})

    def json(self, status, value):
        body = b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stream(self, message):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        token = (message["params"].get("_meta") or {}).get("progressToken")
        for step in range(1, 4):
            self.event({"jsonrpc": "2.0", "method": "notifications/progress",
                        "params": {"progressToken": token, "progress": step, "total": 3}})
        self.event({"jsonrpc": "2.0", "id": message["id"],
                    "result": {"content": [{"type": "text", "text": "counted"}], "isError": False}})
        self.wfile.write(b"0\r\n\r\n")

    def event(self, value):
        data = f"event: message\ndata: {json.dumps(value)}\n\n".encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def refuse(self):
        self.json(405, {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "POST only"}})

    do_GET = do_DELETE = refuse


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tools", action="store_true", help="print the tool definitions and stop")
    options = parser.parse_args()
    if options.tools:
        json.dump(TOOLS, sys.stdout)
        return
    Upstream.file = open(options.file, "ab")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), Upstream)
    print(f"listening 127.0.0.1:{server.server_address[1]}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
