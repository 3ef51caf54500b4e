"""The vault's whole state from its log alone, as an outsider would rebuild it."""

# ruff: noqa: ANN401  # web3 makes contract objects from an ABI at run time

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from darkpool.eip712 import keccak256

Key = tuple[Any, ...]


class Rebuilt:
    """Addresses as checksummed text, as the log has them; closed requests are left out."""

    def __init__(self, vault: Any, logs: Iterable[Any]) -> None:
        self.balances: Counter[Key] = Counter()  # (token, account): quanta
        self.bits: Counter[Key] = Counter()  # (account, word): mask
        self.withdrawals: dict[Key, Key] = {}  # (account, token): (quanta, ready_at)
        self.cancels: dict[Key, Key] = {}  # (account, word): (mask, ready_at)
        self.committee: Key = ()  # epoch, members, threshold, guardian
        self.proposal: Key = ()  # the same, ready_at
        self.paused = False
        self.frozen = False
        self.held_until = 0
        self.settled = 0
        self.rows: dict[int, list[int]] = {}  # of settlements in force
        kinds = {event.topic: event for event in vault.events}
        for entry in logs:
            if entry["address"] == vault.address:
                event = kinds["0x" + bytes(entry["topics"][0]).hex()].process_log(entry)
                getattr(self, f"_{event['event']}")(**event["args"])

    def _Deposit(self, token: int, account: str, quanta: int) -> None:
        self.balances[token, account] += quanta

    def _WithdrawalRequested(self, token: int, account: str, quanta: int, ready_at: int) -> None:
        self.withdrawals[account, token] = (quanta, ready_at)

    def _Withdrawn(self, token: int, account: str, quanta: int, units: int) -> None:
        assert units >= 0
        self.balances[token, account] -= quanta
        del self.withdrawals[account, token]

    def _CancelRequested(self, account: str, word: int, mask: int, ready_at: int) -> None:
        self.cancels[account, word] = (self.cancels.get((account, word), (0,))[0] | mask, ready_at)

    def _Cancelled(self, account: str, word: int, mask: int) -> None:
        assert self.cancels.pop((account, word))[0] == mask
        self.bits[account, word] |= mask

    def _Settled(self, id: int, deltas: list[int], nullifiers: list[Any], **_: Any) -> None:  # noqa: A002
        self.settled += 1
        assert id == self.settled
        assert not self.frozen
        self.rows[id] = deltas
        self._move(deltas, 1)
        for row in nullifiers:
            place = _address(row["key"] >> 96), row["key"] & (2**96 - 1)
            assert not self.bits[place] & row["mask"]
            self.bits[place] |= row["mask"]

    def _move(self, deltas: list[int], sign: int) -> None:
        for row in deltas:
            magnitude = row & (2**87 - 1)
            amount = -magnitude if row >> 87 & 1 else magnitude
            self.balances[row >> 248, _address(row >> 88)] += sign * amount

    def _Convicted(self, id: int, until: int) -> None:  # noqa: A002
        assert id in self.rows
        self.held_until = until

    def _Unwound(self, id: int) -> None:  # noqa: A002
        assert id == max(self.rows)
        self._move(self.rows.pop(id), -1)

    def _CommitteeFrozen(self, epoch: int) -> None:
        assert epoch == self.committee[0]
        self.frozen = True

    def _CommitteeProposed(
        self, epoch: int, members: list[str], threshold: int, guardian: str, ready_at: int
    ) -> None:
        self.proposal = (epoch, members, threshold, guardian, ready_at)

    def _CommitteeActivated(self, epoch: int, members: list[str], threshold: int, guardian: str) -> None:
        self.committee = (epoch, members, threshold, guardian)
        self.frozen = False
        assert not self.proposal or self.proposal[:4] == self.committee
        self.proposal = ()

    def _SettlingPaused(self, guardian: str) -> None:
        assert (self.paused, guardian) == (False, self.committee[3])
        self.paused = True

    def _SettlingResumed(self, guardian: str) -> None:
        assert (self.paused, guardian) == (True, self.committee[3])
        self.paused = False


def _address(number: int) -> str:
    """EIP-55 text of the lowest 20 bytes."""
    plain = f"{number & (2**160 - 1):040x}"
    digest = keccak256(plain.encode()).hex()
    return "0x" + "".join(c.upper() if d >= "8" else c for c, d in zip(plain, digest, strict=False))
