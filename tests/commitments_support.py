"""Builders shared by the tests of `commitments`: published keys, orders with their secrets, wire forms."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from gmpy2 import mpz

from commitments.encoding import Reader
from commitments.errors import VerificationError
from commitments.group import Point
from commitments.order_proof import Proof, Witness, prove, seal
from commitments.order_statement import Commitments, Handle, Statement
from commitments.order_verify import Claim, verify
from commitments.paillier import Packing, PublicKey, public_key
from commitments.params import GROUP_ORDER, RANDOMNESS_BITS
from commitments.pedersen import Opening, generator_g, generator_h
from commitments.threshold import Committee, KeyShare, deal

VECTORS = Path(__file__).parent / "vectors"
LARGEST = (1 << 32) - 1
FREE = 1 << 63  # free collateral of a trader who can pay for anything the tests order


def read_vectors(name: str) -> dict[str, Any]:
    """A frozen file."""
    content: dict[str, Any] = json.loads((VECTORS / name).read_text("ascii"))
    return content


@cache
def primes(profile: str = "insecure-test") -> tuple[int, int]:
    """Two published safe primes of a profile's size."""
    p, q = (int(x, 16) for x in read_vectors("published-primes.json")[profile])
    return p, q


def published_key(profile: str = "insecure-test") -> PublicKey:
    """The key of the published primes."""
    p, q = primes(profile)
    return public_key(p * q)


def committee(members: int = 3, threshold: int = 1) -> tuple[Committee, list[KeyShare]]:
    """Fresh shares of the small published key."""
    return deal(*primes(), members, threshold)


@dataclass(frozen=True, slots=True)
class Sample:
    """An order with everything its trader knows."""

    statement: Statement
    witness: Witness
    sent: Commitments
    proof: Proof

    @property
    def claim(self) -> Claim:
        """What others see."""
        return Claim(self.statement, self.sent, self.proof)


def auditor_keys(count: int) -> tuple[Point, ...]:
    """Keys A = aH in the order a statement wants them."""
    return tuple(sorted((generator_h() * (1000 + i) for i in range(count)), key=Point.encode))


def a_statement(key: PublicKey, *, levels: int, auditors: int, base: Opening, quote: Opening) -> Statement:
    """A statement whose fields all differ from zero and from each other."""
    return Statement(
        chain_id=31_337,
        contract=b"\x01" * 20,
        venue=b"\x02" * 32,
        market=b"\x03" * 32,
        p_0=23_000,
        tick=10,
        levels=levels,
        lot=100,
        pressure=2,
        first_round=7,
        time_in_force=1,
        valid_until=1_900_000_000,
        utc_day=20_001,
        account=b"\x04" * 20,
        nonce=513,
        salt=b"\x05" * 32,
        key_id=key.key_id,
        policy_hash=b"\x06" * 32,
        terms_hash=b"\x16" * 32,
        auditor_keys=auditor_keys(auditors),
        f_base=base.commitment(),
        base_version=3,
        f_quote=quote.commitment(),
        quote_version=4,
        note_hash=b"\x07" * 32,
        fill_key=b"\x08" * 32,
        leaf_commitment=b"\x09" * 32,
    )


def sample(
    slot: int = 3,
    quantity: int = 5,
    *,
    levels: int = 2,
    auditors: int = 1,
    base: int = FREE,
    quote: int = FREE,
    profile: str = "insecure-test",
    seed: int = 0,
) -> Sample:
    """An honest order; its blindings follow from `seed`, its proof masks are fresh."""
    rng, key = random.Random(seed), published_key(profile)
    f_base, f_quote = (Opening(value, rng.randrange(GROUP_ORDER)) for value in (base, quote))
    statement = a_statement(key, levels=levels, auditors=auditors, base=f_base, quote=f_quote)
    witness = Witness(
        slot=slot,
        quantity=quantity,
        base=f_base,
        quote=f_quote,
        blindings=tuple(rng.randrange(GROUP_ORDER) for _ in range(6)),
        randomness=tuple(
            rng.getrandbits(RANDOMNESS_BITS) for _ in range(Packing(levels, key.bits).ciphertexts)
        ),
    )
    sent = seal(key, statement, witness)
    return Sample(statement, witness, sent, prove(key, statement, sent, witness))


@cache
def a_sample(slot: int = 3, quantity: int = 5, levels: int = 2, auditors: int = 1, seed: int = 0) -> Sample:
    """As `sample`, made once for tests that only read it."""
    return sample(slot, quantity, levels=levels, auditors=auditors, seed=seed)


def encode_claim(claim: Claim, key: PublicKey) -> bytes:
    """statement || commitments || proof."""
    return claim.statement.encode() + claim.sent.encode(key) + claim.proof.encode(key)


def decode_claim(data: bytes, key: PublicKey) -> Claim:
    """The strict reader of `encode_claim`."""
    reader = Reader(data)
    statement = Statement.read(reader)
    sent = Commitments.read(reader, statement, key)
    proof = Proof.read(reader, statement, key)
    reader.end("claim")
    return Claim(statement, sent, proof)


def holds(key: PublicKey, claim: Claim) -> bool:
    """Whether the proof is accepted; errors other than of verification pass through."""
    try:
        verify(key, claim)
    except VerificationError:
        return False
    return True


def corruptions(value: object, modulus_squared: mpz) -> Iterator[Any]:
    """Values of the same type that differ from `value`: one per part, and rearrangements of lists.

    TypeError for a type it does not know, so that a new kind of field cannot go untested.
    """
    match value:
        case Point():
            yield value + generator_g()
            yield -value
        case Handle():
            yield from (replace(value, q=bad) for bad in corruptions(value.q, modulus_squared))
            yield from (replace(value, m=bad) for bad in corruptions(value.m, modulus_squared))
            yield Handle(value.m, value.q)
        case bytes():
            yield bytes([value[0] ^ 1]) + value[1:]
            yield value[:-1] + bytes([value[-1] ^ 0x80])
        case int():
            yield value + 1
            yield value ^ 2
        case tuple():
            yield from _corrupt_list(value, modulus_squared)
        case _ if isinstance(value, type(mpz())):
            yield modulus_squared - value  # the same plaintext
            yield value * (modulus_squared - 1) * 4 % modulus_squared
        case _:
            raise TypeError(f"no corruption is known for {type(value).__name__}")


def _corrupt_list(value: tuple[Any, ...], modulus_squared: mpz) -> Iterator[tuple[Any, ...]]:
    # Every element of a short list; of a long one its ends and some between.
    chosen = range(len(value)) if len(value) <= 8 else sorted({0, 1, 31, 32, 95, 96, len(value) - 1})
    for i in (i for i in chosen if i < len(value)):
        yield from ((*value[:i], bad, *value[i + 1 :]) for bad in corruptions(value[i], modulus_squared))
    if len(value) > 1:
        yield (value[1], value[0], *value[2:])
    if value:
        yield value[:-1]
        yield (*value, value[-1])


def field_names(kind: type[Statement | Commitments | Proof]) -> list[str]:
    """Every field, including those added after this was written."""
    return [f.name for f in fields(kind)]
