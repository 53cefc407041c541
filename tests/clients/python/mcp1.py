"""The SDK's first line (mcp 1.x): session era, `initialize` first."""
import contextlib

import anyio
import mcp.types as types
from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client
from mcp.shared.exceptions import McpError


class Client:
    line = "mcp1"
    pages_itself = False

    def __init__(self, session, initialized):
        self.session = session
        self.about = f"{initialized.serverInfo.name}, {initialized.protocolVersion}"

    async def list_page(self, cursor):
        page = await self.session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))
        return [tool.name for tool in page.tools], page.nextCursor

    async def call(self, name, arguments, progress=None):
        return await self.session.call_tool(name, arguments, progress_callback=progress)

    async def refused(self, name, arguments):
        try:
            result = await self.session.call_tool(name, arguments)
        except McpError as error:
            return error.error.code, error.error.message, error.error.data
        raise AssertionError(f"{name} was not refused: {result}")

    async def cancelled_call(self, name, arguments):
        """This line sends no notification of its own when a call is abandoned: send it by hand."""
        started = anyio.Event()

        async def on_progress(progress, total, message):
            started.set()

        async def run(scope):
            with scope:
                await self.session.call_tool(name, arguments, progress_callback=on_progress)

        scope = anyio.CancelScope()
        async with anyio.create_task_group() as group:
            request_id = self.session._request_id
            group.start_soon(run, scope)
            await started.wait()
            await self.session.send_notification(
                types.ClientNotification(
                    types.CancelledNotification(
                        params=types.CancelledNotificationParams(requestId=request_id, reason="changed my mind")
                    )
                )
            )
            scope.cancel()


@contextlib.asynccontextmanager
async def connect(url, key):
    async with streamablehttp_client(url, headers={"Authorization": f"Bearer {key}"}) as (read, write, _):
        async with ClientSession(read, write) as session:
            yield Client(session, await session.initialize())
