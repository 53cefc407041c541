"""FastMCP's client as it comes: probes for 2026-07-28, falls back to the session era."""
import contextlib

import anyio
import fastmcp
from fastmcp.client.transports import StreamableHttpTransport
from mcp.shared.exceptions import MCPError


class Client:
    line = "fastmcp_line"
    pages_itself = False

    def __init__(self, client):
        self.client = client
        self.about = f"{fastmcp.__name__} {fastmcp.__version__}"

    async def list_page(self, cursor):
        page = await self.client.list_tools_mcp(cursor=cursor, cache_mode="bypass")
        return [tool.name for tool in page.tools], page.next_cursor

    async def call(self, name, arguments, progress=None):
        return await self.client.call_tool_mcp(name, arguments, progress_handler=progress)

    async def refused(self, name, arguments):
        try:
            result = await self.client.call_tool_mcp(name, arguments)
        except MCPError as error:
            return error.code, error.message, error.data
        raise AssertionError(f"{name} was not refused: {result}")

    async def cancelled_call(self, name, arguments):
        """Abandoning a call is all that this client knows; the SDK beneath it tells the server."""
        scope = anyio.CancelScope()

        async def on_progress(progress, total, message):
            scope.cancel()

        with scope:
            await self.client.call_tool_mcp(name, arguments, progress_handler=on_progress)
        assert scope.cancelled_caught, "the call ended before it was cancelled"


@contextlib.asynccontextmanager
async def connect(url, key):
    transport = StreamableHttpTransport(url, headers={"Authorization": f"Bearer {key}"})
    async with fastmcp.Client(transport) as client:
        yield Client(client)
