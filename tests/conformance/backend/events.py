"""What was sent on the streams of the session era, kept for clients that reconnect. Bounded: the oldest go first."""
from collections import deque

from mcp.server.streamable_http import EventMessage, EventStore

EVENTS_MAX = 2_000


class RecentEvents(EventStore):
    def __init__(self):
        self._events = deque(maxlen=EVENTS_MAX)
        self._count = 0

    async def store_event(self, stream_id, message):
        self._count += 1
        self._events.append((self._count, stream_id, message))
        return str(self._count)

    async def replay_events_after(self, last_event_id, send_callback):
        last = int(last_event_id) if last_event_id.isdigit() else 0
        stream = next((stream for number, stream, _ in self._events if number == last), None)
        if stream is None:
            return None
        for number, of_stream, message in list(self._events):
            # A priming event has no message: it was only a place to resume from.
            if number > last and of_stream == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream
