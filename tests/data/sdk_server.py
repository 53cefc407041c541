"""A server on the official SDK (PyPI `mcp` 2.3), which speaks both eras, over HTTP (`http`, prints its port) or stdio.

Tools: greet (tells progress and logs, then greets), where (asks the user for a city), think (asks the client's
model), roots (asks for the client's roots), region (an argument that is mirrored into a header).
"""
import socket
import sys
from typing import Annotated

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve, Sample
from mcp_types import CreateMessageResult, ListRootsResult, SamplingMessage, TextContent
from pydantic import BaseModel, Field

server = MCPServer("asking", version="3.1")


class City(BaseModel):
    name: str


async def ask_city() -> Elicit[City]:
    return Elicit("Which city?", City)


async def ask_model() -> Sample:
    return Sample([SamplingMessage(role="user", content=TextContent(type="text", text="think"))], max_tokens=9)


async def ask_roots() -> ListRoots:
    return ListRoots()


@server.tool()
async def greet(name: str, ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    await ctx.info("greeting")
    return f"hello {name}"


@server.tool()
async def where(city: Annotated[City, Resolve(ask_city)]) -> str:
    return f"in {city.name}"


@server.tool()
async def think(thought: Annotated[CreateMessageResult, Resolve(ask_model)]) -> str:
    return f"thought {thought.content.text}"


@server.tool()
async def roots(found: Annotated[ListRootsResult, Resolve(ask_roots)]) -> str:
    return f"{len(found.roots)} roots"


@server.tool()
async def region(name: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    return f"region {name}"


@server.resource("note://one")
def note() -> str:
    return "a note"


if sys.argv[1:] == ["http"]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    print(port, flush=True)
    server.run(transport="streamable-http", host="127.0.0.1", port=port)
else:
    server.run(transport="stdio")
