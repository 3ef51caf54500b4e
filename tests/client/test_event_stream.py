"""Events however the bytes come in, and nothing that is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkpool.client.event_stream import MAX_EVENT, EventReader
from darkpool.errors import PeerFault

STREAM = (
    b": ping\n\n"
    b'id: 7\nevent: round\ndata: {"round": 1, "state": "open"}\n\n'
    b'event: order\r\nid: 8\r\ndata: {"order": "ab"}\r\n\r\n'
    b": ping\n\n"
)


@given(st.lists(st.integers(1, 30)))
def test_events_do_not_depend_on_how_the_bytes_are_cut(sizes: list[int]) -> None:
    reader, events, rest = EventReader(), [], STREAM
    for size in sizes:
        events += reader.feed(rest[:size])
        rest = rest[size:]
    events += reader.feed(rest)
    assert [(e.id, e.kind) for e in events] == [(7, "round"), (8, "order")]
    assert events[0].data == {"round": 1, "state": "open"}


@pytest.mark.parametrize(
    "block",
    [
        b"data: {}\n\n",
        b"id: x\ndata: {}\n\n",
        b"id: -1\ndata: {}\n\n",
        b"id: " + b"9" * 20 + b"\ndata: {}\n\n",
        b"id: 1\ndata: []\n\n",
        b"id: 1\ndata: {\n\n",
        b"id: 1\ndata: " + b"[" * 40 + b"\n\n",
        b"id: 1\nevent: " + b"x" * 33 + b"\ndata: {}\n\n",
        b"x" * (MAX_EVENT + 1),
    ],
)
def test_what_is_no_event_is_the_venues_fault(block: bytes) -> None:
    with pytest.raises(PeerFault):
        EventReader().feed(block)
