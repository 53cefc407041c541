"""The MCP server that stands behind the gate while the official suite runs: PyPI `mcp`, both eras.

`python main.py --port PORT [--era both|session|stateless]`. Serving one era alone means to look like a server
that knows no other: that is how the pairings of unlike eras are driven.
"""
import argparse
import json
import logging
import warnings

import mcp_types as types
import uvicorn
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ToolsListChanged
from mcp.shared.exceptions import MCPDeprecationWarning, MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

import prompts
import resources
import tools
from asking import Call, NeedsInput, is_stateless
from events import RecentEvents

SESSION_ID = "mcp-session-id"
VERSION = b"mcp-protocol-version"
# The SDK warns of what 2026-07-28 deprecates; serving it to the session era is the purpose here.
warnings.simplefilter("ignore", MCPDeprecationWarning)
HINTS = {
    "tools/list": CacheHint(ttl_ms=1_000, scope="public"),
    "prompts/list": CacheHint(ttl_ms=1_000, scope="public"),
    "resources/list": CacheHint(ttl_ms=60_000, scope="public"),
    "resources/templates/list": CacheHint(ttl_ms=60_000, scope="public"),
    "resources/read": CacheHint(ttl_ms=0, scope="private"),
    "server/discover": CacheHint(ttl_ms=60_000, scope="public"),
}


class World:
    """What changes while the server runs, and who is told."""

    def __init__(self):
        self.bus = InMemorySubscriptionBus()
        self.has_tool = True
        self.has_prompt = True
        # By session id: the latest handle on it, the level of its log, what it watches.
        self.sessions = {}
        self.levels = {}
        self.watched = {}

    def meet(self, ctx):
        if not is_stateless(ctx) and ctx.request is not None:
            self.sessions[ctx.request.headers.get(SESSION_ID)] = ctx.session

    async def change_tools(self):
        self.has_tool = not self.has_tool
        await self.bus.publish(ToolsListChanged())
        await self._tell(types.ToolListChangedNotification())

    async def change_prompts(self):
        self.has_prompt = not self.has_prompt
        await self.bus.publish(PromptsListChanged())
        await self._tell(types.PromptListChangedNotification())

    async def _tell(self, notification):
        for name, session in list(self.sessions.items()):
            try:
                await session.send_notification(notification)
            except Exception:  # a session that has ended
                self.sessions.pop(name, None)


class Conversation(Call):
    """A call, with what tools may do while they run."""

    def __init__(self, ctx, params, world):
        super().__init__(ctx, params)
        self.world = world

    async def log(self, words):
        level = self.world.levels.get(_session_of(self.ctx), "debug")
        # Of the levels that are asked for here, `info` is let through by these.
        if self.stateless or level in ("debug", "info"):
            await self.ctx.session.send_log_message("info", words, "suite", related_request_id=self.ctx.request_id)

    async def progress(self, done, total):
        await self.ctx.session.report_progress(done, total)


def _session_of(ctx):
    return ctx.request.headers.get(SESSION_ID) if ctx.request is not None else None


class Backend(Server):
    def create_initialization_options(self, notification_options=None, **more):
        changes = NotificationOptions(prompts_changed=True, resources_changed=True, tools_changed=True)
        return super().create_initialization_options(changes, **more)


def whole(ctx, result):
    """The result as this era has it: 2026-07-28 says that nothing is missing."""
    return {"resultType": "complete", **result} if is_stateless(ctx) else result


def build():
    world = World()

    async def list_tools(ctx, params):
        world.meet(ctx)
        return whole(ctx, {"tools": tools.definitions(world.has_tool)})

    async def list_prompts(ctx, params):
        world.meet(ctx)
        return whole(ctx, {"prompts": prompts.definitions(world.has_prompt)})

    async def list_resources(ctx, params):
        return whole(ctx, {"resources": resources.definitions()})

    async def list_templates(ctx, params):
        return whole(ctx, {"resourceTemplates": resources.templates()})

    async def answer(registry, ctx, params):
        world.meet(ctx)
        if params.name not in registry:
            raise MCPError(types.INVALID_PARAMS, f"there is no {params.name}")
        try:
            return whole(ctx, await registry[params.name][2](Conversation(ctx, params, world)))
        except NeedsInput as needed:
            return needed.result

    async def call_tool(ctx, params):
        return await answer(tools.TOOLS, ctx, params)

    async def get_prompt(ctx, params):
        return await answer(prompts.PROMPTS, ctx, params)

    async def read_resource(ctx, params):
        contents = resources.read(str(params.uri))
        if contents is None:
            raise MCPError(types.INVALID_PARAMS, "Resource not found", {"uri": str(params.uri)})
        return whole(ctx, {"contents": contents})

    async def complete(ctx, params):
        values = [word for word in ("paris", "park", "party", "testing") if word.startswith(params.argument.value)]
        return whole(ctx, {"completion": {"values": values, "total": len(values), "hasMore": False}})

    async def set_level(ctx, params):
        world.levels[_session_of(ctx)] = params.level
        return {}

    async def subscribe(ctx, params):
        world.watched.setdefault(_session_of(ctx), set()).add(str(params.uri))
        return {}

    async def unsubscribe(ctx, params):
        world.watched.get(_session_of(ctx), set()).discard(str(params.uri))
        return {}

    return Backend(
        "wicket-conformance-backend",
        version="1.0.0",
        cache_hints=HINTS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_completion=complete,
        on_set_logging_level=set_level,
        on_subscribe_resource=subscribe,
        on_unsubscribe_resource=unsubscribe,
        on_subscriptions_listen=ListenHandler(world.bus),
    )


def one_era(app, era):
    """`app`, as if it had never heard of the other era."""

    async def narrowed(scope, receive, send):
        if scope["type"] != "http":
            return await app(scope, receive, send)
        headers = dict(scope["headers"])
        version = headers[VERSION].decode("latin-1") if VERSION in headers else None
        known = version is None or version in HANDSHAKE_PROTOCOL_VERSIONS
        if era == "session" and not known:
            message = f"Bad Request: Unsupported protocol version: {version}"
            error = {"code": types.INVALID_REQUEST, "message": message}
            return await _answer(send, 400, {"jsonrpc": "2.0", "id": "server-error", "error": error})
        if era == "stateless" and scope["method"] != "POST":
            return await _answer(send, 405, {"error": "POST alone is served here"}, [(b"allow", b"POST")])
        if era == "stateless" and known:
            data = {"supported": list(MODERN_PROTOCOL_VERSIONS), "requested": version or ""}
            message = "Unsupported protocol version"
            error = {"code": types.UNSUPPORTED_PROTOCOL_VERSION, "message": message, "data": data}
            return await _answer(send, 400, {"jsonrpc": "2.0", "id": await _id_of(receive), "error": error})
        return await app(scope, receive, send)

    return narrowed


async def _id_of(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    try:
        return json.loads(body).get("id")
    except (ValueError, AttributeError):
        return None


async def _answer(send, status, body, headers=()):
    head = [(b"content-type", b"application/json"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--era", choices=("both", "session", "stateless"), default="both")
    given = arguments.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = build().streamable_http_app(event_store=RecentEvents(), retry_interval=500)
    if given.era != "both":
        app = one_era(app, given.era)
    # A stream that is still open must not keep the process when it is told to end.
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", timeout_graceful_shutdown=1)


if __name__ == "__main__":
    main()
