"""Sealed-order proofs: honest ones hold, everything altered is refused, alone and in batches alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.encoding import Reader
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.group import using_backend
from commitments.order_proof import Proof, prove, seal
from commitments.order_statement import Commitments, Statement
from commitments.order_verify import Claim, invalid_claims, verify, verify_batch
from commitments.paillier import Packing
from commitments.params import GROUP_ORDER, MAX_AUDITOR_KEYS
from commitments.pedersen import Opening
from tests.commitments_equations import broken
from tests.commitments_support import (
    LARGEST,
    a_sample,
    auditor_keys,
    corruptions,
    decode_claim,
    encode_claim,
    field_names,
    holds,
    published_key,
    sample,
)

KEY = published_key()
REFUSED = (DecodeError, VerificationError)
PARTS = [
    (part, name)
    for part, kind in (("statement", Statement), ("sent", Commitments), ("proof", Proof))
    for name in field_names(kind)
]


# --- honest orders ----------------------------------------------------------------------------------


@given(data=st.data())
@settings(max_examples=40)
def test_an_honest_order_is_accepted(data: st.DataObject) -> None:
    levels = data.draw(st.integers(2, 9), "levels")
    order = sample(
        slot=data.draw(st.integers(0, 2 * levels - 1), "slot"),
        quantity=data.draw(st.sampled_from([0, 1, LARGEST]) | st.integers(0, LARGEST), "quantity"),
        levels=levels,
        auditors=data.draw(st.integers(0, 2), "auditors"),
        seed=data.draw(st.integers(0, 2**32), "seed"),
    )
    raw = encode_claim(order.claim, KEY)
    claim = decode_claim(raw, KEY)
    assert claim == order.claim
    assert encode_claim(claim, KEY) == raw
    verify(KEY, claim)


@pytest.mark.parametrize("levels", [2, 16, 64, 256])
@pytest.mark.parametrize("side", [0, 1])
def test_every_size_of_grid(levels: int, side: int) -> None:
    order = sample(slot=2 * (levels - 1) + side, quantity=LARGEST, levels=levels, auditors=0)
    assert len(order.sent.ciphertexts) == Packing(levels, KEY.bits).ciphertexts
    verify(KEY, decode_claim(encode_claim(order.claim, KEY), KEY))


@pytest.mark.parametrize("auditors", range(MAX_AUDITOR_KEYS + 1))
def test_every_number_of_auditor_keys(auditors: int) -> None:
    order = sample(auditors=auditors)
    assert len(order.sent.handles) == len(order.proof.handle_masks) == auditors
    verify(KEY, decode_claim(encode_claim(order.claim, KEY), KEY))


@pytest.mark.parametrize("quantity", [0, 1, LARGEST])
def test_the_naive_equations_agree_that_it_holds(quantity: int) -> None:
    assert broken(KEY, a_sample(quantity=quantity, levels=5).claim) == set()


@pytest.mark.parametrize("slot, left", [(2, "quote"), (3, "base")])
def test_a_lock_that_takes_everything(slot: int, left: str) -> None:
    statement = a_sample().statement
    cost = {2: 7 * statement.price(1), 3: 7 * statement.lot}[slot]
    funds: dict[str, Any] = {"base": 0, "quote": 0}
    verify(KEY, sample(slot=slot, quantity=7, **(funds | {left: cost})).claim)
    with pytest.raises(ParameterError, match="collateral"):
        sample(slot=slot, quantity=7, **(funds | {left: cost - 1}))


def test_untouched_collateral_is_the_identity() -> None:
    # An account that never deposited any quote has F_quote = 0 G + 0 H.
    order = sample()
    witness = replace(order.witness, quote=Opening(0, 0))
    statement = replace(order.statement, f_quote=Opening(0, 0).commitment())
    assert statement.f_quote.is_identity()
    sent = seal(KEY, statement, witness)
    claim = Claim(statement, sent, prove(KEY, statement, sent, witness))
    verify(KEY, decode_claim(encode_claim(claim, KEY), KEY))


def test_two_proofs_of_one_witness_share_no_mask() -> None:
    order = a_sample()
    again = prove(KEY, order.statement, order.sent, order.witness)
    first, second = (
        {data for _, data in proof.first_move(KEY)} | {*proof.slots, *proof.bits, proof.tau}
        for proof in (order.proof, again)
    )
    assert not first & second


@pytest.mark.parametrize(
    "quantity, slot",
    [(LARGEST + 1, 0), (-1, 0), (1, -1), (1, 4)],
    ids=["2^32", "below 0", "slot -1", "slot m"],
)
def test_sealing_refuses_what_is_no_order(quantity: int, slot: int) -> None:
    order = a_sample()
    with pytest.raises(ParameterError):
        seal(KEY, order.statement, replace(order.witness, quantity=quantity, slot=slot))


def test_repr_shows_no_secret() -> None:
    shown = repr(a_sample().witness) + repr(a_sample().proof)
    for value in (*a_sample().witness.blindings, *a_sample().proof.slots, *a_sample().proof.blindings):
        assert str(value) not in shown


def test_the_reference_backend_accepts_a_native_proof_and_refuses_it_altered() -> None:
    order = sample(auditors=1)
    raw = bytearray(encode_claim(order.claim, KEY))
    with using_backend("reference"):
        verify(KEY, decode_claim(bytes(raw), KEY))
        raw[-70] ^= 1  # in the response of the ciphertext's randomness
        assert not holds(KEY, decode_claim(bytes(raw), KEY))


@pytest.mark.production
def test_production_size() -> None:
    key = published_key("production")
    order = sample(slot=77, quantity=123_456, levels=64, auditors=1, profile="production")
    raw = encode_claim(order.claim, key)
    verify(key, decode_claim(raw, key))
    flipped = bytes([*raw[:-1], raw[-1] ^ 1])
    assert not holds(key, decode_claim(flipped, key))


# --- one field altered ------------------------------------------------------------------------------


@pytest.mark.parametrize("part, name", PARTS, ids=[f"{part}.{name}" for part, name in PARTS])
def test_a_corrupt_field_is_refused(part: str, name: str) -> None:
    claim = a_sample(auditors=2).claim
    record = getattr(claim, part)
    tried = 0
    for value in corruptions(getattr(record, name), KEY.n2):
        bad = replace(claim, **{part: replace(record, **{name: value})})
        assert bad != claim
        tried += 1
        if name == "masks" and len(value) != len(claim.proof.masks):
            with pytest.raises(
                ValueError, match="zip"
            ):  # eight by name: more or fewer cannot even be written
                encode_claim(bad, KEY)
            continue
        # The key id is for the caller to look up; a batch of mixed keys is the caller's mistake.
        expected = ParameterError if name == "key_id" else REFUSED
        with pytest.raises(expected):
            verify(KEY, decode_claim(encode_claim(bad, KEY), KEY))
    assert tried >= 2


def test_the_verifier_itself_refuses_each_corrupt_part() -> None:
    # Without the decoder in front: what has the right shape must fail an equation.
    claim = a_sample(auditors=2).claim
    shapeless = ("levels", "key_id")
    tried = 0
    for part, name in PARTS:
        record = getattr(claim, part)
        for value in corruptions(getattr(record, name), KEY.n2):
            same_shape = not isinstance(value, tuple) or len(value) == len(getattr(record, name))
            if name in shapeless or not same_shape:
                continue
            with pytest.raises(VerificationError):
                verify(KEY, replace(claim, **{part: replace(record, **{name: value})}))
            tried += 1
    assert tried > 2 * len(PARTS)


# --- bytes altered ----------------------------------------------------------------------------------


def refuse(data: bytes) -> None:
    with pytest.raises((*REFUSED, ParameterError)) as caught:
        verify(KEY, decode_claim(data, KEY))
    if caught.type is ParameterError:
        assert "another committee key" in str(caught.value)


@given(data=st.data())
@settings(max_examples=60)
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    raw = bytearray(encode_claim(a_sample().claim, KEY))
    raw[data.draw(st.integers(0, len(raw) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    refuse(bytes(raw))


@pytest.mark.slow
def test_every_flipped_byte_is_refused() -> None:
    raw = encode_claim(a_sample().claim, KEY)
    for i in range(len(raw)):
        refuse(raw[:i] + bytes([raw[i] ^ (1 << i % 8)]) + raw[i + 1 :])


@given(keep=st.integers(0, 10**6), extra=st.binary(min_size=1, max_size=40))
@settings(max_examples=60)
def test_cut_or_prolonged_bytes_are_refused(keep: int, extra: bytes) -> None:
    raw = encode_claim(a_sample().claim, KEY)
    with pytest.raises(DecodeError, match="cut short"):
        decode_claim(raw[: keep % len(raw)], KEY)
    with pytest.raises(DecodeError, match="trailing"):
        decode_claim(raw + extra, KEY)


@pytest.mark.parametrize(
    "change, name",
    [
        ({"levels": 1}, "levels"),
        ({"levels": 257}, "levels"),
        ({"levels": 0}, "levels"),
        ({"tick": 0}, "tick"),
        ({"lot": 0}, "lot"),
        ({"p_0": 1 << 32}, "grid"),
        ({"lot": (1 << 32) + 2}, "grid"),
        ({"tick": 1 << 63}, "grid"),
        ({"auditor_keys": auditor_keys(2)[::-1]}, "auditor_keys"),
        ({"auditor_keys": auditor_keys(1) * 2}, "auditor_keys"),
        ({"auditor_keys": auditor_keys(MAX_AUDITOR_KEYS + 1)}, "auditor_keys"),
        ({"auditor_keys": (Opening(0, 0).commitment(),)}, r"auditor_keys\[0\]"),
    ],
    ids=lambda x: "-".join(x) if isinstance(x, dict) else None,
)
def test_a_statement_out_of_range_is_not_decoded(change: dict[str, object], name: str) -> None:
    statement = replace(a_sample().statement, **change)  # type: ignore[arg-type]
    with pytest.raises(DecodeError, match=f"^{name}: "):
        Statement.read(Reader(statement.encode()))


def test_the_grid_may_reach_its_limit_and_no_further() -> None:
    # The last price p with p * (2^32 - 1) < 2^64 is 2^32 + 1.
    at = replace(a_sample().statement, p_0=(1 << 32) + 1 - 10, tick=10)
    assert Statement.read(Reader(at.encode())) == at
    with pytest.raises(DecodeError, match="grid"):
        Statement.read(Reader(replace(at, p_0=at.p_0 + 1).encode()))


def test_another_protocol_version_is_refused() -> None:
    raw = bytearray(encode_claim(a_sample().claim, KEY))
    raw[1] = 2
    with pytest.raises(DecodeError, match="version: 2 where 1 is spoken"):
        decode_claim(bytes(raw), KEY)


def test_committed_points_may_not_be_the_identity() -> None:
    identity = Opening(0, 0).commitment()
    claim = a_sample().claim
    for name in ("c_q", "c_h", "c_bits", "c_base", "c_quote", "c_m"):
        change: dict[str, Any] = {name: identity}
        bad = replace(claim, sent=replace(claim.sent, **change))
        with pytest.raises(DecodeError, match=f"{name}: the identity"):
            decode_claim(encode_claim(bad, KEY), KEY)


@pytest.mark.parametrize("name", ["bits", "blindings"])
def test_scalars_must_be_reduced(name: str) -> None:
    proof = a_sample().proof
    values = getattr(proof, name)
    small = min(range(len(values)), key=lambda i: values[i])  # reduced plus r still fits 32 bytes
    change: dict[str, Any] = {name: (*values[:small], values[small] + GROUP_ORDER, *values[small + 1 :])}
    bad = replace(proof, **change)
    # The same scalar modulo r, so every equation holds; two encodings would make two hashes of one order.
    assert broken(KEY, replace(a_sample().claim, proof=bad)) == set()
    with pytest.raises(DecodeError, match=f"proof.{name}"):
        decode_claim(encode_claim(replace(a_sample().claim, proof=bad), KEY), KEY)


# --- batches ----------------------------------------------------------------------------------------


def spoilt(index: int, how: int) -> Claim:
    claim = a_sample(slot=index % 4, quantity=10 + index, seed=index).claim
    proof = claim.proof
    return [
        claim,
        replace(claim, statement=replace(claim.statement, nonce=claim.statement.nonce + 1)),
        replace(claim, proof=replace(proof, tau=(proof.tau + 1) % GROUP_ORDER)),
        replace(claim, proof=replace(proof, randomness=(proof.randomness[0] ^ 1,))),
        replace(claim, proof=replace(proof, bits=(proof.bits[0] ^ 1, *proof.bits[1:]))),
        replace(claim, sent=a_sample(slot=index % 4, quantity=10 + index, seed=index + 100).sent),
    ][how]


@given(st.lists(st.sampled_from([0, 0, 0, 1, 2, 3, 4, 5]), max_size=7))
@settings(max_examples=25)
def test_a_batch_agrees_with_its_members(kinds: list[int]) -> None:
    claims = [spoilt(i, how) for i, how in enumerate(kinds)]
    wrong = {i for i, claim in enumerate(claims) if not holds(KEY, claim)}
    assert wrong == {i for i, how in enumerate(kinds) if how}
    found = invalid_claims(KEY, claims)
    assert set(found) == wrong
    assert all(isinstance(error, VerificationError) for error in found.values())
    if wrong:
        with pytest.raises(VerificationError):
            verify_batch(KEY, claims)
    else:
        verify_batch(KEY, claims)


def test_two_errors_do_not_cancel() -> None:
    # Under fixed weights these would: one tau is one too high, the other one too low, the claim the same.
    claim = a_sample().claim
    up, down = (
        replace(claim, proof=replace(claim.proof, tau=(claim.proof.tau + d) % GROUP_ORDER)) for d in (1, -1)
    )
    assert set(invalid_claims(KEY, [up, claim, down])) == {0, 2}
    up, down = (
        replace(claim, proof=replace(claim.proof, randomness=(claim.proof.randomness[0] + d,)))
        for d in (1, -1)
    )
    assert set(invalid_claims(KEY, [up, down])) == {0, 1}


def test_a_batch_may_mix_grids_and_auditor_keys() -> None:
    claims = [a_sample(levels=n, auditors=a).claim for n, a in ((2, 0), (9, 2), (3, 1), (2, 1))]
    verify_batch(KEY, claims)
    claims[2] = replace(claims[2], statement=replace(claims[2].statement, pressure=9))
    assert set(invalid_claims(KEY, claims)) == {2}


def test_an_empty_batch_holds_and_another_key_is_the_callers_mistake() -> None:
    verify_batch(KEY, [])
    assert invalid_claims(KEY, []) == {}
    other = published_key("production")
    with pytest.raises(ParameterError, match="another committee key"):
        verify(other, a_sample().claim)
