"""A server of the stateless era (PyPI mcp 2.x) over streamable HTTP. It checks the headers of each
message against its body by itself.

    python stateless.py PORT FILE      what was cancelled is written to FILE, a line each
"""
import sys
from typing import Annotated

import anyio
from mcp.server.mcpserver import Context, MCPServer
from pydantic import Field

PORT, FILE = int(sys.argv[1]), sys.argv[2]
server = MCPServer("stateless")


@server.tool(name="in region", description="Repeats what came; two of its arguments travel in headers too.")
def in_region(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})],
    count: Annotated[int, Field(json_schema_extra={"x-mcp-header": "Count"})] = 0,
) -> str:
    return f"{count} in {region}"


@server.tool()
async def steps(number: int, context: Context) -> str:
    """Reports its progress; a tenth of a second for each step."""
    try:
        for step in range(number):
            await context.report_progress(step + 1, number, f"step {step + 1}")
            await anyio.sleep(0.1)
    except anyio.get_cancelled_exc_class():
        with open(FILE, "a") as file:
            file.write(f"steps {number}\n")
        raise
    return "done"


@server.resource("note://ünder/{name}")
def note(name: str) -> str:
    return f"a note on {name}"


server.run("streamable-http", port=PORT)
