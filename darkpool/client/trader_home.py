"""The trader's folder: the keystore, and the little that must be durable before anything is signed.

    keystore.json            the account's key and seed, encrypted (darkpool/keystore.py)
    trader.json              the venue it trades at, the next nonce, nonces signed for that may be free,
                             and families the trader wants no more of
    outbox/HASH.order        signed, and not yet known to be accepted or refused
    orders/HASH.order        accepted orders as they were signed: a cache of what the venue has
    receipts/HASH.json       the operator's receipts
    terms/HASH.terms         terms of markets, which orders name by hash: a contest shows them

Whatever else there is to know follows from the venue. One process at a time may sign (`lock`).

A nonce is signed for once. One whose order was not accepted is signed for again only when a whole UTC day
lies between, for an order is good on its own day only: so a nonce has one content that can be accepted, and
the window of 512 nonces does not fill with holes.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from commitments.errors import CommitmentsError, DecodeError
from darkpool import jsontext
from darkpool.account import NONCE_WINDOW
from darkpool.client.files import make_folder, read_file, write_file
from darkpool.client.outgoing import Outgoing
from darkpool.client.venue_identity import VenueIdentity
from darkpool.errors import ConfigError, OrderRefused
from darkpool.jsonfields import Fields
from darkpool.order import MAX_ORDER_BYTES, Terms, order_hash
from darkpool.receipt import Receipt
from darkpool.types import Nonce

SPARE_NONCES: Final = 16
"""Left out after a recovery: there may be orders under them that never reached the venue."""

MAX_ENDED: Final = 1 << 16
_DAY: Final = 86_400
_VERSION: Final = 2
_MAX_STATE: Final = 1 << 22
_MAX_RECEIPT: Final = 1 << 12
_MAX_TERMS: Final = 1 << 11
_NONCE: Final = slice(163, 171)
"""Where an order's bytes have its nonce (commitments/order_statement.py)."""


@dataclass(frozen=True, slots=True)
class _State:
    """trader.json. unfilled: day on which a nonce was last signed for, if its order may not be accepted."""

    venue: VenueIdentity | None = None
    next_nonce: int | None = None
    unfilled: Mapping[int, int] = field(default_factory=dict)
    ended: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return {
            "version": _VERSION,
            "venue": None if self.venue is None else self.venue.as_json(),
            "next_nonce": self.next_nonce,
            "unfilled": {str(nonce): day for nonce, day in sorted(self.unfilled.items())},
            "ended": list(self.ended),
        }

    @staticmethod
    def from_json(value: object) -> _State:
        fields = Fields(value, "trader", ("version", "venue", "next_nonce", "unfilled", "ended"))
        fields.uint("version", _VERSION, _VERSION)
        venue, unfilled = fields.member("venue"), fields.member("unfilled")
        if not isinstance(unfilled, dict) or len(unfilled) > NONCE_WINDOW + SPARE_NONCES:
            raise DecodeError("unfilled", "not an object of nonces")
        days = Fields(unfilled, "unfilled", tuple(unfilled))
        ended = fields.array("ended", MAX_ENDED)
        return _State(
            None if venue is None else VenueIdentity.from_json(venue),
            None if fields.member("next_nonce") is None else fields.uint("next_nonce"),
            {int(nonce): days.uint(nonce) for nonce in unfilled},
            tuple(Fields({"root": root}, "ended", ("root",)).uint("root") for root in ended),
        )


