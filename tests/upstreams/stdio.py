"""A small real MCP server on standard input and output that keeps what it was sent.

Each line that comes is in FILE before it is answered. Its tools are read anew from TOOLS (a JSON array of definitions)
for each `tools/list`, so that a test can change them under it. Every tool answers with its arguments.

    stdio.py FILE TOOLS
"""
import json
import sys


def answer(message, tools):
    method, params = message.get("method"), message.get("params", {})
    if method == "initialize":
        return {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {"listChanged": True}},
                "serverInfo": {"name": "kept", "version": "1"}}
    if method == "tools/list":
        with open(tools, encoding="utf-8") as file:
            return {"tools": json.load(file)}
    if method == "tools/call":
        return {"content": [{"type": "text", "text": json.dumps(params.get("arguments"))}], "isError": False}
    return {}


def main(kept, tools):
    with open(kept, "ab", buffering=0) as file:
        for line in sys.stdin.buffer:
            file.write(line)
            message = json.loads(line)
            if "id" in message and "method" in message:
                reply = {"jsonrpc": "2.0", "id": message["id"], "result": answer(message, tools)}
                sys.stdout.write(json.dumps(reply) + "\n")
                sys.stdout.flush()


main(sys.argv[1], sys.argv[2])
