"""Rounds that crossed and are not settled, and the settlements that windows net them into.

    result of a round  ->  Cleared, unsettled  ->  window: Pending  ->  settled | void

A round's result is certified by 2t+1 members' signatures (EIP-712, domain of the vault) of

    Cleared(bytes32 sealed,bytes32 transcript,bytes32 deltas,bytes32 nullifiers)

where `sealed` is the digest every member signed for the list, and deltas and nullifiers are hashes of the
round's own rows, as in a settlement. A window takes the oldest unsettled rounds, of whatever markets. Each
round conserves every token by itself, so any number of them makes a settlement that does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from darkpool import eip712
from darkpool.eip712 import keccak256
from darkpool.errors import SettlementRefused
from darkpool.listing import RoundResult, SealedList, token_movements
from darkpool.netting import token_index, transcript_hash
from darkpool.order import Terms
from darkpool.settlement import (
    Delta,
    NullifierRow,
    Settlement,
    check_rows,
    delta_rows,
    nullifier_rows,
    row_hashes,
)
from darkpool.settlement_gas import MAX_SETTLEMENT_GAS, estimate
from darkpool.types import Address, Nonce, RoundId, TokenIndex, address_hex

MAX_ROUNDS: Final = 16
"""Of one settlement: the arbiter takes no more in a contest or a refutation."""

_CLEARED_TYPE = "Cleared(bytes32 sealed,bytes32 transcript,bytes32 deltas,bytes32 nullifiers)"


@dataclass(frozen=True, slots=True)
class Cleared:
    """A round with a result, as it will be settled. Raises SettlementRefused if its rows are no such thing.

    `at`      when the log had the result, unix seconds
    `ends`    until when, by the chain's clock, a settlement with it can land
    `gross`   by token, the quanta that changed hands before netting
    """

    market: bytes
    round: RoundId
    at: int
    sealed_at: int
    ends: int
    root: bytes
    transcript: bytes
    deltas: tuple[Delta, ...]
    nullifiers: tuple[NullifierRow, ...]
    gross: tuple[tuple[TokenIndex, int], ...]

    def __post_init__(self) -> None:
        check_rows(self.deltas, self.nullifiers)

    def digest(self, domain: eip712.Domain, sealed: bytes) -> bytes:
        """What members sign for this result of the list with the digest `sealed`."""
        values = (sealed, self.transcript, *row_hashes(self.deltas, self.nullifiers))
        return eip712.digest(domain, _CLEARED_TYPE, values)


@dataclass(frozen=True, slots=True)
class Flow:
    """What a settlement moves of a token, in quanta: traded by its rounds, and left after netting."""

    token: TokenIndex
    gross: int
    net: int


@dataclass(frozen=True, slots=True)
class Pending:
    """A settlement of some rounds that is not final yet. It can land until `ends` (chain time)."""

    settlement: Settlement
    rounds: tuple[Cleared, ...]

    @property
    def ends(self) -> int:
        """The earliest end of its rounds: the contract's window counts from the earliest sealing time."""
        return min(cleared.ends for cleared in self.rounds)

    @property
    def flows(self) -> tuple[Flow, ...]:
        """By token, ascending."""
        gross, net = Counter[TokenIndex](), Counter[TokenIndex]()
        for cleared in self.rounds:
            gross.update(dict(cleared.gross))
        for delta in self.settlement.deltas:
            net[delta.token] += max(delta.amount, 0)
        return tuple(Flow(token, gross[token], net[token]) for token in sorted(gross))


def cleared_round(
    terms: Terms, sealed: SealedList, listed: Iterable[tuple[Address, Nonce]], result: RoundResult, at: int
) -> Cleared:
    """What a crossing result of a sealed list comes to; `listed`: account and nonce of each of its orders.

    The orders of every account that traded are spent. Raises ConfigError for a price that is not on the grid,
    SettlementRefused for nets that are none.
    """
    market = terms.market
    nets = {(token_index(terms, m.token), m.account): m.amount for m in token_movements(terms, result)}
    base, quote = (token_index(terms, token) for token in (market.base, market.quote))
    traded = [(base, result.volume * market.lot), (quote, result.volume * market.grid.price(result.price))]
    return Cleared(
        market=market.id,
        round=sealed.round,
        at=at,
        sealed_at=sealed.sealed_at,
        ends=sealed.sealed_at + terms.settle_window,
        root=sealed.root,
        transcript=transcript_hash(terms, sealed, result),
        deltas=delta_rows(nets),
        nullifiers=nullifier_rows((a, nonce) for a, nonce in listed if a in result.nets),
        gross=tuple(sorted(traded)),
    )


def netting_ratio(gross: int, net: int) -> float | None:
    """Quanta traded for each that moves; None if all of it cancels out."""
    return round(gross / net, 4) if net else None


def window(rounds: Sequence[Cleared], number: int, epoch: int) -> Pending:
    """The settlement of those rounds. Raises SettlementRefused if it is above a bound."""
    if len(rounds) > MAX_ROUNDS:
        raise SettlementRefused(
            f"settlement: {len(rounds)} rounds, at most {MAX_ROUNDS}",
            "split the rounds over several settlements",
        )
    settlement = Settlement(
        id=number,
        epoch=epoch,
        sealed_at=min(cleared.sealed_at for cleared in rounds),
        root=keccak256(b"".join(cleared.root for cleared in rounds)),
        transcript=keccak256(b"".join(cleared.transcript for cleared in rounds)),
        deltas=_netted(rounds),
        nullifiers=_merged(row for cleared in rounds for row in cleared.nullifiers),
    )
    gas = estimate(len(settlement.deltas), len(settlement.nullifiers))
    if gas > MAX_SETTLEMENT_GAS:
        raise SettlementRefused(
            f"settlement: up to {gas} gas, at most {MAX_SETTLEMENT_GAS}",
            "split the rounds over several settlements",
        )
    return Pending(settlement, tuple(rounds))


def fitting(rounds: Sequence[Cleared]) -> int:
    """How many of the first rounds make one settlement within its bounds; one always does, by the book's."""
    for count in range(len(rounds), 1, -1):
        try:
            window(rounds[:count], 1, 1)
        except SettlementRefused:
            continue
        return count
    return min(len(rounds), 1)


def estimated_gas(rounds: Sequence[Cleared]) -> int:
    """Most gas that the settlement of those rounds takes, were it one."""
    rows = {(row.account, row.word) for cleared in rounds for row in cleared.nullifiers}
    moved = {(row.token, row.account) for cleared in rounds for row in cleared.deltas}
    return estimate(len(moved), len(rows))


def _netted(rounds: Iterable[Cleared]) -> tuple[Delta, ...]:
    nets = Counter[tuple[TokenIndex, Address]]()
    for cleared in rounds:
        for delta in cleared.deltas:
            nets[delta.token, delta.account] += delta.amount
    return delta_rows(nets)


def _merged(rows: Iterable[NullifierRow]) -> tuple[NullifierRow, ...]:
    masks: dict[tuple[Address, int], int] = {}
    for row in rows:
        mask = masks.get((row.account, row.word), 0)
        if mask & row.mask:
            raise SettlementRefused(f"word {row.word} of {address_hex(row.account)}: a nonce is spent twice")
        masks[row.account, row.word] = mask | row.mask
    merged = (NullifierRow(account, word, mask) for (account, word), mask in masks.items())
    return tuple(sorted(merged, key=lambda row: row.key))
