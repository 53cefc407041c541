"""The SDK's second line (mcp 2.x) over standard input and output: it starts `wicket connect`.

Environment, beside what suite.py names: WICKET_BINARY.
"""
import contextlib
import os

from mcp.client.client import Client as SdkClient
from mcp.client.stdio import StdioServerParameters

import mcp2


class Client(mcp2.Client):
    line = "bridge2"


@contextlib.asynccontextmanager
async def connect(url, key):
    program = StdioServerParameters(
        command=os.environ["WICKET_BINARY"], args=["connect", url], env={"WICKET_KEY": key}
    )
    async with SdkClient(program) as client:
        yield Client(client)
