"""A real MCP server (PyPI `mcp` 2.x) whose lists and resources change when its tools are called, and that tells
so: in the session era to whoever subscribed, in the stateless era on `subscriptions/listen`.

    news.py PORT|stdio session|stateless [NAME] [REFUSED]

Subscriptions to the URIs that stand in the file REFUSED, one a line, are refused. The tool `end` ends the process. Over
HTTP each request that comes is a line on standard output: its method and its `Mcp-Session-Id`.
"""
import os
import sys
import warnings

import anyio
import mcp_types as types
import uvicorn
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.stdio import stdio_server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from starlette.responses import JSONResponse

warnings.simplefilter("ignore", MCPDeprecationWarning)

PORT, ERA = sys.argv[1], sys.argv[2]
NAME = sys.argv[3] if len(sys.argv) > 3 else "news"
REFUSED = sys.argv[4] if len(sys.argv) > 4 else os.devnull
LISTS = ["tools/list", "prompts/list", "resources/list", "resources/templates/list", "resources/read", "server/discover"]


class World:
    def __init__(self):
        self.bus = InMemorySubscriptionBus()
        self.prompts = ["greet", "part"]
        # Sessions by the resources that they subscribed to, and the one that reads the lists.
        self.watched = {}
        self.sessions = []


class News(Server):
    def create_initialization_options(self, notification_options=None, **more):
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(changes, **more)


def refuse(uris):
    with open(REFUSED, encoding="utf-8") as file:
        refused = file.read().split()
    if any(str(uri) in refused for uri in uris or []):
        raise MCPError(types.INVALID_PARAMS, "not this one")


def whole(result):
    return {"resultType": "complete", **result} if ERA == "stateless" else result


def build():
    world = World()

    async def list_tools(ctx, params):
        if ERA == "session":
            world.sessions = [ctx.session]
        schema = {"type": "object", "properties": {"uri": {"type": "string"}}}
        return whole({"tools": [{"name": name, "inputSchema": schema} for name in ["touch", "grow", "end"]]})

    listen = ListenHandler(world.bus)

    async def listened(ctx, params):
        refuse(params.notifications.resource_subscriptions)
        return await listen(ctx, params)

    async def call_tool(ctx, params):
        if params.name == "end":
            os._exit(0)
        if params.name == "touch":
            uri = (params.arguments or {})["uri"]
            await world.bus.publish(ResourceUpdated(uri=uri))
            for session in world.watched.get(uri, []):
                await session.send_resource_updated(uri)
        else:
            world.prompts.append(f"more{len(world.prompts)}")
            await world.bus.publish(PromptsListChanged())
            for session in world.sessions:
                await session.send_prompt_list_changed()
        return whole({"content": [{"type": "text", "text": "done"}]})

    async def list_prompts(ctx, params):
        # Two pages.
        first = params is None or params.cursor is None
        names = world.prompts[:1] if first else world.prompts[1:]
        page = {"prompts": [{"name": name, "title": f"A \u00e9 {name}"} for name in names]}
        return whole({**page, "nextCursor": "2"} if first else page)

    async def list_resources(ctx, params):
        uris = [f"{NAME}://one", f"{NAME}://two", "shared://both"]
        return whole({"resources": [{"uri": uri, "name": f"{NAME} {uri}"} for uri in uris]})

    async def list_templates(ctx, params):
        return whole({"resourceTemplates": [{"uriTemplate": NAME + "://item/{id}", "name": "item"}]})

    async def read_resource(ctx, params):
        return whole({"contents": [{"uri": str(params.uri), "text": f"of {NAME}"}]})

    async def subscribe(ctx, params):
        if "forbidden" in str(params.uri):
            raise MCPError(types.INVALID_PARAMS, "not this one")
        refuse([params.uri])
        world.watched.setdefault(str(params.uri), []).append(ctx.session)
        return {}

    async def unsubscribe(ctx, params):
        world.watched.pop(str(params.uri), None)
        return {}

    return News(
        NAME,
        version="1",
        cache_hints={method: CacheHint(ttl_ms=60_000, scope="public") for method in LISTS},
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=listened,
    )


def of_one_era(app):
    async def narrowed(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        print(scope["method"], headers.get("mcp-method", "-"), headers.get("mcp-session-id", "-"), flush=True)
        modern = headers.get("mcp-protocol-version", "").startswith("2026")
        if ERA == "session" and modern:
            return await JSONResponse({"error": "unknown revision"}, status_code=400)(scope, receive, send)
        if ERA == "stateless" and not modern:
            return await JSONResponse({"error": "unknown revision"}, status_code=405)(scope, receive, send)
        return await app(scope, receive, send)

    return narrowed


async def over_stdio():
    server = build()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if PORT == "stdio":
    anyio.run(over_stdio)
else:
    uvicorn.run(of_one_era(build().streamable_http_app()), host="127.0.0.1", port=int(PORT), log_level="error",
                timeout_graceful_shutdown=1)
