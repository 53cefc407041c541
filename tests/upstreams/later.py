"""A server of the session era that takes questions back while its client is away; by hand, with nothing but Python, since
what it is told must be seen to the byte.

    later.py PORT|stdio

`ask` asks `count` forms and answers once none is open; `withdraw` takes the first one back, `hasty` does so at once; `told` says which were answered.
"""
import json
import queue
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ["ask", "withdraw", "told"]]
FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {}}}
lock = threading.Lock()
told, asking = [], {}


def handle(message, say):
    """Answers at once, or later by `say`; gives whether it was at once."""
    method, id = message.get("method"), message.get("id")
    if method == "initialize":
        result = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "l", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": TOOLS}
    elif method == "tools/call" and message["params"]["name"] == "ask":
        with lock:
            open_ = [f"q-{number + 1}" for number in range(message["params"]["arguments"]["count"])]
            asking.update(id=id, say=say, open=list(open_))
        for question in open_:
            say({"id": question, "method": "elicitation/create", "params": FORM})
        if message["params"]["arguments"].get("hasty"):
            withdraw()
        return False
    elif method == "tools/call" and message["params"]["name"] == "withdraw":
        withdraw()
        result = {"content": []}
    elif method == "tools/call":
        result = {"content": [], "structuredContent": {"told": told}}
    elif method is None and id is not None:
        told.append(id)
        over(id)
        return False
    else:
        return False
    say({"id": id, "result": result})
    return True


def withdraw():
    asking["say"]({"method": "notifications/cancelled", "params": {"requestId": "q-1", "reason": "never mind"}})
    over("q-1")


def over(question):
    with lock:
        asking["open"].remove(question)
        done = not asking["open"]
    if done:
        asking["say"]({"id": asking["id"], "result": {"content": [{"type": "text", "text": "went on"}]}})


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.empty(405)

    def do_DELETE(self):
        self.empty(200)

    def empty(self, status):
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = queue.Queue()
        if message.get("method") == "server/discover":
            return self.empty(400)
        if "method" not in message or "id" not in message:
            handle(message, said.put)
            return self.empty(202)
        if handle(message, said.put):
            body = json.dumps({"jsonrpc": "2.0", **said.get()}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            return self.wfile.write(body)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while True:
            event = said.get()
            data = f"data: {json.dumps({'jsonrpc': '2.0', **event})}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            if "result" in event:
                return self.wfile.write(b"0\r\n\r\n")


if sys.argv[1] == "stdio":
    for line in sys.stdin:
        handle(json.loads(line), lambda message: print(json.dumps({"jsonrpc": "2.0", **message}), flush=True))
else:
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Http).serve_forever()
