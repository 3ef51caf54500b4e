"""A member's part in rounds: sign the sealed list, clear it, vouch for its end.

    sealed -> attempted -> boxed -> signed
    sealed | attempted | boxed -> abandoned

Each step is durable before anybody hears of it. A list may be attempted again by other players, numbered
upwards, and every attempt reveals the same: a member keeps a code of each value it saw revealed, and ends an
attempt that shows another, so that none can be steered by what an earlier one opened (ADR 19). `boxed` is the
last step before nets are revealed: from here on the peers may hold a result that this member has not seen, so
its part of the sealed totals is kept, and it adopts the result once t+1 members signed it, one of whom at
least is honest and evaluated it. A member that signed never abandons, and one that abandoned never signs
(certificates.py says what follows).
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from commitments.errors import CommitmentsError, DecodeError, VerificationError
from darkpool import certificates, eip712
from darkpool.book import Book
from darkpool.committee.blame import Blame, Charge, Faulted
from darkpool.committee.evaluator import Evaluator, EvaluatorFailed
from darkpool.committee.member_changes import Holder
from darkpool.committee.mesh import Mesh
from darkpool.committee.opening import Session
from darkpool.committee.seat import Seat
from darkpool.committee.session import Clearing
from darkpool.committee.steps import Attempt
from darkpool.errors import DarkpoolError, OrderRefused, Unavailable
from darkpool.listing import RoundResult, SealedList
from darkpool.message import Message
from darkpool.results import read_result, result_fields, result_signatures
from darkpool.state import VenueState
from darkpool.store.database import StoreError
from darkpool.store.member_store import MemberStore
from darkpool.store.records import AttemptRow, AttemptState, BlameRow, PinRow
from darkpool.types import Address, Signature

MAX_STEP_SECONDS: Final = 600
MAX_ATTEMPTS: Final = 8
SEAL_SLACK_SECONDS: Final = 30
EVALUATION: Final = "evaluation"  # the step that a broken evaluator is charged at

_RANK: Final = {state: rank for rank, state in enumerate(AttemptState)}

log = logging.getLogger("darkpool.member")


class Rounds:
    """One member's rounds; `evaluator` is its owner's to start and replace."""

    def __init__(self, holder: Holder, state: VenueState, store: MemberStore, mesh: Mesh) -> None:
        self._holder, self._state, self._store, self._mesh = holder, state, store, mesh
        self.evaluator: Evaluator | None = None
        self.took: Mapping[str, float] = {}  # seconds of the last attempt, by its steps

    @property
    def _seat(self) -> Seat:
        return self._holder.seat

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
        """Clear the list with the other players; reply as `outcome`. Raises Faulted if that fails."""
        book, sealed, digest = self._sealed(request)
        attempt = self._attempt(request, sealed, digest)
        timeout = float(request.integer("timeout", 1, MAX_STEP_SECONDS))
        evaluator = self.evaluator
        if evaluator is None or not evaluator.alive or evaluator.members != attempt.players:
            reason = f"evaluator: none among members {list(attempt.players)}"
            self._mesh.abort(attempt.name(self._seat), reason)  # else the others wait for us, and charge us
            if evaluator is None or evaluator.alive or evaluator.failed_by is None:
                raise Unavailable(reason, "committee")
            raise Faulted(reason, [Blame(evaluator.failed_by, Charge.OFF, EVALUATION)])
        self._advance(digest, AttemptState.ATTEMPTED, attempts=attempt.number)

        def keep(boxes: Mapping[Address, bytes]) -> None:
            self._advance(digest, AttemptState.BOXED, payload=_boxes_message(boxes).encode())

        def pin(step: str, revealed: bytes) -> None:
            code = hmac.digest(self._seat.signing_key, step.encode() + b"\x00" + digest + revealed, "sha256")
            if self._store.pinned(PinRow(digest, step, code)) != code:
                raise VerificationError(step, "it reveals another value than an earlier attempt did")

        signers, chain_id = self._state.signers, book.terms.chain_id
        session = Session(self._seat, signers, self._mesh, attempt, timeout, pin, chain_id)
        try:
            result = await Clearing(session, evaluator, book.terms, sealed, keep).run()
        except (DarkpoolError, CommitmentsError, EvaluatorFailed) as error:
            self._mesh.abort(session.name, str(error))
            blame = error.blame if isinstance(error, Faulted) else ()
            if isinstance(error, EvaluatorFailed) and error.peer is not None:
                blame = (Blame(error.peer, Charge.OFF, EVALUATION),)
            self._charge(attempt, blame)
            raise Faulted(f"round {sealed.round}, attempt {attempt.number}: {error}", blame) from None
        finally:
            self._mesh.forget(session.name)
            self.took = dict(session.took)
        return self._signed(book, digest, result)

    def _attempt(self, request: Message, sealed: SealedList, digest: bytes) -> Attempt:
        """The attempt that is asked for. Raises DecodeError, and OrderRefused unless it is the next."""
        row, players = self._store.attempt(digest), request.fields.get("members")
        if row is None or row.state is AttemptState.ABANDONED:
            state = "not signed" if row is None else row.state
            raise OrderRefused(f"round {sealed.round}: it is {state} at this member")
        number = request.integer("attempt", 1, MAX_ATTEMPTS)
        if number <= row.attempts:
            raise OrderRefused(f"attempt: {number} after {row.attempts}", "number them upwards")
        committee = self._seat.committee
        if not isinstance(players, list) or not all(type(i) is int for i in players):
            raise DecodeError("members", "not a list of members")
        if players != sorted(set(players) & set(committee.indices)) or self._seat.index not in players:
            raise DecodeError("members", "they do not ascend, or this member is not among them")
        if len(players) <= 2 * committee.threshold:
            raise OrderRefused(f"members: {len(players)} of {2 * committee.threshold + 1} that it takes")
        return Attempt(digest, number, tuple(players))

    def _advance(
        self, digest: bytes, state: AttemptState, payload: bytes | None = None, attempts: int | None = None
    ) -> None:
        """Record that an attempt got so far. What an earlier one had reached, with its content, stays."""
        row = self._store.attempt(digest)
        if row is None:
            raise AssertionError("only what was signed is attempted")
        if attempts is not None:
            row = replace(row, attempts=attempts)
        if _RANK[row.state] < _RANK[state]:
            row = replace(row, state=state, payload=row.payload if payload is None else payload)
        self._store.record(row)

    def _charge(self, attempt: Attempt, blame: Sequence[Blame]) -> None:
        now = int(time.time())
        for b in blame:
            log.warning("attempt %d: charged: %s", attempt.number, b)
        if blame:
            rows = [
                BlameRow(attempt.digest, attempt.number, b.member, b.charge, b.step, now, b.evidence)
                for b in blame
            ]
            with suppress(StoreError):  # the coordinator is told all the same
                self._store.charge(rows)

    def _signed(self, book: Book, digest: bytes, result: RoundResult) -> Message:
        """Sign the result, durably, and answer with it; with the signature of before, if there is one."""
        attempt = self._store.attempt(digest)
        if attempt is None:
            raise OrderRefused("round: this member did not sign its list")
        if attempt.state is AttemptState.SIGNED:
            kept = Message.decode(attempt.payload)
            if read_result(kept) != result:
                raise VerificationError("result", "it is another one than this member has signed")
            return kept
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
                attempts=0 if attempt is None else attempt.attempts,
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
