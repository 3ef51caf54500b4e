"""The synchronous, signed steps of one attempt at a clearing, among the members that take part in it.

An attempt is named by a hash of the list that all of them signed, its number, the players and the key they
share, and so is every message of it. Each message is signed over that name, the step, who sends it, to whom
(0: the same to all) and its content, so that a wrong one is evidence against its sender.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, VerificationError
from commitments.params import FIELD_PRIME
from commitments.shamir import SHARE_BYTES, false_shares, reconstruct
from darkpool import eip712
from darkpool.committee.blame import MAX_EVIDENCE, MAX_STEP, Blame, Charge, Faulted
from darkpool.committee.mesh import Abandoned, Absent, Mesh
from darkpool.committee.seat import Seat
from darkpool.netting import Signers

_ATTEMPT_LABEL: Final = b"darkpool/v1/clearing-attempt"
_STEP_LABEL: Final = b"darkpool/v1/clearing-step"
ALL: Final = 0
"""The receiver of what everybody is told."""

Pin = Callable[[str, bytes], None]
"""(step, values revealed) -> None; raises VerificationError if others were revealed there before."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which attempt at which list, by whom: `players` ascend and are at least 2t+1 members."""

    digest: bytes
    number: int
    players: tuple[int, ...]

    def name(self, seat: Seat) -> bytes:
        """32 bytes; the same for all players that hold shares of one sharing of one key."""
        committee = seat.committee
        writer = Writer().fixed(self.digest, 32).uint(self.number, 1).var(bytes(self.players))
        writer.uint(committee.epoch, 4)
        writer.var(int(committee.key.n).to_bytes(committee.key.modulus_bytes, "big"))
        return eip712.keccak256(_ATTEMPT_LABEL + bytes(writer))


def signed_digest(name: bytes, sender: int, receiver: int, step: str, body_hash: bytes) -> bytes:
    """What a member signs of a message, in the attempt of that name."""
    writer = Writer().fixed(name, 32).uint(sender, 1).uint(receiver, 1)
    writer.var(step.encode()).fixed(body_hash, 32)
    return eip712.keccak256(_STEP_LABEL + bytes(writer))


@dataclass(frozen=True, slots=True)
class Heard:
    """What a member sent in a step, with its signature; `receiver` is 0 if it sent everybody the same."""

    sender: int
    receiver: int
    step: str
    body: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def blame(self, charge: Charge) -> Blame:
        """A charge against the sender, with this as evidence."""
        evidence = bytes(self) if len(self.body) <= MAX_EVIDENCE else b""
        return Blame(self.sender, charge, self.step, evidence)

    def __bytes__(self) -> bytes:
        writer = Writer().uint(self.sender, 1).uint(self.receiver, 1).var(self.step.encode())
        return bytes(writer.var(self.body).var(self.signature))

    def digest(self, name: bytes) -> bytes:
        """What the sender signed, in the attempt of that name."""
        return signed_digest(name, self.sender, self.receiver, self.step, eip712.keccak256(self.body))

    @staticmethod
    def parse(data: bytes) -> Heard:
        """Raises DecodeError."""
        reader = Reader(data)
        sender, receiver = reader.uint("sender", 1), reader.uint("receiver", 1)
        try:
            step = reader.var("step", MAX_STEP).decode("ascii")
        except UnicodeDecodeError:
            raise DecodeError("step", "not ASCII") from None
        body = reader.var("body", MAX_EVIDENCE)
        signature = reader.var("signature", eip712.SIGNATURE_BYTES)
        reader.end("signed message")
        return Heard(sender, receiver, step, body, signature)

    @contextmanager
    def reading(self, length: int | None = None) -> Iterator[Reader]:
        """A reader of the body. What goes wrong in the block is charged to the sender.

        Raises Faulted, also if the body is not of that length in bytes.
        """
        try:
            if length is not None and len(self.body) != length:
                raise DecodeError("message", f"{len(self.body)} bytes where {length} are due")  # noqa: TRY301
            yield Reader(self.body)
        except DecodeError as error:
            charge = self.blame(Charge.MALFORMED)
            raise Faulted(f"step {self.step}: member {self.sender}: {error}", [charge]) from None


