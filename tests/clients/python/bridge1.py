"""The SDK's first line (mcp 1.x) over standard input and output: it starts `wicket connect`.

Environment, beside what suite.py names: WICKET_BINARY.
"""
import contextlib
import os

from mcp import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

import mcp1


class Client(mcp1.Client):
    line = "bridge1"


@contextlib.asynccontextmanager
async def connect(url, key):
    program = StdioServerParameters(
        command=os.environ["WICKET_BINARY"], args=["connect", url], env={"WICKET_KEY": key}
    )
    async with stdio_client(program) as (read, write):
        async with ClientSession(read, write) as session:
            yield Client(session, await session.initialize())
