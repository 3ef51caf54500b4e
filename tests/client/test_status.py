"""What the venue says of itself while a part of it is silent."""

from __future__ import annotations

from darkpool.venue import SILENCE_SECONDS
from tests.client.conftest import Play
from tests.client.plain_venue import PlainVenue


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
