"""Pedersen commitments: generators from printed labels, openings, and openings of something else."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.optimized_bls12_381 import normalize

from commitments.errors import VerificationError
from commitments.group import using_backend
from commitments.params import GROUP_ORDER
from commitments.pedersen import (
    Opening,
    bit_generators,
    check_opening,
    commit,
    generator_g,
    generator_h,
    random_scalar,
    slot_generators,
)

SCALARS = st.integers(0, GROUP_ORDER - 1)
OPENINGS = st.builds(Opening, st.integers(-(1 << 64), 1 << 64), SCALARS)
DST = b"DARKPOOL-V01-CS01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"


def test_generators_follow_from_their_labels() -> None:
    # Anybody with an implementation of RFC 9380 gets the same points: there was nothing to choose.
    named = {
        b"G": generator_g(),
        b"H": generator_h(),
        b"slot/0": slot_generators(2)[0],
        b"slot/1": slot_generators(2)[1],
        b"bit/0": bit_generators(1)[0],
        b"slot/511": slot_generators(512)[511],
    }
    for name, point in named.items():
        raw = hash_to_G1(b"darkpool/v1/generator/" + name, DST, sha256)  # type: ignore[arg-type]
        x, y = (int(c).to_bytes(48, "big") for c in normalize(raw))
        assert point.encode_xy() == x + y, name


def test_all_generators_differ() -> None:
    points = [generator_g(), generator_h(), *slot_generators(512), *bit_generators(160)]
    assert len({p.encode() for p in points}) == len(points)
    assert not any(p.is_identity() for p in points)
    assert len({*points, *(-p for p in points)}) == 2 * len(points)


def test_a_shorter_family_begins_a_longer_one() -> None:
    assert slot_generators(4) == slot_generators(9)[:4]
    assert bit_generators(0) == ()


def test_generators_are_kept_per_backend() -> None:
    native = (generator_g().encode(), slot_generators(1)[0].encode(), bit_generators(1)[0].encode())
    with using_backend("reference"):
        assert native == (
            generator_g().encode(),
            slot_generators(1)[0].encode(),
            bit_generators(1)[0].encode(),
        )
        # A native point under the reference backend would fail here.
        assert (generator_g() + generator_h() * 2).encode()
    assert generator_g().encode() == native[0]


@given(OPENINGS, OPENINGS)
@settings(max_examples=30)
def test_commitments_add_as_their_openings(a: Opening, b: Opening) -> None:
    assert a.commitment() + b.commitment() == (a + b).commitment()
    assert a.commitment() - b.commitment() == (a - b).commitment()
    assert 0 <= (a - b).blinding < GROUP_ORDER
    assert (a - a).commitment().is_identity()


@given(OPENINGS)
@settings(max_examples=20)
def test_an_opening_of_something_else_is_refused(opening: Opening) -> None:
    commitment = opening.commitment()
    check_opening(commitment, opening, "C")
    others = [
        Opening(opening.value + 1, opening.blinding),
        Opening(opening.value, opening.blinding + 1),
        Opening(-opening.value - 1, opening.blinding),
        Opening(opening.blinding, opening.value + GROUP_ORDER + 1),
    ]
    for other in others:
        with pytest.raises(VerificationError, match="C_base: the opening is not"):
            check_opening(commitment, other, "C_base")
    with pytest.raises(VerificationError):
        check_opening(commitment + generator_h(), opening, "C")


def test_a_value_is_counted_modulo_the_order() -> None:
    # Which is why every amount comes with a range proof.
    assert commit(5 - GROUP_ORDER, 7) == commit(5, 7)


def test_repr_shows_neither_value_nor_blinding() -> None:
    assert repr(Opening(987_654_321, 123_456_789)) == "Opening()"


def test_random_scalars_are_reduced_and_differ() -> None:
    drawn = {random_scalar() for _ in range(64)}
    assert len(drawn) == 64
    assert all(0 <= k < GROUP_ORDER for k in drawn)
    assert max(k.bit_length() for k in drawn) > 240
