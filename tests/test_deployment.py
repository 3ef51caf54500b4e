"""Which vault a new venue takes: one that it deploys, or one that has settled nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkpool.chain import Chain
from darkpool.config import Settings
from darkpool.deployment import VENUE, deploy
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import ConfigError
from darkpool.settlement import Settlement, ordered_signatures, sign
from darkpool.types import address_hex
from tests.venue_support import first_committee, seats


def settle_nothing(chain: Chain) -> None:
    settlement = Settlement(chain.next_id(), 1, chain.sealing_time(), bytes(32), bytes(32), (), ())
    signatures = [sign(settlement, chain.domain(), seat.signing_key) for seat in seats()]
    key = fresh_key()
    chain.fund(address_of(key))
    chain.settle(settlement, ordered_signatures(settlement, chain.domain(), signatures), key)


def test_a_vault_that_has_settled_is_none_for_a_new_venue(tmp_path: Path) -> None:
    """The log of a new venue begins with settlement 1, and would halt at what it does not know."""
    chain, key = Chain.embedded(), fresh_key()
    folders = [tmp_path / str(i) for i in range(3)]
    for folder in folders:
        folder.mkdir()
    first = deploy(folders[0], Settings(), chain, *first_committee(), key)
    taken = Settings.model_validate({"chain": {"rpc_url": "http://node", "vault": address_hex(first.vault)}})
    assert deploy(folders[1], taken, chain, *first_committee(), key).vault == first.vault
    settle_nothing(chain)
    with pytest.raises(ConfigError, match="has settled before: settlement 2 is next"):
        deploy(folders[2], taken, chain, *first_committee(), key)
    assert not (folders[2] / VENUE).exists()
    again = deploy(folders[0], Settings(), chain, *first_committee(), key)
    assert again.vault == first.vault  # its own still is
