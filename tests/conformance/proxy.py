"""What stands between the official suite and the gate, because the suite sends no key and calls bare names.

`python proxy.py --listen PORT --to HOST:PORT --record FILE [--key-file FILE --prefix PREFIX]`

With a prefix it adds the key, puts the prefix before the names of tools and prompts on their way in (body and
`Mcp-Name`, each where it is, so that a difference stays one) and takes it away from lists on their way out.
Without one it only writes down what passes: that is how the gate's own messages to the backend are seen.

Invariants: nothing is held back (every piece of a response is written on as it comes); a client that goes
takes its upstream connection with it; Host, Origin and every other header pass as they are.
"""
import argparse
import asyncio
import base64
import binascii
import contextlib
import datetime
import itertools
import json

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 16 * 1024 * 1024
RECORDED_BYTES_MAX = 32 * 1024
PIECE_BYTES = 64 * 1024
# Which list a method answers with; the names in it are stripped.
LISTS = {"tools/list": "tools", "prompts/list": "prompts"}
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "proxy-connection"}


class Head:
    """A start line, and headers as they were written."""

    def __init__(self, raw):
        lines = raw.decode("latin-1").split("\r\n")
        self.start = lines[0]
        self.headers = [line.split(":", 1) for line in lines[1:] if ":" in line]

    def get(self, name):
        return next((value.strip() for known, value in self.headers if known.lower() == name), None)

    def without(self, names):
        return [(name, value) for name, value in self.headers if name.lower() not in names]

    def text(self):
        return "\r\n".join([self.start, *(f"{name}:{value}" for name, value in self.headers)])


async def read_head(reader):
    raw = await reader.readuntil(b"\r\n\r\n")
    return Head(raw[:-4])


async def pieces(reader, head, may_end_with_connection):
    """The body, piece by piece as it arrives, without its framing."""
    if "chunked" in (head.get("transfer-encoding") or "").lower():
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            if size == 0:
                while (await reader.readline()).strip():
                    pass  # trailers
                return
            yield await reader.readexactly(size)
            await reader.readexactly(2)
    length = head.get("content-length")
    if length is not None:
        left = int(length)
        while left > 0:
            piece = await reader.read(min(left, PIECE_BYTES))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece
    elif may_end_with_connection:
        while piece := await reader.read(PIECE_BYTES):
            yield piece


class Names:
    """Puts the prefix before names, and takes it away."""

    def __init__(self, prefix):
        self.prefix = prefix

    def into_body(self, message):
        """Whether `message`, a request, was changed."""
        params = message.get("params")
        if not isinstance(params, dict):
            return False
        holder = params
        if message.get("method") == "completion/complete":
            holder = params.get("ref")
            if not isinstance(holder, dict) or holder.get("type") != "ref/prompt":
                return False
        elif message.get("method") not in ("tools/call", "prompts/get"):
            return False
        if not isinstance(holder.get("name"), str):
            return False
        holder["name"] = self.prefix + holder["name"]
        return True

    def into_header(self, value):
        """The white space around the name stays: it is what one of the checks is about."""
        name = value.strip()
        if name.startswith("=?base64?") and name.endswith("?="):
            with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                plain = self.prefix + base64.b64decode(name[9:-2], validate=True).decode()
                return f" =?base64?{base64.b64encode(plain.encode()).decode()}?="
        start = value.index(name) if name else len(value)
        return value[:start] + self.prefix + value[start:]

    def out_of(self, text, kind):
        """A response with a list, as text: the same without prefixes."""
        try:
            message = json.loads(text)
            listed = message["result"][kind]
            for one in listed:
                one["name"] = one["name"].removeprefix(self.prefix)
        except (ValueError, KeyError, TypeError, AttributeError):
            return text if isinstance(text, str) else text.decode("utf-8", "replace")
        return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


class Record:
    """What passed, to be read by people."""

    def __init__(self, path):
        self.file = open(path, "a", encoding="utf-8")
        self.numbers = itertools.count(1)

    def note(self, arrow, number, text):
        now = datetime.datetime.now().strftime("%H:%M:%S.%f")[:-3]
        if len(text) > RECORDED_BYTES_MAX:
            text = f"{text[:RECORDED_BYTES_MAX]}\n[{len(text) - RECORDED_BYTES_MAX} more characters]"
        self.file.write(f"{now} {arrow} #{number} {text.strip()}\n\n")
        self.file.flush()


