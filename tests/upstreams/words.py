"""A real MCP server of the session era (PyPI `mcp` 2.x) that keeps what clients tell it unasked.

    words.py PORT|stdio

`heard` says how often roots were told as changed, by the name of the client whose session it was, and what the calling
client declared of its roots; `ask` asks for a form and says which reports of the client's progress came before its answer.
"""
import sys
import warnings
from collections import Counter

import anyio
import mcp_types as types
import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.shared.message import ServerMessageMetadata

warnings.simplefilter("ignore", MCPDeprecationWarning)

FORM = {"type": "object", "properties": {"name": {"type": "string"}}}


def build():
    roots = Counter()

    async def list_tools(ctx, params):
        return {"tools": [{"name": name, "inputSchema": {"type": "object"}} for name in ["heard", "ask"]]}

    async def roots_changed(ctx, params):
        roots[ctx.session.client_params.client_info.name] += 1

    async def call_tool(ctx, params):
        if params.name == "heard":
            declared = ctx.session.client_params.capabilities.roots
            declared = declared.model_dump(by_alias=True, exclude_none=True) if declared else None
            return {"content": [], "structuredContent": {"roots": dict(roots), "declared": declared}}
        reports = []

        async def reported(progress, total, message):
            reports.append([progress, total, message])

        answer = await ctx.session.send_request(
            types.ElicitRequest(params=types.ElicitRequestFormParams(message="Who?", requested_schema=FORM)),
            types.ElicitResult,
            metadata=ServerMessageMetadata(related_request_id=ctx.request_id),
            progress_callback=reported,
        )
        return {"content": [], "structuredContent": {"action": answer.action, "reports": reports}}

    return Server(
        "words", version="1", on_list_tools=list_tools, on_call_tool=call_tool, on_roots_list_changed=roots_changed
    )


async def over_stdio():
    server = build()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if sys.argv[1] == "stdio":
    anyio.run(over_stdio)
else:
    uvicorn.run(build().streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error",
                timeout_graceful_shutdown=1)
