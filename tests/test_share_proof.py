"""A partial decryption is proven by who made it, and by nobody else for anything else."""

from __future__ import annotations

import time
from dataclasses import fields, replace

import gmpy2
import pytest
from gmpy2 import mpz

from commitments.encoding import Reader
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.share_proof import ShareProof, Statement, prove, prove_partial, verify, verify_partial
from commitments.threshold import Committee, KeyShare, combine, deal, partial
from tests.commitments_support import committee, primes, published_key

KEY = published_key()
N = KEY.n
SEATS, SHARES = committee(4, 1)
C = KEY.encrypt(77, 3**150)
PARTIAL, PROOF = prove_partial(SEATS, SHARES[1], C)


def holds(seats: Committee, index: int, c: mpz, x_i: mpz, proof: ShareProof) -> bool:
    try:
        verify_partial(seats, index, c, x_i, proof)
    except VerificationError:
        return False
    return True


@pytest.mark.parametrize("members, threshold", [(3, 1), (4, 1), (5, 1), (5, 2), (16, 7)])
def test_every_member_proves_its_partial(members: int, threshold: int) -> None:
    seats, shares = committee(members, threshold)
    for share in shares:
        x_i, proof = prove_partial(seats, share, C)
        assert x_i == partial(seats, share, C)
        verify_partial(seats, share.index, C, x_i, proof)


def test_two_proofs_share_no_mask() -> None:
    other = prove_partial(SEATS, SHARES[1], C)[1]
    assert other != PROOF
    verify_partial(SEATS, 2, C, PARTIAL, other)


@pytest.mark.parametrize("x", [1, int(N) - 1], ids=["one", "minus one"])
def test_residues_of_small_order_leave_one_square(x: int) -> None:
    c = mpz(x)
    x_i, proof = prove_partial(SEATS, SHARES[1], c)
    verify_partial(SEATS, 2, c, x_i, proof)
    assert not holds(SEATS, 2, c, mpz(2), proof)


# --- lies about the partial -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lie",
    [
        N - PARTIAL,
        PARTIAL * 4 % N,
        PARTIAL * 2 % N,
        PARTIAL * PARTIAL % N,
        gmpy2.invert(PARTIAL, N),
        mpz(1),
        C % N,
        PARTIAL + 1,
    ],
)
def test_a_proof_is_of_one_partial(lie: mpz) -> None:
    with pytest.raises(VerificationError, match="member 2: not made with the share"):
        verify_partial(SEATS, 2, C, lie, PROOF)


@pytest.mark.parametrize(
    "lie",
    [mpz(0), N, N + PARTIAL, -PARTIAL, mpz(primes()[0])],
    ids=["zero", "modulus", "above", "negative", "factor"],
)
def test_what_is_no_unit_is_no_partial(lie: mpz) -> None:
    with pytest.raises(VerificationError, match="member 2: not a unit"):
        verify_partial(SEATS, 2, C, lie, PROOF)


def test_the_other_share_cannot_prove_it() -> None:
    # A liar runs the prover on what it has: its own share, and a partial of another one or none.
    for wrong in (SHARES[0], KeyShare(2, SHARES[1].value + 1), KeyShare(2, SHARES[1].value * 2)):
        for x_i in (PARTIAL, partial(SEATS, wrong, C)):
            statement = Statement(SEATS, 2, C % N, x_i)
            assert not holds(SEATS, 2, C, x_i, prove(statement, wrong))
    square = PARTIAL * gmpy2.powmod(3, 2, N) % N
    assert not holds(SEATS, 2, C, square, prove(Statement(SEATS, 2, C % N, square), SHARES[1]))


def test_the_sign_of_an_honest_partial_is_its_members_to_choose() -> None:
    # Only squares are combined, so -x_i, proven as such, opens the same.
    minus = N - PARTIAL
    proof = prove(Statement(SEATS, 2, C % N, minus), SHARES[1])
    verify_partial(SEATS, 2, C, minus, proof)
    others = {1: partial(SEATS, SHARES[0], C)}
    assert combine(SEATS, C, others | {2: minus}) == combine(SEATS, C, others | {2: PARTIAL})


# --- one change of the statement each ---------------------------------------------------------------

OTHER, _ = committee(4, 1)  # the same N
LARGER, _ = committee(5, 1)
STATEMENTS = {
    "index": Statement(SEATS, 3, C % N, PARTIAL),
    "residue": Statement(SEATS, 2, C * 4 % N, PARTIAL),
    "minus residue": Statement(SEATS, 2, -C % N, PARTIAL),
    "residue of another ciphertext": Statement(SEATS, 2, KEY.encrypt(77, 5) % N, PARTIAL),
    "partial": Statement(SEATS, 2, C % N, PARTIAL * 9 % N),
    "values": Statement(replace(SEATS, values=OTHER.values), 2, C % N, PARTIAL),
    "minus a value": Statement(replace(SEATS, values=tuple(N - v for v in SEATS.values)), 2, C % N, PARTIAL),
    "members": Statement(LARGER, 2, C % N, PARTIAL),
    "members alone": Statement(replace(SEATS, members=5, values=(*SEATS.values, mpz(4))), 2, C % N, PARTIAL),
    "threshold": Statement(replace(SEATS, members=5, threshold=2, values=LARGER.values), 2, C % N, PARTIAL),
    "epoch": Statement(replace(SEATS, epoch=1), 2, C % N, PARTIAL),
    "scale": Statement(replace(SEATS, epoch=1, scale=1), 2, C % N, PARTIAL),
}


