"""Who lied, when a combiner says that partial decryptions do not combine.

One further broadcast. It begins with what every other player's openings hash to, and that player's signature:
whoever opened one thing to some and another to others has signed both, and its word sets nobody against
anybody. Then each player assigned to a product complained of sends its partial decryption again, now with
Shoup's proof; the combiner shows what its helpers had signed and sent to it. Of those that saw the same
openings everybody judges alike:

    two openings signed by one             the combiner that signed both is charged: complaint
    no valid proof                         the player is charged: partial
    what it had sent is another partial    the player is charged: partial, by its own signature
    neither of anybody                     the combiner is charged: complaint

Partial decryptions of masked products say nothing but the masked value, which all players learn anyway. The
first product that each combiner complains of is enough, so a false complaint costs one proof.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NoReturn

from gmpy2 import mpz

from commitments.encoding import Reader, Writer
from commitments.errors import DecodeError, VerificationError
from commitments.paillier import Ciphertext
from commitments.share_proof import ShareProof, prove_partial, verify_partial
from commitments.threshold import Committee, decode_residue
from darkpool import eip712
from darkpool.committee.blame import MAX_EVIDENCE, Blame, Charge, Faulted
from darkpool.committee.spread import spread
from darkpool.committee.steps import ALL, Heard, Steps, signed_digest

STEP: Final = "/proofs"
PARTIALS: Final = "/partials"
_MOST: Final = 2 * MAX_EVIDENCE
_HASH_BYTES: Final = 32

PartialOf = Callable[[Heard, int], mpz]
"""(what a helper sent its combiner, position) -> the partial in it; raises DecodeError."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """The product at `position` does not combine; `assigned`: its combiner, then the helpers."""

    position: int
    assigned: tuple[int, ...]
    ciphertext: Ciphertext = field(repr=False)

    @property
    def combiner(self) -> int:
        """Who complains."""
        return self.assigned[0]

    @property
    def helpers(self) -> tuple[int, ...]:
        """Whose partials it was sent."""
        return self.assigned[1:]


async def settle(
    steps: Steps,
    step: str,
    complaints: Sequence[Complaint],
    partial_of: PartialOf,
    sent: Mapping[int, Heard],
    opened: Mapping[int, Heard],
) -> NoReturn:
    """Prove our part, hear the others', judge.

    `sent`: what our own helpers sent us, by helper; `opened`: the others' openings.

    Raises Faulted, which charges whoever lied.
    """
    committee, me = steps.seat.committee, steps.seat.index
    ours = [c for c in complaints if me in c.assigned]
    proven = await spread(lambda c: prove_partial(committee, steps.seat.share, c.ciphertext), ours)
    writer = Writer()
    for peer in steps.peers:
        writer.fixed(eip712.keccak256(opened[peer].body), _HASH_BYTES)
        writer.fixed(opened[peer].signature, eip712.SIGNATURE_BYTES)
    for value, proof in proven:
        writer.uint(int(value), committee.key.modulus_bytes).var(proof.encode(committee))
    for complaint in (c for c in complaints if c.combiner == me):
        for helper in complaint.helpers:
            writer.var(bytes(sent[helper]))
    heard = await steps.broadcast(step, bytes(writer))
    charges: list[Blame] = []
    partials = {(c.position, me): value for c, (value, _) in zip(ours, proven, strict=True)}
    shown = {(c.position, h): sent[h] for c in complaints if c.combiner == me for h in c.helpers}
    unlike, twofold = set[int](), set[int]()
    for peer, message in heard.items():
        try:
            reader = Reader(message.body)
            if differing := _differing(steps, peer, reader, opened):
                # It may have heard other complaints than we did, and proves its part of those.
                unlike.add(peer)
                twofold |= differing
            else:
                _read(reader, peer, complaints, committee, partials, shown)
        except (DecodeError, VerificationError):
            # Whatever it lacks, it was due: the proof of a player, or the messages of a combiner.
            complains = any(c.combiner == peer for c in complaints)
            charges.append(message.blame(Charge.COMPLAINT if complains else Charge.PARTIAL))
    charges += [opened[peer].blame(Charge.COMPLAINT) for peer in sorted(twofold)]
    for complaint in complaints:
        if not ({b.member for b in charges} | unlike) & set(complaint.assigned):
            evidence = heard.get(complaint.combiner)
            false = (
                Blame(complaint.combiner, Charge.COMPLAINT, step)
                if evidence is None
                else evidence.blame(Charge.COMPLAINT)
            )
            charges += _judged(steps, false, complaint, partials, shown, partial_of)
    raise Faulted(f"step {step}: partial decryptions do not combine", charges)


def _differing(steps: Steps, peer: int, reader: Reader, opened: Mapping[int, Heard]) -> set[int]:
    """Who signed other openings to that peer than to us. Raises Decode-, VerificationError."""
    found = set[int]()
    for other in (i for i in steps.players if i != peer):
        digest = reader.fixed("openings", _HASH_BYTES)
        signature = reader.fixed("signature", eip712.SIGNATURE_BYTES)
        mine = opened.get(other)  # ours we said once only: any that bears our signature is that
        if mine is None or digest != eip712.keccak256(mine.body):
            step = next(iter(opened.values())).step
            signed = signed_digest(steps.name, other, ALL, step, digest)
            eip712.check_signer(signed, signature, steps.signers.addresses[other])
            found |= set() if mine is None else {other}
    return found


def _read(
    reader: Reader,
    peer: int,
    complaints: Sequence[Complaint],
    committee: Committee,
    partials: dict[tuple[int, int], mpz],
    shown: dict[tuple[int, int], Heard],
) -> None:
    """A player's proven partials and, of a combiner, what it was sent. Raises Decode-, VerificationError."""
    for complaint in (c for c in complaints if peer in c.assigned):
        value = decode_residue(committee.key, reader.fixed("partial", committee.key.modulus_bytes), "partial")
        inner = Reader(reader.var("proof", _MOST))
        proof = ShareProof.read(inner, committee)
        inner.end("proof")
        verify_partial(committee, peer, complaint.ciphertext, value, proof)
        partials[complaint.position, peer] = value
    for complaint in (c for c in complaints if c.combiner == peer):
        for helper in complaint.helpers:
            shown[complaint.position, helper] = Heard.parse(reader.var("message", _MOST))
    reader.end("proofs")


def _judged(
    steps: Steps,
    false: Blame,
    complaint: Complaint,
    partials: Mapping[tuple[int, int], mpz],
    shown: Mapping[tuple[int, int], Heard],
    partial_of: PartialOf,
) -> list[Blame]:
    """All partials are proven: either a helper had sent another one, or the complaint is `false`."""
    n, combiner = steps.seat.committee.key.n, complaint.combiner
    partials_step = f"{false.step.removesuffix(STEP)}{PARTIALS}"
    for helper in complaint.helpers:
        message = shown[complaint.position, helper]
        try:
            if (message.sender, message.receiver, message.step) != (helper, combiner, partials_step):
                return [false]
            steps.check(message)
            value = partial_of(message, complaint.position)
        except Faulted:
            return [false]  # it shows what the helper did not sign
        except (DecodeError, ValueError):
            return [message.blame(Charge.PARTIAL)]
        # Up to sign: only squares are combined.
        if pow(value, 2, n) != pow(partials[complaint.position, helper], 2, n):
            return [message.blame(Charge.PARTIAL)]
    return [false]
