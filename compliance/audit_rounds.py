"""Rounds and settlements of an audit file: against what members signed, and against the chain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from commitments.encoding import Reader
from commitments.order_statement import Statement
from compliance.audit_file import AuditedRound, AuditedSettlement
from compliance.audit_outcome import NetLine
from compliance.fills import check_settled
from darkpool.client.answers import MarketInfo
from darkpool.client.round_fills import cleared_of, signed_result
from darkpool.errors import PeerFault
from darkpool.listing import RoundResult, token_movements
from darkpool.order import Terms, order_hash
from darkpool.settlement import Settlement
from darkpool.store.records import SettlementState
from darkpool.types import Address
from darkpool.windows import window


class Published(Protocol):
    """A file of what a venue publishes: markets by id, orders by hash, rounds."""

    @property
    def infos(self) -> Mapping[bytes, MarketInfo]:
        """Raises DecodeError."""

    @property
    def orders(self) -> Mapping[bytes, bytes]:
        """Accepted bytes."""

    def round(self, market: bytes, number: int) -> AuditedRound | None:
        """One of its rounds."""


def info_of(file: Published, market: bytes) -> MarketInfo:
    """A market of the file. Raises PeerFault."""
    found = file.infos.get(market)
    if found is None:
        raise PeerFault("one of its markets is not described", peer="venue")
    return found


def terms_of(file: Published, row: AuditedRound) -> Terms:
    """The terms a round was cleared under, by an order of its list: key, lot and grid may be others now.

    Raises PeerFault, CommitmentsError.
    """
    info, hashes = info_of(file, row.market), row.view.hashes
    raw = next((file.orders[h] for h in hashes if h in file.orders), row.sample)
    if not raw or order_hash(raw) not in hashes:
        raise PeerFault(f"round {row.number}: no order of it was handed out", peer="venue")
    s = Statement.read(Reader(raw))
    if s.market != row.market:
        raise PeerFault(f"round {row.number}: an order of another market is in it", peer="committee")
    return info.terms_of(s)


def result_of(file: Published, row: AuditedRound) -> RoundResult:
    """A round's result, certified by the committee. Raises PeerFault."""
    signers = info_of(file, row.market).tenures.at(row.view.sealed_at).signers
    return signed_result(terms_of(file, row), signers, row.view, row.result)


def rounds_of(
    file: Published, settlement: AuditedSettlement
) -> list[tuple[Terms, AuditedRound, RoundResult]]:
    """The rounds of a settlement with their terms and results. Raises PeerFault."""
    found = []
    for market, number in settlement.rounds:
        row = file.round(market, number)
        if row is None or not row.result:
            raise PeerFault(f"{_name(settlement)}: round {number} of it was not handed out", peer="venue")
        found.append((terms_of(file, row), row, result_of(file, row)))
    return found


def check_rounds(
    file: Published, settlement: AuditedSettlement, market: bytes, numbers: Iterable[int]
) -> None:
    """Whether a settlement is the sum of its rounds, those of the market among them, and signed.

    Raises PeerFault, SettlementRefused.
    """
    signed, info, name = settlement.signed, info_of(file, market), _name(settlement)
    if signed.domain != info.terms.domain:
        raise PeerFault(f"{name}: it is for another vault", peer="venue")
    for number in numbers:
        if (market, number) not in settlement.rounds:
            raise PeerFault(f"{name}: round {number} is not among its rounds", peer="venue")
    cleared = []
    for terms, row, result in rounds_of(file, settlement):
        row.view.check(info.terms.domain, info.tenures.at(row.view.sealed_at).signers)
        cleared.append(cleared_of(terms, row.view, result))
    s = signed.settlement
    if window(cleared, s.id, s.epoch).settlement != s:
        raise PeerFault(f"{name}: it is not the sum of its rounds", peer="committee")
    then = info.tenures.at(s.sealed_at)  # no signer goes before what was sealed is settled or void
    signed.check(set(then.signers.addresses.values()), then.quorum)


def check_landed(file: Published, settlement: AuditedSettlement, account: Address) -> int:
    """Whether the vault did what the settlement says, for the account to begin with; how many it did: 0 or 1.

    Raises PeerFault.
    """
    signed, landed = settlement.signed.settlement, settlement.landed
    if landed is None:
        return 0
    if settlement.state == SettlementState.VOID:
        if landed.settlement == signed:
            raise PeerFault(f"{_name(settlement)}: on chain, and said to be void", peer="venue")
        return 0
    results = [(terms, result) for terms, _, result in rounds_of(file, settlement)]
    check_settled(results, account, _moved(file, landed.settlement, account))
    if landed.settlement != signed:
        raise PeerFault(f"{_name(settlement)}: the chain has another one", peer="committee")
    return 1


def net_lines(file: Published, settlement: AuditedSettlement, account: Address) -> list[NetLine]:
    """What it moves for the account, by its rounds and by the chain, a line a token. Raises PeerFault."""
    due: Counter[Address] = Counter()
    for terms, _, result in rounds_of(file, settlement):
        for movement in token_movements(terms, result):
            if movement.account == account:
                due[movement.token] += movement.amount
    landed = settlement.landed
    moved = {} if landed is None else _moved(file, landed.settlement, account)
    number, place = settlement.signed.settlement.id, (settlement.block, settlement.tx_hash)
    return [
        NetLine(number, token, due[token], None if landed is None else moved.get(token, 0), *place)
        for token in sorted(due.keys() | moved.keys())
    ]


def _moved(file: Published, settlement: Settlement, account: Address) -> dict[Address, int]:
    """What a settlement does to the account, in quanta by token."""
    tokens = next(iter(file.infos.values())).terms.tokens
    mine = [delta for delta in settlement.deltas if delta.account == account]
    if any(delta.token >= len(tokens) for delta in mine):
        raise PeerFault(f"settlement {settlement.id}: of a token the vault has not", peer="venue")
    return {tokens[delta.token]: delta.amount for delta in mine}


def _name(settlement: AuditedSettlement) -> str:
    return f"settlement {settlement.signed.settlement.id}"
