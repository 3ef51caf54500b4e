"""A member's part in rounds: sign the sealed list, clear it once, vouch for its end.

    sealed -> attempted -> boxed -> signed
    sealed | attempted | boxed -> abandoned

Each step is durable before anybody hears of it. A list is attempted once, because a second attempt could be
steered by what the first one opened. `boxed` is the last step before nets are revealed: from here on the
peers may hold a result that this member has not seen, so its part of the sealed totals is kept, and it adopts
the result once t+1 members signed it, one of whom at least is honest and evaluated it. A member that signed
never abandons, and one that abandoned never signs (certificates.py says what follows).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from commitments.errors import CommitmentsError, DecodeError, VerificationError
from darkpool import certificates, eip712
from darkpool.book import Book
from darkpool.committee.evaluator import Evaluator, EvaluatorFailed
from darkpool.committee.opening import Session
from darkpool.committee.seat import Seat
from darkpool.committee.session import Clearing
from darkpool.committee.transport import Mesh
from darkpool.errors import DarkpoolError, OrderRefused, RoundAborted, Unavailable
from darkpool.listing import RoundResult, SealedList
from darkpool.message import Message
from darkpool.results import read_result, result_fields, result_signatures
from darkpool.state import VenueState
from darkpool.store.member_store import MemberStore
from darkpool.store.records import AttemptRow, AttemptState
from darkpool.types import Address, Signature

MAX_STEP_SECONDS: Final = 600
SEAL_SLACK_SECONDS: Final = 30

log = logging.getLogger("darkpool.member")


class Rounds:
    """One member's rounds; `evaluator` is its owner's to start and replace."""

    def __init__(self, seat: Seat, state: VenueState, store: MemberStore, mesh: Mesh) -> None:
        self._seat, self._state, self._store, self._mesh = seat, state, store, mesh
        self.evaluator: Evaluator | None = None

    def _sealed(self, request: Message) -> tuple[Book, SealedList, bytes]:
        book = self._state.book(request)
        sealed = book.sealed
        if sealed is None or sealed.round != request.integer("round", 1):
            raise OrderRefused("round: it is not sealed at this member", "send it the log")
        return book, sealed, sealed.digest(book.terms.domain)

    async def sign(self, request: Message) -> Message:
        """Its signature of the sealed list, if the sealing time is true. Repeated, the same."""
        _, sealed, digest = self._sealed(request)
        attempt = self._store.attempt(digest)
        if attempt is not None and attempt.state is AttemptState.ABANDONED:
            raise OrderRefused(f"round {sealed.round}: this member has abandoned it")
        signature = eip712.sign_digest(digest, self._seat.signing_key)
        if attempt is None:
            late = int(time.time()) - sealed.sealed_at
            if abs(late) > SEAL_SLACK_SECONDS:
                raise OrderRefused(
                    f"time: sealed {late} s ago, more than {SEAL_SLACK_SECONDS} s by this member's clock",
                    "synchronise the clocks",
                )
            attempt = AttemptRow(
                digest, sealed.market, sealed.round, AttemptState.SEALED, sealed.root, signature=signature
            )
            self._store.record(attempt)
            log.info(
                "sealed round %d: %d orders, root %s", sealed.round, len(sealed.orders), sealed.root.hex()
            )
        return Message("signed", {"root": sealed.root.hex()}, [signature])

    async def clear(self, request: Message) -> Message:
        """Clear the list with the peers, once; reply as `outcome`."""
        book, sealed, digest = self._sealed(request)
        attempt = self._store.attempt(digest)
        if attempt is None or attempt.state is not AttemptState.SEALED:
            state = "not signed" if attempt is None else attempt.state
            raise OrderRefused(
                f"round {sealed.round}: it is {state} at this member, and cleared at most once"
            )
        if self.evaluator is None or not self.evaluator.alive:
            raise Unavailable("evaluator: not started", "committee")
        timeout = float(request.integer("timeout", 1, MAX_STEP_SECONDS))
        self._store.record(replace(attempt, state=AttemptState.ATTEMPTED))

        def keep(boxes: Mapping[Address, bytes]) -> None:
            self._store.record(
                replace(attempt, state=AttemptState.BOXED, payload=_boxes_message(boxes).encode())
            )

        session = Session(self._seat, self._mesh, book.terms.chain_id, digest, timeout)
        try:
            result = await Clearing(session, self.evaluator, book.terms, sealed, keep).run()
        except (DarkpoolError, CommitmentsError, EvaluatorFailed) as error:
            self._mesh.abort(digest, str(error))
            raise RoundAborted(f"round {sealed.round}: {error}") from None
        finally:
            self._mesh.forget(digest)
        return self._signed(book, digest, result)

    def _signed(self, book: Book, digest: bytes, result: RoundResult) -> Message:
        """Sign the result, durably, and answer with it."""
        attempt = self._store.attempt(digest)
        if attempt is None:
            raise OrderRefused("round: this member did not sign its list")
        signature = eip712.sign_digest(self._state.result_digest(book, result), self._seat.signing_key)
        boxes = _read_boxes(attempt.payload)
        blobs = [signature, *(boxes[account] for account in result.nets)]
        outcome = Message("outcome", {"state": AttemptState.SIGNED, **result_fields(result)}, blobs)
        self._store.record(
            replace(attempt, state=AttemptState.SIGNED, payload=outcome.encode(), signature=signature)
        )
        return outcome

    async def outcome(self, request: Message) -> Message:
        """How far it went; the result with signature and boxes if it signed one."""
        _, _, digest = self._sealed(request)
        attempt = self._store.attempt(digest)
        if attempt is not None and attempt.state is AttemptState.SIGNED:
            return Message.decode(attempt.payload)
        return Message("outcome", {"state": "none" if attempt is None else attempt.state})

    async def adopt(self, request: Message) -> Message:
        """Sign a result that t+1 members signed and this one missed in the last step; as `outcome`."""
        book, _, digest = self._sealed(request)
        attempt = self._store.attempt(digest)
        if attempt is not None and attempt.state is AttemptState.SIGNED:
            return Message.decode(attempt.payload)
        result = read_result(request)
        due = AttemptState.BOXED if result.crossed else AttemptState.ATTEMPTED
        if attempt is None or attempt.state is not due:
            raise OrderRefused(
                f"adopt: this member's part is {attempt.state if attempt else 'not begun'}, not {due}"
            )
        self._check_vouched(self._state.result_digest(book, result), request.blobs)
        log.info("adopting a result that %d members signed", len(request.blobs))
        return self._signed(book, digest, result)

    def _check_vouched(self, signed: bytes, signatures: Sequence[bytes]) -> None:
        members = set(self._state.signers.addresses.values())
        try:
            found = {eip712.recover_digest(signed, signature) for signature in signatures}
        except VerificationError as error:
            raise DecodeError("signatures", str(error)) from None
        needed = self._state.signers.threshold + 1
        if found - members or len(found) < needed:
            raise OrderRefused(f"adopt: {len(found & members)}/{needed} members signed this result")

    def check_boxes(self, entry: Message) -> None:
        """A result that carries this member's signature carries its sealed totals too, whole and unchanged.

        Raises OrderRefused: else the operator could keep accounts from learning their fills.
        """
        _, _, digest = self._sealed(entry)
        attempt = self._store.attempt(digest)
        if attempt is None or attempt.state is not AttemptState.SIGNED or attempt.signature is None:
            return
        signatures, boxed = result_signatures(entry), entry.fields.get("boxed")
        if attempt.signature not in signatures:
            return
        mine = Message.decode(attempt.payload).blobs[1:]
        boxes = list(entry.blobs[len(signatures) :])
        if not isinstance(boxed, list) or (mine and self._seat.index not in boxed):
            raise OrderRefused("result: it lacks this member's sealed totals", "log those it sent")
        if mine and boxes[boxed.index(self._seat.index) :: len(boxed)] != list(mine):
            raise OrderRefused("result: it lacks this member's sealed totals", "log those it sent")

    async def abandon(self, request: Message) -> Message:
        """A promise never to sign a result of this list. Refused once it has."""
        book, sealed, digest = self._sealed(request)
        attempt = self._store.attempt(digest)
        if attempt is not None and attempt.state is AttemptState.SIGNED:
            raise OrderRefused(f"round {sealed.round}: this member has signed a result of it")
        if attempt is None or attempt.state is not AttemptState.ABANDONED:
            signed = certificates.abandon_digest(book.terms.domain, digest)
            attempt = AttemptRow(
                digest,
                sealed.market,
                sealed.round,
                AttemptState.ABANDONED,
                sealed.root,
                signature=Signature(eip712.sign_digest(signed, self._seat.signing_key)),
            )
            self._store.record(attempt)
        return Message("abandoned", {}, [attempt.signature or b""])


def _boxes_message(boxes: Mapping[Address, bytes]) -> Message:
    return Message("boxes", {"accounts": [a.hex() for a in boxes]}, list(boxes.values()))


def _read_boxes(payload: bytes) -> dict[Address, bytes]:
    if not payload:
        return {}
    message = Message.decode(payload)
    accounts = [Address(bytes.fromhex(a)) for a in message.fields["accounts"]]
    return dict(zip(accounts, message.blobs, strict=True))
