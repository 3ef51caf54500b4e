"""A chain whose blocks come too slowly for the vault's delays is no chain for a venue."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkpool.chain import Chain, Token, VaultTerms
from darkpool.config import Settings
from darkpool.deployment import VENUE, deploy
from darkpool.eip712 import address_of
from darkpool.errors import ConfigError
from darkpool.timing import CLOCK_SLACK_SECONDS, FRESH_BLOCKS, block_seconds, check_pace
from darkpool.types import Address
from tests.venue_support import first_committee, key_of

OPERATOR = key_of("operator")
SPARE = CLOCK_SLACK_SECONDS + 12 * (2 + FRESH_BLOCKS)
"""Just enough for two blocks of finality and one every 12 s."""


def a_chain(withdraw: int, cancel: int, window: int = 600) -> Chain:
    chain = Chain.embedded(finality=2)
    chain.fund(address_of(OPERATOR), 10**20)
    token = Token(chain.deploy_token(OPERATOR, "Base", "BASE", 18), 1)
    members = tuple(Address(bytes([i]) * 20) for i in (1, 2, 3))
    chain.deploy_vault(
        OPERATOR, VaultTerms(members, 1, (token,), window, 0, window + withdraw, window + cancel)
    )
    return chain


@pytest.mark.parametrize("withdraw, cancel", [(SPARE, 3_000), (3_000, SPARE)])
def test_the_shorter_delay_decides_to_the_second(withdraw: int, cancel: int) -> None:
    chain = a_chain(withdraw, cancel)
    check_pace(chain, 12)
    with pytest.raises(ConfigError, match=f"exceed its settle window by {SPARE} s only"):
        check_pace(chain, 12.1)


def test_the_pace_is_measured_past_a_standstill() -> None:
    chain = a_chain(3_000, 3_000)
    for _ in range(30):
        chain.advance(12)
    chain.advance(100_000)
    chain.advance(12)
    assert block_seconds(chain) == 12
    assert block_seconds(Chain.embedded()) == 0


@pytest.mark.parametrize("seconds, well", [(297, True), (298, False)])
def test_a_venue_is_set_up_only_on_a_chain_that_is_fast_enough(
    tmp_path: Path, seconds: int, well: bool
) -> None:
    """With the default vault: an hour between its delays and its window, twelve blocks and 30 s."""
    venue = {"profile": "insecure-test"}
    settings = Settings.load(tmp_path, {"venue": venue, "chain": {"block_seconds": seconds}})
    chain = Chain.embedded(settings.chain.finality_blocks)
    if well:
        deploy(tmp_path, settings, chain, *first_committee(), OPERATOR)
    else:
        with pytest.raises(ConfigError, match=r"are 3606 s; .* 3600 s only"):
            deploy(tmp_path, settings, chain, *first_committee(), OPERATOR)
    assert (tmp_path / VENUE).exists() == well