@pytest.mark.parametrize("changed", STATEMENTS)
def test_a_proof_is_of_one_statement(changed: str) -> None:
    with pytest.raises(VerificationError):
        verify(STATEMENTS[changed], PROOF)


def test_every_field_of_a_statement_is_changed_above() -> None:
    assert {f.name for f in fields(Statement)} - {"committee"} <= set(STATEMENTS)
    assert {f.name for f in fields(Committee)} - {"key"} <= set(STATEMENTS)


@pytest.mark.parametrize("change", [{"threshold": 2}, {"scale": 1}, {"epoch": 2}], ids=str)
def test_what_changes_no_equation_is_bound_all_the_same(change: dict[str, int]) -> None:
    seats, shares = committee(5, 1)
    seats = replace(seats, epoch=1)
    x_i, proof = prove_partial(seats, shares[1], C)
    verify_partial(seats, 2, C, x_i, proof)
    assert not holds(replace(seats, **change), 2, C, x_i, proof)  # type: ignore[arg-type]


def test_the_value_alone_is_bound() -> None:
    # Nobody else's value, and not the neighbours': those are no part of the statement.
    swapped = (SEATS.values[0], SEATS.values[2], SEATS.values[1], SEATS.values[3])
    assert not holds(replace(SEATS, values=swapped), 2, C, PARTIAL, PROOF)


# --- one change of the proof each -------------------------------------------------------------------


def limit(seats: Committee) -> int:
    return 1 << (seats.share_bits + 257)


@pytest.mark.parametrize(
    "change",
    [
        {"challenge": PROOF.challenge ^ 1},
        {"challenge": PROOF.challenge ^ (1 << 127)},
        {"challenge": PROOF.challenge | (1 << 128)},
        {"challenge": -1},
        {"challenge": 0},
        {"response": PROOF.response + 1},
        {"response": PROOF.response ^ (1 << 2_000 % PROOF.response.bit_length())},
        {"response": -PROOF.response},
        {"response": 0},
        {"response": PROOF.response + limit(SEATS)},
        {"challenge": 0, "response": 0},
    ],
)
def test_each_field_of_a_proof_counts(change: dict[str, int]) -> None:
    with pytest.raises(VerificationError, match="member 2"):
        verify_partial(SEATS, 2, C, PARTIAL, replace(PROOF, **change))


def test_the_order_added_to_a_response_is_seen() -> None:
    # Whoever knows p'q' could add it; a response above its bound is refused all the same.
    order = (primes()[0] - 1) // 2 * ((primes()[1] - 1) // 2)
    verify_partial(SEATS, 2, C, PARTIAL, replace(PROOF, response=PROOF.response + order))
    assert not holds(SEATS, 2, C, PARTIAL, replace(PROOF, response=PROOF.response + order * limit(SEATS)))


# --- bytes ------------------------------------------------------------------------------------------


def test_a_proof_has_one_encoding() -> None:
    data = PROOF.encode(SEATS)
    assert len(data) == ShareProof.width(SEATS)
    reader = Reader(data)
    assert ShareProof.read(reader, SEATS) == PROOF
    reader.end("proof")
    for length in range(0, len(data), 5):
        with pytest.raises(DecodeError, match="share proof"):
            ShareProof.read(Reader(data[:length]), SEATS)


def test_a_response_above_its_bound_is_not_read() -> None:
    data = PROOF.encode(SEATS)
    with pytest.raises(DecodeError, match="response: above the limit"):
        ShareProof.read(Reader(data[:16] + b"\xff" * (len(data) - 16)), SEATS)
    for wrong in (replace(PROOF, challenge=1 << 128), replace(PROOF, response=1 << (8 * len(data)))):
        with pytest.raises(ParameterError):
            wrong.encode(SEATS)


def test_the_response_is_not_shown() -> None:
    assert str(PROOF.response) not in repr(PROOF)


# --- committees that cannot be asked ----------------------------------------------------------------


@pytest.mark.parametrize("index", [-1, 0, 5])
def test_a_member_that_does_not_exist(index: int) -> None:
    with pytest.raises(ParameterError, match=f"member {index} has no verification value"):
        verify_partial(SEATS, index, C, PARTIAL, PROOF)


def test_a_committee_without_verification_values() -> None:
    with pytest.raises(ParameterError, match="member 2 has no verification value"):
        verify_partial(Committee(KEY, 4, 1), 2, C, PARTIAL, PROOF)


def test_a_share_beyond_its_bound_is_not_proven() -> None:
    for value in (1 << SEATS.share_bits, -1):
        with pytest.raises(ParameterError, match="outside its bound"):
            prove(Statement(SEATS, 2, C % N, PARTIAL), KeyShare(2, value))


@pytest.mark.production
def test_production_size() -> None:
    seats, shares = deal(*primes("production"), 4, 1)
    c = seats.key.encrypt(1, 2)
    started = time.perf_counter()
    x_i, proof = prove_partial(seats, shares[3], c)
    verify_partial(seats, 4, c, x_i, proof)
    assert time.perf_counter() - started < 2
    assert len(proof.encode(seats)) == ShareProof.width(seats) < 512