class TraderHome:
    """One trader's folder, made if it is missing. Raises ConfigError if it cannot be used as one."""

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        for place in (folder, folder / "outbox", folder / "orders", folder / "receipts", folder / "terms"):
            make_folder(place)
        self._locked = False
        self._state = self._read()

    def __repr__(self) -> str:
        return f"TraderHome({str(self.folder)!r})"

    @property
    def keystore(self) -> Path:
        """Where the keystore is, or is to be."""
        return self.folder / "keystore.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """This process alone signs for the account. Raises ConfigError while another one may."""
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise ConfigError(
                    f"{self.folder}: another darkpool client or gateway signs for this account",
                    "use that one, or end it first",
                ) from None
            self._state, self._locked = self._read(), True
            yield
        finally:
            self._locked = False
            os.close(descriptor)

    # --- trader.json --------------------------------------------------------------------------------

    def _read(self) -> _State:
        path = self.folder / "trader.json"
        data = read_file(path, _MAX_STATE)
        if data is None:
            return _State()
        try:
            return _State.from_json(jsontext.parsed(data, "trader.json"))
        except (CommitmentsError, ValueError) as error:
            raise ConfigError(
                f"{path}: {error}", "restore it, or move the folder away and run `darkpool recover`"
            ) from None

    def check_writable(self) -> None:
        """Raises ConfigError unless this process holds the lock."""
        if not self._locked:
            raise ConfigError(f"{self.folder}: open for reading only", "open it for trading")

    def _write(self, state: _State) -> None:
        self.check_writable()
        write_file(self.folder / "trader.json", json.dumps(state.as_json(), indent=2).encode())
        self._state = state

    def fresh(self) -> None:
        """The account is new: nothing was ever signed for it."""
        self._write(replace(self._state, next_nonce=0))

    @property
    def venue(self) -> VenueIdentity | None:
        """The venue this folder trades at; None before its first visit."""
        return self._state.venue

    @property
    def has_past(self) -> bool:
        """Whether this folder knows what was signed for, and which families have ended."""
        return self._state.next_nonce is not None

    def recovered(self, known: int, now: int, ended: Sequence[int] = ()) -> None:
        """If it has no past: begin above what the venue knows, `known` nonces, and renew none of `ended`."""
        if not self.has_past:
            following = known + SPARE_NONCES
            spared = dict.fromkeys(range(known, following), now // _DAY)
            kept = tuple(ended)[-MAX_ENDED:]
            self._write(replace(self._state, next_nonce=following, unfilled=spared, ended=kept))

    def pin(self, found: VenueIdentity) -> None:
        """Keep the venue's identity, or raise ConfigError if it is not the one kept."""
        if self._state.venue is None:
            if self._locked:
                self._write(replace(self._state, venue=found))
            return
        kept, now = self._state.venue.as_json(), found.as_json()
        for name, value in kept.items():
            if now[name] != value:
                raise ConfigError(
                    f"venue: its {name} is {now[name]}, and was {value} when this folder first traded there",
                    "somebody else answers, or the venue was set up anew: ask the operator; "
                    "if it is right, trade there with another --home",
                )

    @property
    def ended(self) -> frozenset[int]:
        """Families, by their root's nonce, of which nothing is to be renewed."""
        return frozenset(self._state.ended)

    def end(self, root: int) -> None:
        """Renew nothing of a family any more. The oldest are forgotten beyond MAX_ENDED."""
        if root not in self._state.ended:
            self._write(replace(self._state, ended=(*self._state.ended, root)[-MAX_ENDED:]))

    def cancelled(self, root: int) -> None:
        """The venue knows by now that the family has ended."""
        self._write(replace(self._state, ended=tuple(r for r in self._state.ended if r != root)))

    def reserve(self, count: int, lowest_unused: int, used: Collection[int], now: int) -> list[Nonce]:
        """That many nonces to sign for, recorded before they are returned.

        lowest_unused, and those used above it, are the venue's. Raises OrderRefused if the window has not so
        many left.
        """
        known = max(used, default=lowest_unused - 1) + 1
        self.recovered(known, now)
        day, state = now // _DAY, self._state
        unfilled = {n: d for n, d in state.unfilled.items() if n >= lowest_unused and n not in used}
        following = max(self.next_nonce, known)
        again = [n for n, signed in sorted(unfilled.items()) if signed + 1 < day]
        chosen = [*again, *range(following, following + count)][:count]
        if max(chosen) >= lowest_unused + NONCE_WINDOW:
            raise OrderRefused(
                f"nonce: {max(chosen)} would be beyond the window of {NONCE_WINDOW} from {lowest_unused}, "
                "because the orders of earlier ones were not accepted",
                "send fewer at once; the day after tomorrow those nonces can be used again",
                "nonce-beyond-window",
            )
        self._write(
            replace(
                state,
                next_nonce=max(following, max(chosen) + 1),
                unfilled={**unfilled, **dict.fromkeys(chosen, day)},
                # A nonce signed for anew names another family than the one that was taken back.
                ended=tuple(root for root in state.ended if root not in chosen),
            )
        )
        return [Nonce(n) for n in chosen]

    def unsigned(self, nonces: Sequence[Nonce]) -> None:
        """Nothing was signed for these after all."""
        if nonces:
            free = dict.fromkeys(map(int, nonces), 0)
            self._write(replace(self._state, unfilled={**self._state.unfilled, **free}))

    @property
    def next_nonce(self) -> int:
        """All nonces signed for are below."""
        return self._state.next_nonce or 0

    # --- orders and receipts ------------------------------------------------------------------------

    def put(self, outgoing: Outgoing) -> None:
        """Keep a signed order until its answer is known."""
        write_file(self._outbox(outgoing.hash), outgoing.encode())

    def outgoing(self) -> list[Outgoing]:
        """What has no answer yet, oldest first."""
        paths = []
        for path in (self.folder / "outbox").glob("*.order"):
            with suppress(FileNotFoundError):  # whoever holds the lock had its answer just now
                paths.append((path.stat().st_mtime_ns, path))
        found = []
        for _, path in sorted(paths):
            data = read_file(path, 2 * MAX_ORDER_BYTES)
            if data is None:
                continue
            try:
                found.append(Outgoing.decode(data))
            except DecodeError as error:
                raise ConfigError(f"{path}: {error}", "move it away; the venue never had it") from None
        return found

    def refused(self, digest: bytes) -> None:
        """The order was not taken, or never sent, or is taken back."""
        self._outbox(digest).unlink(missing_ok=True)

    def accepted(self, outgoing: Outgoing, receipt: Receipt) -> None:
        """The order is in the log: keep it with its receipt."""
        self.keep_receipt(receipt)
        self.keep_order(outgoing.raw)
        self._outbox(outgoing.hash).unlink(missing_ok=True)

    def keep_order(self, raw: bytes) -> None:
        """Keep an accepted order's bytes, so as not to ask for them again."""
        write_file(self._order(order_hash(raw)), raw)

    def order(self, digest: bytes) -> bytes | None:
        """An accepted order's bytes, if they are here and are the ones of that hash."""
        raw = read_file(self._order(digest), MAX_ORDER_BYTES)
        return raw if raw is not None and order_hash(raw) == digest else None

    def signed(self, nonces: Collection[int]) -> list[bytes]:
        """Orders of those nonces that were signed here, accepted or not, as far as their bytes are kept."""
        paths = (self.folder / "orders").glob("*.order")
        found = [data for path in paths if (data := read_file(path, MAX_ORDER_BYTES)) is not None]
        found += [outgoing.raw for outgoing in self.outgoing()]
        return [raw for raw in found if int.from_bytes(raw[_NONCE]) in nonces]

    def keep_terms(self, terms: Terms) -> None:
        """Keep a market's terms."""
        if self.terms(terms.hash) is None:
            write_file(self._terms(terms.hash), terms.preimage)

    def terms(self, digest: bytes) -> bytes | None:
        """The preimage of the terms of that hash, if it is here."""
        data = read_file(self._terms(digest), _MAX_TERMS)
        return data if data is not None and sha256(data).digest() == digest else None

    def _terms(self, digest: bytes) -> Path:
        return self.folder / "terms" / f"{digest.hex()}.terms"

    def keep_receipt(self, receipt: Receipt) -> None:
        """Keep a receipt."""
        data = json.dumps(receipt.as_json(), indent=2).encode()
        write_file(self.folder / "receipts" / f"{receipt.subject.hex()}.json", data)

    def receipt(self, subject: bytes) -> Receipt | None:
        """A receipt kept. Raises ConfigError if the file was changed."""
        path = self.folder / "receipts" / f"{subject.hex()}.json"
        data = read_file(path, _MAX_RECEIPT)
        try:
            return None if data is None else Receipt.from_json(jsontext.parsed(data, "receipt"))
        except DecodeError as error:
            raise ConfigError(f"{path}: {error}", "move it away and run `darkpool recover`") from None

    def _outbox(self, digest: bytes) -> Path:
        return self.folder / "outbox" / f"{digest.hex()}.order"

    def _order(self, digest: bytes) -> Path:
        return self.folder / "orders" / f"{digest.hex()}.order"