@dataclass(slots=True)
class Steps:
    """A member's end of an attempt. `timeout` is how many seconds it waits for the others in one step.

    `took`: seconds by what the names of steps begin with, each with all that came before it since the last.
    """

    seat: Seat = field(repr=False)
    signers: Signers
    mesh: Mesh = field(repr=False)
    attempt: Attempt
    timeout: float
    pin: Pin = field(repr=False)
    name: bytes = field(init=False)
    took: defaultdict[str, float] = field(init=False, repr=False, default_factory=lambda: defaultdict(float))
    _since: float = field(init=False, repr=False, default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        self.name = self.attempt.name(self.seat)

    @property
    def players(self) -> tuple[int, ...]:
        """Who takes part, this member too."""
        return self.attempt.players

    @property
    def peers(self) -> tuple[int, ...]:
        """The other players."""
        return tuple(i for i in self.players if i != self.seat.index)

    async def exchange(self, step: str, out: Mapping[int, bytes]) -> dict[int, Heard]:
        """One step in which everybody tells every other something of its own. Raises Faulted."""
        return await self._exchange(step, {peer: self._signed(step, peer, out[peer]) for peer in self.peers})

    async def broadcast(self, step: str, body: bytes) -> dict[int, Heard]:
        """One step in which everybody tells all others the same. Raises Faulted."""
        return await self._exchange(step, dict.fromkeys(self.peers, self._signed(step, ALL, body)), ALL)

    async def reveal(self, step: str, shares: Sequence[int], *, local: bool = False) -> list[int]:
        """Open shared values to the players. All shares must lie on one polynomial of degree t.

        `local`: shares follow from openings alone. Then a false one is its sender's; a share that an
        evaluation gave may have been made false by whoever dealt part of it.
        Raises Faulted: what does not agree, and what was revealed otherwise in an earlier attempt.
        """
        committee = self.seat.committee
        mine = b"".join(s.to_bytes(SHARE_BYTES, "big") for s in shares)
        heard = await self.broadcast(step, mine)
        vectors = {self.seat.index: list(shares)}
        for peer, message in heard.items():
            with message.reading(len(mine)) as reader:
                vectors[peer] = [reader.uint("share", SHARE_BYTES, FIELD_PRIME - 1) for _ in shares]
        points = [{i: v[k] for i, v in vectors.items()} for k in range(len(shares))]
        try:
            values = [reconstruct(p, committee.members, committee.threshold) for p in points]
        except VerificationError as error:
            named = sorted({i for p in points for i in false_shares(p, committee.threshold)})
            charge = Charge.SHARE if local else Charge.OFF
            charges = [heard[i].blame(charge) for i in named if i in heard]
            raise Faulted(f"step {step}: {error}", charges) from None
        self.pin(step, b"".join(v.to_bytes(SHARE_BYTES, "big") for v in values))
        return values

    async def aborted(self, step: str) -> Faulted:
        """Wait until a player ends the attempt or leaves it. For what waits outside of a step."""
        return self._faulted(step, await self.mesh.aborted(self.name, self.peers))

    def _signed(self, step: str, receiver: int, body: bytes) -> bytes:
        unsigned = Heard(self.seat.index, receiver, step, body, b"")
        return body + eip712.sign_digest(unsigned.digest(self.name), self.seat.signing_key)

    async def _exchange(
        self, step: str, out: Mapping[int, bytes], receiver: int | None = None
    ) -> dict[int, Heard]:
        try:
            received = await self.mesh.exchange(self.name, step, out, self.timeout)
        except (Absent, Abandoned) as error:
            raise self._faulted(step, error) from None
        finally:
            now = time.perf_counter()
            self.took[step.partition("/")[0]] += now - self._since
            self._since = now
        to = self.seat.index if receiver is None else receiver
        return {peer: self._heard(peer, to, step, data) for peer, data in received.items()}

    @staticmethod
    def _faulted(step: str, error: Absent | Abandoned) -> Faulted:
        """What the mesh found, as charges."""
        charge = Charge.ABORTED
        if isinstance(error, Absent):
            charge = Charge.SILENT if error.late else Charge.GONE
        return Faulted(error.message, [Blame(i, charge, step) for i in error.members])

    def _heard(self, sender: int, receiver: int, step: str, data: bytes) -> Heard:
        body, signature = data[: -eip712.SIGNATURE_BYTES], data[-eip712.SIGNATURE_BYTES :]
        message = Heard(sender, receiver, step, body, signature)
        self.check(message)
        return message

    def check(self, message: Heard) -> None:
        """Its sender signed it in this attempt. Raises Faulted, which charges the sender."""
        try:
            signer = self.signers.addresses[message.sender]
            eip712.check_signer(message.digest(self.name), message.signature, signer)
        except (KeyError, VerificationError) as error:
            charge = Blame(message.sender, Charge.UNSIGNED, message.step)
            raise Faulted(f"step {message.step}: member {message.sender}: {error}", [charge]) from None
