"""Server-sent events as they come in (WHATWG HTML, section 9.2), of bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from commitments.errors import DecodeError
from darkpool import jsontext
from darkpool.errors import PeerFault

MAX_EVENT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """One event: `kind` is order, fill, round or account; `data` its JSON object."""

    id: int
    kind: str
    data: Mapping[str, Any] = field(repr=False)


class EventReader:
    """Takes bytes, gives events. Raises PeerFault for what is no stream of the venue's events."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Event]:
        """The events that are complete with these bytes."""
        text = (self._rest + data).replace(b"\r\n", b"\n")
        *blocks, self._rest = text.split(b"\n\n")
        if len(self._rest) > MAX_EVENT:
            raise PeerFault(f"an event of over {MAX_EVENT} bytes", peer="venue")
        return [event for event in map(_event, blocks) if event is not None]


def _event(block: bytes) -> Event | None:
    fields: dict[bytes, bytes] = {}
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name in {b"id", b"event", b"data"}:
            fields[name] = value.removeprefix(b" ")
    if b"data" not in fields:
        return None  # a comment that keeps the connection alive
    number, kind = fields.get(b"id", b""), fields.get(b"event", b"")
    try:
        data = jsontext.parsed(fields[b"data"], "event")
    except DecodeError as error:
        raise PeerFault(str(error), peer="venue") from None
    if not (number.isdigit() and len(number) < 20) or not isinstance(data, dict) or len(kind) > 32:  # noqa: PLR2004
        raise PeerFault("an event without id or data", peer="venue")
    return Event(int(number), kind.decode("ascii", "replace"), data)
