"""What the venue says of itself while a part of it is silent."""

from __future__ import annotations

import time

import pytest

from darkpool.scheduler import Scheduler
from darkpool.venue import SILENCE_SECONDS
from tests.client.conftest import Play
from tests.client.plain_venue import OPERATOR, PlainVenue, seats
from tests.handover import propose


def test_a_chain_that_hangs_shows_before_any_call_to_it_has_failed(play: Play) -> None:
    async def scenario(v: PlainVenue) -> None:
        assert v.venue.status().chain == ""
        answered = v.venue.chain_answered
        v.venue.chain_answered = answered - SILENCE_SECONDS - 5
        assert v.venue.status().chain.startswith("no answer for ")
        v.venue.chain_trouble = "chain: no answer from the node at 127.0.0.1:1"
        assert v.venue.status().chain == v.venue.chain_trouble
        v.venue.chain_answered, v.venue.chain_trouble = answered, ""

    play(scenario)


def test_it_says_why_no_round_is_sealed_before_a_change_of_guardian(
    play: Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(v: PlainVenue) -> None:
        follow = Scheduler(v.venue)._chain
        ready_at = await v.threads.chain(propose, v.chain, seats(), OPERATOR, b"\x77" * 20)
        await follow()
        assert v.venue.status().chain == ""
        with monkeypatch.context() as patched:
            patched.setattr(time, "time", lambda: ready_at)
            await follow()
            assert v.venue.status().chain.startswith("chain: committee 2 may take office")
        await follow()
        assert v.venue.status().chain == ""

    play(scenario)
