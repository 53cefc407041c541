"""The SDK's second line in the stateless era, over `wicket connect`, at a server that checks headers.

Environment: WICKET_BINARY, WICKET_URL, WICKET_KEY, WICKET_CANCELLED (where the server writes).
"""
import os
import sys

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters

PROGRAM = StdioServerParameters(
    command=os.environ["WICKET_BINARY"],
    args=["connect", os.environ["WICKET_URL"]],
    env={"WICKET_KEY": os.environ["WICKET_KEY"]},
)


async def main():
    async with Client(PROGRAM) as client:
        assert client.protocol_version == "2026-07-28", client.protocol_version
        result = await client.call_tool("in region", {"region": "grüße", "count": 7})
        assert result.content[0].text == "7 in grüße", result
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert sorted(names) == ["in region", "steps"], names
        result = await client.call_tool("in region", {"region": " =?base64?x?= "})
        assert result.content[0].text == "0 in  =?base64?x?= ", result
        note = await client.read_resource("note://ünder/tea")
        assert note.contents[0].text == "a note on tea", note

        seen = []

        async def on_progress(progress, total, message):
            seen.append(progress)

        result = await client.call_tool("steps", {"number": 4}, progress_callback=on_progress)
        assert result.content[0].text == "done" and seen == [1, 2, 3, 4], (result, seen)

        scope = anyio.CancelScope()

        async def give_up(progress, total, message):
            scope.cancel()

        with anyio.fail_after(20), scope:
            await client.call_tool("steps", {"number": 600}, progress_callback=give_up)
        assert scope.cancelled_caught
        # The server hears of it while the client stays.
        with anyio.fail_after(10):
            while not os.path.exists(os.environ["WICKET_CANCELLED"]):
                await anyio.sleep(0.05)
        result = await client.call_tool("steps", {"number": 1})
        assert result.content[0].text == "done", result
    print("the stateless era passes")


anyio.run(main)
sys.exit(0)
