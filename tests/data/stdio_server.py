"""A real MCP server on standard input and output, small and with bad habits on request.

Tools: echo (its arguments), slow (waits `seconds`), die (exits without an answer), garbage (writes lines that are no
MCP before its answer), flood (writes garbage without end), notify (progress, then an answer), ask (asks the client,
answers with what it was told), env (names of its environment), big (an answer of `bytes` bytes), spawn (starts a
child of its own, answers with its process id), silent (never answers), change (adds a tool, says so), form (asks the
user, answers with what it was told).

With `--mute` it leaves unknown requests without an answer; with `--dies` it ends at the first one.
"""
import json
import os
import subprocess
import sys
import threading
import time

TOOLS = ["echo", "slow", "die", "garbage", "flood", "notify", "ask", "env", "big", "spawn", "silent", "change",
         "cancelled"]
cancelled = []
answers = {}
lock = threading.Lock()


def say(message):
    with lock:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


def noise(text):
    with lock:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def definition(name):
    return {"name": name, "description": "does " + name, "inputSchema": {"type": "object"}}


def call(request, name, arguments, token):
    result = {"echo": arguments, "pid": os.getpid()}
    if name == "slow":
        time.sleep(arguments.get("seconds", 0.2))
    elif name == "die":
        os._exit(3)
    elif name == "silent":
        return
    elif name == "garbage":
        for line in ["not json", "{}", "[]", '{"jsonrpc":"1.0","id":1,"result":{}}', '{"jsonrpc":"2.0","id":999999,"result":{}}']:
            noise(line)
    elif name == "flood":
        while True:
            noise("still not json")
    elif name == "notify":
        say({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "for all"}})
        for step in range(arguments.get("steps", 2)):
            if token is not None:
                say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": step}})
    elif name == "ask":
        for number, method in enumerate(["ping", "sampling/createMessage"]):
            say({"jsonrpc": "2.0", "id": f"q{number}", "method": method, "params": {}})
        until = time.time() + 3
        while len(answers) < 2 and time.time() < until:
            time.sleep(0.01)
        result["answers"] = answers
    elif name == "form":
        key = "f%s" % request
        say({"jsonrpc": "2.0", "id": key, "method": "elicitation/create", "params": {"message": "?"}})
        until = time.time() + 5
        while key not in answers and time.time() < until:
            time.sleep(0.01)
        result["answer"] = answers.get(key)
    elif name == "env":
        result["names"] = sorted(os.environ)
    elif name == "big":
        result["text"] = "x" * arguments["bytes"]
    elif name == "spawn":
        result["child"] = subprocess.Popen(["sleep", "600"]).pid
    elif name == "change":
        TOOLS.append("added")
        say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    elif name == "cancelled":
        until = time.time() + 3
        while not cancelled and time.time() < until:
            time.sleep(0.01)
        result["cancelled"] = cancelled
    say({"jsonrpc": "2.0", "id": request, "result": {"content": [], "structuredContent": result}})


def main():
    print("a line for the log", file=sys.stderr, flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        method, request = message.get("method"), message.get("id")
        params = message.get("params", {})
        if method is None and "result" in message and str(request).startswith("f"):
            answers[str(request)] = message["result"]
        elif method is None:
            answers[str(request)] = message.get("error", {}).get("code", "result")
        elif method == "initialize":
            say({"jsonrpc": "2.0", "id": request, "result": {
                "protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
                "serverInfo": {"name": "bad-habits", "version": "1"}}})
        elif method == "tools/list":
            at = int(params.get("cursor", "0"))
            page = {"tools": [definition(name) for name in TOOLS[at:at + 5]]}
            if at + 5 < len(TOOLS):
                page["nextCursor"] = str(at + 5)
            say({"jsonrpc": "2.0", "id": request, "result": page})
        elif method == "notifications/cancelled":
            cancelled.append(params)
        elif method == "tools/call":
            token = params.get("_meta", {}).get("progressToken")
            work = threading.Thread(target=call, args=(request, params["name"], params.get("arguments", {}), token))
            work.daemon = True
            work.start()
        elif request is not None and "--dies" in sys.argv:
            os._exit(4)
        elif request is not None and "--mute" not in sys.argv:
            say({"jsonrpc": "2.0", "id": request, "error": {"code": -32601, "message": "Method not found"}})


main()
