"""The account's cases: kept in the trader's folder while the venue answers, judged with the seed alone.

    cases/TRANSCRIPT.json    public part of a settlement's case (darkpool/contest_file.py)
    orders/HASH.order        own orders as they were signed

With both a settlement can be contested when nobody but the chain is there.
"""

from __future__ import annotations

from typing import Final

from commitments.errors import DecodeError
from darkpool.client.connection import Connection
from darkpool.client.files import make_folder, read_file, write_file
from darkpool.client.published import published_case, sealed_order, settlement_of
from darkpool.client.trader_home import TraderHome
from darkpool.contest import Case, Evidence, OpenOrder, SettledRecord, evidence
from darkpool.contest_file import MAX_BYTES, decoded, encoded
from darkpool.errors import ConfigError, OrderRefused, PeerFault
from darkpool.keystore import Keystore
from darkpool.order import order_hash


class Disputes:
    """Cases of one account. Coroutines are of steps.py."""

    def __init__(self, connection: Connection, keystore: Keystore, home: TraderHome) -> None:
        self._connection, self._keystore, self.home = connection, keystore, home

    async def case(self, record: SettledRecord) -> Case:
        """The account's case of that settlement, kept from now on with its orders. Raises as VenueApi."""
        case = await published_case(self._connection, record, self._keystore.address)
        for at in case.listed:
            if self.home.order(at.hash) is None:
                words = case.rounds[at.round]
                raw = await sealed_order(self._connection, words.market, words.number, at.hash)
                self.home.keep_order(raw)
        keep_case(self.home, case)
        return case

    async def look(self, market: bytes, number: int) -> tuple[SettledRecord, Evidence | None]:
        """The settlement of a round, and what shows that it wronged the account.

        What it did is the chain's word if there is a chain, else the venue's. Raises as `case`, ChainError.
        """
        record = await settlement_of(self._connection, market, number)
        if self._connection.has_chain:
            landed = await self._connection.on_chain(lambda chain: chain.landed(record.id))
            record = record if landed is None else SettledRecord.of(landed, 0)
        if not record.deltas_of(self._keystore.address):
            return record, None
        return record, judged(await self.case(record), self._keystore, self.home)


def keep_case(home: TraderHome, case: Case) -> None:
    """Keep a case whose rounds are known."""
    if case.rounds:
        make_folder(home.folder / "cases")
        write_file(home.folder / "cases" / f"{case.record.transcript.hex()}.json", encoded(case))


def kept_case(home: TraderHome, record: SettledRecord) -> Case | None:
    """The case that was kept of a settlement. Raises ConfigError for a file that was changed."""
    path: Final = home.folder / "cases" / f"{record.transcript.hex()}.json"
    data = read_file(path, MAX_BYTES)
    if data is None:
        return None
    try:
        case = decoded(data, record)
    except DecodeError as error:
        raise ConfigError(f"{path}: {error}", "move it away") from None
    return case if case.rounds else None


def judged(case: Case, keystore: Keystore, home: TraderHome) -> Evidence | None:
    """What shows that a settlement wronged the account; None: what it did can have come of fills.

    An order in a list is denied only if its bytes show that the account did not make it; one in no known list
    is opened as it was signed. Raises OrderRefused where bytes are missing.
    """
    orders = {}
    consumed = set(case.record.consumed(keystore.address))
    for at in case.listed:
        if home.order(at.hash) is None and at.nonce in consumed:
            raise OrderRefused(
                f"order: the bytes of {at.hash.hex()} are not in {home.folder}",
                "run it once while the venue answers, or with the folder that signed it",
            )
    known = [home.order(at.hash) for at in case.listed if at.nonce in consumed]
    if case.rounds and consumed - {at.nonce for at in case.listed}:
        known += home.signed(consumed)
    for raw in known:
        if raw is not None:
            try:
                orders[order_hash(raw)] = OpenOrder.of(raw, keystore.seed, home.terms)
            except PeerFault:
                continue  # not of this account
    return evidence(case, keystore.address, orders)