class Proxy:
    def __init__(self, options):
        self.host, port = options.to.rsplit(":", 1)
        self.port = int(port)
        self.record = Record(options.record)
        self.names = Names(options.prefix) if options.prefix else None
        self.key = open(options.key_file, encoding="utf-8").read().strip() if options.key_file else None

    async def serve(self, reader, writer):
        number = next(self.record.numbers)
        upstream = None
        try:
            head = await read_head(reader)
            body = b"".join([piece async for piece in pieces(reader, head, False)])
            if len(body) > BODY_BYTES_MAX:
                raise ValueError("the body is too large for this proxy")
            self.record.note("->", number, f"{head.text()}\n\n{body.decode('utf-8', 'replace')}")
            method, body = self._inward(head, body)
            upstream_reader, upstream = await asyncio.open_connection(self.host, self.port, limit=HEAD_BYTES_MAX)
            upstream.write(self._request(head, body))
            await upstream.drain()
            await self._while_client_stays(reader, self._answer(upstream_reader, writer, number, method))
        except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            if isinstance(error, asyncio.IncompleteReadError) and not error.partial and upstream is None:
                return  # a connection that was opened and never used
            self.record.note("!!", number, f"{type(error).__name__}: {error}")
        finally:
            for side in (upstream, writer):
                if side is not None:
                    side.close()

    async def _while_client_stays(self, reader, answering):
        """One request for each connection: whatever comes after it, an end most likely, ends this too."""
        answer = asyncio.ensure_future(answering)
        gone = asyncio.ensure_future(reader.read(1))
        done, waiting = await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if answer in done:
            answer.result()
        else:
            raise ConnectionAbortedError("the client went away")

    def _inward(self, head, body):
        """The JSON-RPC method, and the body with prefixes; the header is changed in `head`."""
        try:
            message = json.loads(body)
            method = message["method"]
        except (ValueError, KeyError, TypeError):
            return None, body
        if self.names is None:
            return method, body
        if self.names.into_body(message):
            body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        if method in ("tools/call", "prompts/get"):
            head.headers = [
                (name, self.names.into_header(value) if name.lower() == "mcp-name" else value)
                for name, value in head.headers
            ]
        return method, body

    def _request(self, head, body):
        taken = HOP_BY_HOP | ({"authorization"} if self.key else set())
        lines = [head.start, *(f"{name}:{value}" for name, value in head.without(taken))]
        if self.key:
            lines.append(f"Authorization: Bearer {self.key}")
        if body or head.get("content-length") is not None:
            lines.append(f"Content-Length: {len(body)}")
        lines.append("Connection: close")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def _answer(self, reader, writer, number, method):
        head = await read_head(reader)
        self.record.note("<-", number, head.text())
        lines = [head.start, *(f"{name}:{value}" for name, value in head.without(HOP_BY_HOP))]
        bodiless = head.start.split(" ")[1] in ("204", "304")
        lines += ["Connection: close", "Content-Length: 0" if bodiless else "Transfer-Encoding: chunked"]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        await writer.drain()
        if bodiless:
            return
        async for piece in self._outward(pieces(reader, head, True), head, method):
            self.record.note("<-", number, piece.decode("utf-8", "replace"))
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _outward(self, body, head, method):
        """Lists lose their prefixes; anything else passes as it comes."""
        kind = LISTS.get(method) if self.names else None
        if kind is None:
            async for piece in body:
                yield piece
            return
        is_stream = "text/event-stream" in (head.get("content-type") or "")
        held = b""
        async for piece in body:
            held += piece
            if is_stream:
                *lines, held = held.split(b"\n")
                for line in lines:
                    yield self._line(line, kind) + b"\n"
        if held:
            yield self._line(held, kind) if is_stream else self.names.out_of(held, kind).encode()

    def _line(self, line, kind):
        if not line.startswith(b"data:"):
            return line
        return b"data: " + self.names.out_of(line[5:].strip().decode(), kind).encode()


async def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--listen", type=int, required=True)
    arguments.add_argument("--to", required=True)
    arguments.add_argument("--record", required=True)
    arguments.add_argument("--key-file")
    arguments.add_argument("--prefix", default="")
    options = arguments.parse_args()
    proxy = Proxy(options)
    # Both loopbacks: `localhost` is whichever the suite's resolver says first.
    hosts = ["127.0.0.1"]
    with contextlib.suppress(OSError):
        probe = await asyncio.start_server(lambda *_: None, "::1", 0)
        probe.close()
        hosts.append("::1")
    server = await asyncio.start_server(proxy.serve, hosts, options.listen, limit=HEAD_BYTES_MAX)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
