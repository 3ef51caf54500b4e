"""`darkpool refute` answers every contest that it can, the most urgent first."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from darkpool import arbiter
from darkpool.arbiter import Contested, Standing
from darkpool.cli.refute import _answered
from darkpool.errors import ChainRefused
from darkpool.types import Address, PrivateKey

DECOY, URGENT, LATER = (Address(bytes(19) + bytes([i])) for i in (1, 2, 3))


def test_one_that_somebody_else_answered_does_not_hinder_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ends = {LATER: 3_000, DECOY: 1_000, URGENT: 2_000}
    sent: list[Address] = []

    def refute(*arguments: Any) -> SimpleNamespace:  # noqa: ANN401 - as of arbiter.refute
        sent.append(arguments[-1])
        if arguments[-1] == DECOY:
            raise ChainRefused("contests: none is open of this account and settlement", "")
        return SimpleNamespace(tx_hash=b"x")

    monkeypatch.setattr(arbiter, "settled_of_late", lambda _: [SimpleNamespace(id=1)])
    found = [Contested(1, account, at, 1, ()) for account, at in ends.items()]
    monkeypatch.setattr(arbiter, "contested", lambda _: found)
    monkeypatch.setattr(arbiter, "standing", lambda _, __, account: Standing(1, ends[account], closed=False))
    monkeypatch.setattr(arbiter, "refute", refute)

    def refutation(found: Contested, _: object) -> Any:  # noqa: ANN401 - as of arbiter.refute
        return SimpleNamespace(text="", function="", arguments=found.account)

    chain: Any = SimpleNamespace(now=lambda: 0)
    rows = _answered(chain, refutation, PrivateKey(bytes(31) + b"\1"), dry_run=False)
    assert sent == [DECOY, URGENT, LATER]
    assert ["failed" in row for row in rows] == [True, False, False]
