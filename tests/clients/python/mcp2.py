"""The SDK's second line (mcp 2.x) as it comes: probes for 2026-07-28, falls back to the session era."""
import contextlib

import anyio
import httpx2
from mcp.client.client import Client as SdkClient
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError


class Client:
    line = "mcp2"
    pages_itself = False

    def __init__(self, client):
        self.client = client
        self.about = f"{client.server_info}, {client.protocol_version}"

    async def list_page(self, cursor):
        page = await self.client.list_tools(cursor=cursor, cache_mode="bypass")
        return [tool.name for tool in page.tools], page.next_cursor

    async def call(self, name, arguments, progress=None):
        return await self.client.call_tool(name, arguments, progress_callback=progress)

    async def refused(self, name, arguments):
        try:
            result = await self.client.call_tool(name, arguments)
        except MCPError as error:
            return error.code, error.message, error.data
        raise AssertionError(f"{name} was not refused: {result}")

    async def cancelled_call(self, name, arguments):
        """Abandoning a call sends `notifications/cancelled` by itself."""
        scope = anyio.CancelScope()

        async def on_progress(progress, total, message):
            scope.cancel()

        with scope:
            await self.client.call_tool(name, arguments, progress_callback=on_progress)
        assert scope.cancelled_caught, "the call ended before it was cancelled"


@contextlib.asynccontextmanager
async def connect(url, key):
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=httpx2.Timeout(30.0, read=60.0)) as http:
        async with SdkClient(streamable_http_client(url, http_client=http)) as client:
            yield Client(client)
