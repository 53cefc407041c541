"""LangChain's adapters: the gate's tools as tools of a LangChain agent. Session era (mcp 1.x beneath)."""
import asyncio
import contextlib
import types

import mcp.types
from langchain_mcp_adapters.callbacks import Callbacks
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import convert_mcp_tool_to_langchain_tool, load_mcp_tools
from mcp.shared.exceptions import McpError

ANYTHING = {"type": "object", "properties": {}, "additionalProperties": True}


class Client:
    line = "langchain_line"
    # It walks the pages by itself and shows one list.
    pages_itself = True

    def __init__(self, session):
        self.session = session
        self.about = "langchain-mcp-adapters"

    async def list_page(self, cursor):
        return [tool.name for tool in await load_mcp_tools(self.session)], None

    async def call(self, name, arguments, progress=None):
        async def on_progress(done, total, message, context):
            await progress(done, total, message)

        callbacks = Callbacks(on_progress=on_progress if progress else None)
        # Also a tool that the list hides: what the gate says to it is what these checks are about.
        definition = mcp.types.Tool(name=name, inputSchema=ANYTHING)
        tool = convert_mcp_tool_to_langchain_tool(self.session, definition, callbacks=callbacks)
        message = await tool.ainvoke({"type": "tool_call", "id": "call-1", "name": name, "args": arguments})
        return types.SimpleNamespace(
            content=[types.SimpleNamespace(text=block.get("text")) for block in message.content],
            structured_content=(message.artifact or {}).get("structured_content"),
            is_error=message.status == "error",
        )

    async def refused(self, name, arguments):
        try:
            result = await self.call(name, arguments)
        except McpError as error:
            return error.error.code, error.error.message, error.error.data
        raise AssertionError(f"{name} was not refused: {result}")

    async def cancelled_call(self, name, arguments):
        """An agent that is stopped leaves its tool call: nothing is sent, the gate must be whole all the same."""
        started = asyncio.Event()

        async def on_progress(done, total, message):
            started.set()

        call = asyncio.ensure_future(self.call(name, arguments, on_progress))
        await asyncio.wait_for(started.wait(), 20)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call


@contextlib.asynccontextmanager
async def connect(url, key):
    headers = {"Authorization": f"Bearer {key}"}
    client = MultiServerMCPClient({"gate": {"transport": "streamable_http", "url": url, "headers": headers}})
    async with client.session("gate") as session:
        yield Client(session)
