"""The venue's public list of settlements, read by anybody: no account, no key, nothing believed unchecked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from commitments.errors import CommitmentsError, DecodeError
from darkpool import jsontext
from darkpool.client.answers import picked
from darkpool.client.shells import Blocking
from darkpool.client.venue_api import PAGE, Call
from darkpool.errors import ConfigError, OrderRefused, SettlementRefused
from darkpool.jsonfields import Fields, hex_text, read_hex
from darkpool.settlement import MAX_TOKENS
from darkpool.signed_settlement import MAX_BYTES, SignedSettlement
from darkpool.store.records import SettlementState

T = TypeVar("T")

_DIGEST_BYTES: Final = 32
_NAMES: Final = ("digest", "state", "payload", "rounds", "flows", "tx_hash", "block", "gas")
_MOST_ROUNDS: Final = 64
_MOST_GROSS: Final = _MOST_ROUNDS << 64


@dataclass(frozen=True, slots=True)
class ListedSettlement:
    """A settlement as the venue lists it: what it does is checked, the rest is the venue's word.

    `rounds` were netted into it; flows: of each token, the quanta traded by them, and left after netting.
    """

    signed: SignedSettlement = field(repr=False)
    state: SettlementState
    rounds: int
    flows: tuple[tuple[int, int], ...]
    tx_hash: bytes | None
    block: int | None
    gas: int | None

    @staticmethod
    def of(value: object) -> ListedSettlement:
        """Raises DecodeError."""
        fields = picked(value, "settlement", *_NAMES)
        state, payload = fields.text("state"), fields.text("payload")
        if state not in set(SettlementState):
            raise DecodeError("state", f"not one of {', '.join(SettlementState)}")
        width = min(max(len(payload) - 2, 0) // 2, MAX_BYTES + 1)
        try:
            signed = SignedSettlement.decode(read_hex(payload, "payload", width))
        except (ConfigError, SettlementRefused) as error:
            raise DecodeError("payload", error.message) from None
        if fields.octets("digest", _DIGEST_BYTES) != signed.digest:
            raise DecodeError("payload", "not of the settlement it is listed as")
        tx_hash = None if fields.member("tx_hash") is None else fields.octets("tx_hash", _DIGEST_BYTES)
        block, gas = (_uint_or_none(fields, name) for name in ("block", "gas"))
        flows = [picked(flow, "flow", "gross", "net") for flow in fields.array("flows", MAX_TOKENS)]
        nets = tuple((flow.uint("gross", _MOST_GROSS), flow.uint("net")) for flow in flows)
        rounds = len(fields.array("rounds", _MOST_ROUNDS))
        return ListedSettlement(signed, SettlementState(state), rounds, nets, tx_hash, block, gas)


def listed(venue: str, limit: int, before: int | None = None) -> list[ListedSettlement]:
    """The latest settlements, newest first. Raises PeerFault, VenueRefused, ConfigError for the URL."""
    return _page(venue, limit, before)[0]


def found(venue: str, which: str) -> ListedSettlement:
    """A settlement by its digest, or the latest of an id. Raises as `listed`, and OrderRefused."""
    if which.startswith("0x"):
        try:
            digest = read_hex(which.lower(), "digest", _DIGEST_BYTES)
        except DecodeError as error:
            raise ConfigError(f"settlement: {error}", "give an id, or a digest of `settle list`") from None
        return _asked(venue, f"/settlements/{hex_text(digest)}", ListedSettlement.of)
    if not which.isdecimal():
        raise ConfigError(f"settlement: {which[:80]!r} is no id and no digest", "see `darkpool settle list`")
    before: int | None = None
    while True:
        rows, following = _page(venue, PAGE, before)
        for row in rows:
            if row.signed.settlement.id == int(which):
                return row
        if following is None or (before is not None and following >= before):
            raise OrderRefused(
                f"settlement {which[:20]}: the venue has none of that id", "see `darkpool settle list`"
            )
        before = following


def _page(venue: str, limit: int, before: int | None) -> tuple[list[ListedSettlement], int | None]:
    def read(value: object) -> tuple[list[ListedSettlement], int | None]:
        page = picked(value, "page", "items", "next")
        rows = [ListedSettlement.of(item) for item in page.array("items", limit)]
        return rows, _uint_or_none(page, "next")

    cursor = "" if before is None else f"&before={before}"
    return _asked(venue, f"/settlements?limit={limit}{cursor}", read)


def _uint_or_none(fields: Fields, name: str) -> int | None:
    return None if fields.member(name) is None else fields.uint(name)


def _asked(venue: str, path: str, of: Callable[[object], T]) -> T:
    def read(body: bytes) -> T:
        try:
            return of(jsontext.parsed(body, "answer"))
        except CommitmentsError as error:
            raise DecodeError("settlements", str(error)) from None

    call = Call("GET", path, read)

    async def ask() -> T:
        return call.result(await call.send(None, None))

    with Blocking(venue) as shell:
        return shell.run(ask())
