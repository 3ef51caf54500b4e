"""The trader's own node hangs, or is not there: an error soon, which shows nothing of its URL."""

from __future__ import annotations

import socket
import time

import pytest

from darkpool.client.connection import CHAIN_SECONDS
from darkpool.errors import ChainError
from tests.client.conftest import Play
from tests.client.plain_venue import PlainVenue


@pytest.mark.parametrize("listens", [True, False])
def test_a_node_that_does_not_answer_is_named_within_seconds(play: Play, listens: bool) -> None:
    async def scenario(v: PlainVenue) -> None:
        with socket.socket() as hanging:
            hanging.bind(("127.0.0.1", 0))
            if listens:
                hanging.listen()  # connections are made, and nothing is ever read
            port = hanging.getsockname()[1]
            started = time.monotonic()
            with pytest.raises(ChainError, match="the node does not answer") as caught:
                async with v.trader("ann", rpc_url=f"http://ann:hunter2@127.0.0.1:{port}/key"):
                    pass
        assert time.monotonic() - started < CHAIN_SECONDS + 3
        assert "DARKPOOL_RPC_URL" in caught.value.hint
        for part in ("hunter2", "127.0.0.1", str(port), "/key"):
            assert part not in caught.value.rendered()

    play(scenario)
