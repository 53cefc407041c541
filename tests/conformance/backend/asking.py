"""How a tool or a prompt asks its client something, in either era.

Session era: the server's own requests, sent inside the running call. 2026-07-28: the call ends with
`input_required` and comes again with the answers; what was answered before travels in `requestState`,
signed, because the client can change it.
"""
import asyncio
import base64
import hashlib
import hmac
import json
import secrets

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

SIGNING_KEY = secrets.token_bytes(32)
ANSWER_TYPES = {
    "elicitation/create": types.ElicitResult,
    "sampling/createMessage": types.CreateMessageResult,
    "roots/list": types.ListRootsResult,
}
# What a client must have declared before it may be asked.
CAPABILITIES = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}


class NeedsInput(Exception):
    """Not an error: the call ends here, and the client comes again with the answers."""

    def __init__(self, questions, state):
        super().__init__()
        self.result = {
            "resultType": "input_required",
            "inputRequests": {
                key: question.model_dump(by_alias=True, mode="json", exclude_none=True)
                for key, question in questions.items()
            },
        }
        if state is not None:
            self.result["requestState"] = state


def elicitation(message, properties, required=None):
    schema = {"type": "object", "properties": properties}
    if required is not None:
        schema["required"] = required
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(prompt, max_tokens=100):
    said = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[said], max_tokens=max_tokens)
    )


def roots():
    return types.ListRootsRequest()


def is_stateless(ctx):
    return ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


class Call:
    """One `tools/call` or `prompts/get` while it is answered."""

    def __init__(self, ctx, params):
        self.ctx = ctx
        self.name = params.name
        self.arguments = params.arguments or {}
        self.stateless = is_stateless(ctx)
        self._given = dict(getattr(params, "input_responses", None) or {})
        state = getattr(params, "request_state", None)
        self._answers = {} if state is None else self._open(state)

    def declares(self, capability):
        declared = self.ctx.session.client_capabilities
        return getattr(declared, capability, None) is not None

    async def ask(self, questions, with_state=False):
        """The answers, by the keys of the questions, as the wire has them."""
        if not self.stateless:
            found = await asyncio.gather(*(self._send(question) for question in questions.values()))
            return dict(zip(questions, found))
        self._require(questions)
        for key, question in questions.items():
            given = self._given.get(key)
            if isinstance(given, ANSWER_TYPES[question.method]):
                self._answers[key] = _plain(given)
        if all(key in self._answers for key in questions):
            return {key: self._answers[key] for key in questions}
        raise NeedsInput(questions, self._seal() if with_state else None)

    async def _send(self, question):
        answer = await self.ctx.session.send_request(
            question,
            ANSWER_TYPES[question.method],
            metadata=ServerMessageMetadata(related_request_id=self.ctx.request_id),
        )
        return _plain(answer)

    def _require(self, questions):
        needed = {CAPABILITIES[question.method] for question in questions.values()}
        missing = {name: {} for name in sorted(needed) if not self.declares(name)}
        if missing:
            raise MCPError(
                types.MISSING_REQUIRED_CLIENT_CAPABILITY,
                f"this needs what the client did not declare: {', '.join(missing)}",
                {"requiredCapabilities": missing},
            )

    def _seal(self):
        payload = json.dumps([self.name, self._answers]).encode()
        return base64.urlsafe_b64encode(self._digest(payload) + payload).decode()

    def _open(self, state):
        try:
            raw = base64.b64decode(state, altchars=b"-_", validate=True)
            signature, payload = raw[:32], raw[32:]
            ours = hmac.compare_digest(signature, self._digest(payload))
            name, answers = json.loads(payload) if ours else (None, None)
        except ValueError:
            name = None
        if name != self.name:
            raise MCPError(types.INVALID_PARAMS, "requestState is not as this server gave it")
        return answers

    @staticmethod
    def _digest(payload):
        return hmac.new(SIGNING_KEY, payload, hashlib.sha256).digest()


def _plain(answer):
    return answer.model_dump(by_alias=True, mode="json", exclude_none=True)
