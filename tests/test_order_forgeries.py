"""Adversarial provers: each follows the protocol honestly on a bad witness, as far as it can be followed.

The naive equations name what a forgery breaks, so each test shows that the refusal comes from the check meant
to catch it and from no other.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gmpy2
import pytest

from commitments.encoding import Reader
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.order_proof import Proof, prove
from commitments.order_statement import Commitments, Handle
from commitments.order_verify import Claim, invalid_claims, verify, verify_batch
from commitments.paillier import PublicKey
from commitments.params import GROUP_ORDER, RANDOMNESS_RESPONSE_BITS, SLOT_RESPONSE_BITS
from commitments.pedersen import Opening, bit_generators, slot_generators
from tests.commitments_equations import broken, challenges
from tests.commitments_liar import Lie, binary, honest_lie, simulate, tell
from tests.commitments_support import Sample, a_sample, decode_claim, encode_claim, published_key, sample

KEY = published_key()
REST = binary((1 << 63) - 1, 64)  # digits where a test does not care what they are


def order(**shape: int) -> Sample:
    """Four ticks, two auditors, ample collateral."""
    return a_sample(levels=4, auditors=2, **shape)


def lie(**parts: object) -> Lie:
    """The honest witness of 5 lots in slot 3, with some parts replaced."""
    return replace(honest_lie(order()), **parts)  # type: ignore[arg-type]


def refused(claim: Claim, *equations: str) -> None:
    """Exactly these equations fail; decoding succeeds; verification refuses, alone and in a batch."""
    assert broken(KEY, claim) == set(equations)
    decoded = decode_claim(encode_claim(claim, KEY), KEY)
    with pytest.raises(VerificationError):
        verify(KEY, decoded)
    good = order().claim
    assert set(invalid_claims(KEY, [good, decoded, good])) == {1}


# --- the liar's own machinery is right ---------------------------------------------------------------


@pytest.mark.parametrize("slot", range(8))
def test_an_honest_witness_passes_through_the_liar(slot: int) -> None:
    claim = tell(KEY, honest_lie(order(slot=slot)))
    assert claim.sent == order(slot=slot).sent
    assert broken(KEY, claim) == set()
    verify(KEY, decode_claim(encode_claim(claim, KEY), KEY))


# --- the histogram ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "histogram",
    [
        (0, 0, 0, 5, 0, 1, 0, 0),
        (5, 0, 0, 5, 0, 0, 0, 0),
        (0, 0, 0, 0, 0, 0, 3, 3),
        (1, 1, 1, 1, 1, 1, 1, 1),
        (0, 5, 0, -5, 0, 0, 0, 0),  # sum zero: a decoy with claws
        (5, 0, 0, -5, 0, 0, 0, 0),
        (0, 5, 0, -5, 0, 5, 0, 0),  # sum q
        (0, 9, 0, -4, 0, 0, 0, 0),
        (0, 0, 0, 5, 0, -5, 0, 0),
    ],
    ids=str,
)
def test_more_than_one_slot_breaks_the_quadratic(histogram: tuple[int, ...]) -> None:
    refused(tell(KEY, lie(histogram=histogram)), "quadratic")


def test_a_negative_quantity_breaks_what_its_digits_cannot_say() -> None:
    minus = (0, 0, 0, -5, 0, 0, 0, 0)
    # 32 bits cannot sum to -5; a digit of -5 is no bit. The remainders even grow, which is the point of it.
    refused(tell(KEY, lie(histogram=minus)), "quantity bits")
    digits = (-5, *[0] * 31, *binary((1 << 63) + 500, 64), *binary(1 << 63, 64))
    refused(tell(KEY, lie(histogram=minus, digits=digits)), "quadratic")


def test_2_to_the_32_lots() -> None:
    # The collateral covers it: only the range of the quantity is at stake.
    start = honest_lie(sample(levels=4, auditors=2, quantity=0))
    huge = replace(start, histogram=(0, 0, 0, 1 << 32, 0, 0, 0, 0))
    refused(tell(KEY, huge), "quantity bits")
    rest = start.honest.witness.base.value - 100 * (1 << 32)
    digits = (*[0] * 31, 2, *binary(rest, 64), *binary(start.honest.witness.quote.value, 64))
    refused(tell(KEY, replace(huge, digits=digits)), "quadratic")


@pytest.mark.parametrize(
    "digits",
    [
        (3, 1, *[0] * 30),
        (5, *[0] * 31),
        (1, 2, *[0] * 30),
        (-1, -1, 0, 1, *[0] * 28),
        (1, 0, -1, 1, *[0] * 28),
    ],
    ids=["3+2", "5", "1+4", "-1-2+8", "1-4+8"],
)
def test_digits_that_are_not_bits(digits: tuple[int, ...]) -> None:
    bits = honest_lie(order()).bits()
    assert sum(d << i for i, d in enumerate(digits)) == 5
    refused(tell(KEY, lie(digits=(*digits, *bits[32:]))), "quadratic")


@pytest.mark.parametrize("at", [32, 95, 96, 159])
def test_a_digit_of_a_remainder_that_is_not_a_bit(at: int) -> None:
    bits = list(honest_lie(order()).bits())
    bits[at] += 2
    # Its value is another, so the remainder's equation fails as well as the quadratic.
    name = "base_rest" if at < 96 else "quote_rest"
    refused(tell(KEY, lie(digits=tuple(bits))), "quadratic", name)
    # Two digits that make up for each other leave only the quadratic.
    if at in {32, 96}:
        bits[at + 1] -= 1
        refused(tell(KEY, lie(digits=tuple(bits))), "quadratic")


# --- collateral -------------------------------------------------------------------------------------


@pytest.mark.parametrize("slot, name", [(3, "base"), (2, "quote")])
@pytest.mark.parametrize("quantity", [5, (1 << 32) - 1])
def test_underfunded(slot: int, name: str, quantity: int) -> None:
    # Sealed against ample collateral, then moved to one quantum too little.
    rich = sample(slot=slot, quantity=quantity, levels=4, auditors=2)
    need = rich.witness.locks(rich.statement)[slot % 2 == 0]
    poor = Opening(need - 1, 12345)
    stated: dict[str, Any] = {f"f_{name}": poor.commitment()}
    known: dict[str, Any] = {name: poor}
    short = Sample(
        replace(rich.statement, **stated),
        replace(rich.witness, **known),
        rich.sent,
        rich.proof,
    )
    told = honest_lie(short)
    refused(tell(KEY, told), f"{name}_rest")  # two's complement is not -1 mod r
    digits = list(told.bits())
    at = 32 if name == "base" else 96
    digits[at : at + 64] = [-1, *[0] * 63]
    refused(tell(KEY, replace(told, digits=tuple(digits))), "quadratic")
    with pytest.raises(ParameterError, match="collateral"):
        prove(KEY, short.statement, short.sent, short.witness)


@pytest.mark.parametrize("name", ["q", "base", "quote", "m"])
@pytest.mark.parametrize("shift", [1, -1, 1 << 40])
def test_a_commitment_to_another_amount(name: str, shift: int) -> None:
    value = honest_lie(order()).true_values()[name] + shift
    # A wrong lock is met by the remainder that goes with it; only the commitment's own equation is left.
    refused(tell(KEY, lie(values={name: value})), name)


def test_c_h_for_another_slot_than_the_ciphertexts() -> None:
    g = slot_generators(8)
    moved = lie(twist=lambda sent: replace(sent, c_h=sent.c_h + (g[2] - g[3]) * 5))
    refused(tell(KEY, moved), "h")


def test_c_bits_of_other_digits_than_the_responses() -> None:
    b = bit_generators(160)
    for at in (0, 40, 159):
        shifted = lie(twist=lambda sent, at=at: replace(sent, c_bits=sent.c_bits + b[at]))
        refused(tell(KEY, shifted), "bits")


def test_c_m_for_another_slot() -> None:
    for slot in (0, 1, 2, 4, 7):
        refused(tell(KEY, lie(values={"m": 5 * slot})), "m")


def test_a_buy_that_locks_the_price_of_a_lower_level() -> None:
    start = honest_lie(order(slot=6))
    cheap = 5 * start.statement.price(2)
    refused(tell(KEY, replace(start, values={"quote": cheap})), "quote")


def test_a_sell_that_locks_quote_instead_of_base() -> None:
    refused(tell(KEY, lie(values={"base": 0, "quote": 5 * 23_000})), "base", "quote")


# --- ciphertexts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [1, 1 << 96, -1, 7 << (96 * 7), 1 << 700])
def test_a_ciphertext_of_more_than_was_committed(offset: int) -> None:
    refused(tell(KEY, lie(plaintext_offsets={0: offset})), "ciphertext/0")


def test_ciphertexts_that_make_up_for_each_other() -> None:
    wide = honest_lie(a_sample(levels=9, auditors=0))
    shifted = tell(KEY, replace(wide, plaintext_offsets={0: 1, 1: -1}))
    assert broken(KEY, shifted) == {"ciphertext/0", "ciphertext/1"}
    with pytest.raises(VerificationError, match="ciphertext"):
        verify(KEY, shifted)


def test_only_the_bound_on_responses_ties_the_integers_to_the_commitments() -> None:
    # h_3 = 5 + r is 5 in the group, and the ciphertext then holds 5 + r: every equation is satisfied.
    wrapped = tell(
        KEY, lie(histogram=(0, 0, 0, 5 + GROUP_ORDER, 0, 0, 0, 0), digits=honest_lie(order()).bits())
    )
    assert broken(KEY, wrapped) == set()
    assert wrapped.proof.slots[3] >> SLOT_RESPONSE_BITS
    with pytest.raises(ParameterError, match="does not fit 31 bytes"):
        encode_claim(wrapped, KEY)


@pytest.mark.parametrize("bits", [SLOT_RESPONSE_BITS + 1, 248])
def test_a_slot_response_above_its_bound(bits: int) -> None:
    wide = tell(KEY, lie(slot_mask_bits=bits))
    assert broken(KEY, wide) == set()
    with pytest.raises(DecodeError, match=r"proof.slots\[0\]: above the limit"):
        decode_claim(encode_claim(wide, KEY), KEY)


def test_a_randomness_response_above_its_bound() -> None:
    wide = tell(KEY, lie(randomness_mask_bits=RANDOMNESS_RESPONSE_BITS + 1))
    assert broken(KEY, wide) == set()
    with pytest.raises(DecodeError, match=r"proof.randomness\[0\]: above the limit"):
        decode_claim(encode_claim(wide, KEY), KEY)


def test_a_response_below_zero_has_no_encoding() -> None:
    proof = order().proof
    for bad in (replace(proof, slots=(-1, *proof.slots[1:])), replace(proof, randomness=(-1,))):
        with pytest.raises(ParameterError):
            bad.encode(KEY)


@pytest.mark.parametrize("negate", [{"c"}, {"A"}, {"c", "A"}])
def test_the_sign_of_a_ciphertext_is_free_alone_and_in_batches(negate: set[str]) -> None:
    # -c holds the same plaintext; accepting it alone and refusing it in a batch would split the members.
    claim = decode_claim(encode_claim(tell(KEY, lie(negate=frozenset(negate))), KEY), KEY)
    good = order().claim
    assert broken(KEY, claim) == set()
    for _ in range(8):  # weights are odd or even at random: the answer must not depend on it
        verify(KEY, claim)
        verify_batch(KEY, [good, claim, claim])


def test_the_sign_may_not_change_after_the_challenge() -> None:
    claim = order().claim
    for part, name in (("sent", "ciphertexts"), ("proof", "ciphertext_masks")):
        record = getattr(claim, part)
        flipped = replace(record, **{name: (KEY.n2 - getattr(record, name)[0],)})
        with pytest.raises(VerificationError):
            verify(KEY, replace(claim, **{part: flipped}))


# --- auditors' handles ------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("name", ["q", "m"])
def test_a_handle_of_other_randomness(at: int, name: str) -> None:
    def twist(sent: Commitments) -> Commitments:
        handles = list(sent.handles)
        a = order().statement.auditor_keys[at]
        handles[at] = replace(handles[at], **{name: getattr(handles[at], name) + a})
        return replace(sent, handles=tuple(handles))

    refused(tell(KEY, lie(twist=twist)), f"handle_{name}/{at}")


def test_handles_of_two_keys_exchanged() -> None:
    exchanged = lie(twist=lambda sent: replace(sent, handles=sent.handles[::-1]))
    refused(tell(KEY, exchanged), "handle_q/0", "handle_m/0", "handle_q/1", "handle_m/1")


def test_the_handles_of_one_key_exchanged() -> None:
    def twist(sent: Commitments) -> Commitments:
        first, second = sent.handles
        return replace(sent, handles=(first, Handle(second.m, second.q)))

    refused(tell(KEY, lie(twist=twist)), "handle_q/1", "handle_m/1")


def test_a_handle_left_out_does_not_decode() -> None:
    claim = order().claim
    short = replace(claim, sent=replace(claim.sent, handles=claim.sent.handles[:1]))
    with pytest.raises(DecodeError):
        decode_claim(encode_claim(short, KEY), KEY)


# --- proofs of something else -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"account": b"\xaa" * 20},
        {"nonce": 514},
        {"first_round": 8},
        {"chain_id": 1},
        {"policy_hash": b"\xaa" * 32},
        {"market": b"\xaa" * 32},
        {"base_version": 9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_replay_under_another_statement(change: dict[str, object]) -> None:
    claim = order().claim
    moved = replace(claim, statement=replace(claim.statement, **change))  # type: ignore[arg-type]
    with pytest.raises(VerificationError):
        verify(KEY, decode_claim(encode_claim(moved, KEY), KEY))


def test_a_proof_of_another_order_of_the_same_account() -> None:
    one, other = sample(quantity=5), sample(quantity=6)
    assert one.statement == other.statement
    for claim in (
        Claim(one.statement, one.sent, other.proof),
        Claim(one.statement, other.sent, one.proof),
    ):
        with pytest.raises(VerificationError):
            verify(KEY, claim)


def test_a_copied_order_under_another_key() -> None:
    # N is absorbed: the same bytes prove nothing about another modulus of the same size.
    claim = order().claim
    twin = PublicKey(gmpy2.next_prime(KEY.n))
    renamed = replace(claim, statement=replace(claim.statement, key_id=twin.key_id))
    reader = Reader(encode_claim(renamed, KEY))
    statement = type(claim.statement).read(reader)
    sent = Commitments.read(reader, statement, twin)
    with pytest.raises(VerificationError):
        verify(twin, Claim(statement, sent, Proof.read(reader, statement, twin)))


def test_a_simulated_proof_holds_only_for_challenges_chosen_beforehand() -> None:
    start = order()
    y, e = 3**150, 5**50
    claim = Claim(start.statement, start.sent, simulate(KEY, start, start.sent, y, e))
    assert broken(KEY, claim, (y, e)) == set()  # zero knowledge: nobody needs a witness for that
    assert challenges(KEY, claim) != (y, e)
    with pytest.raises(VerificationError):
        verify(KEY, decode_claim(encode_claim(claim, KEY), KEY))


def test_all_zero_messages_prove_nothing() -> None:
    claim, identity = order().claim, Opening(0, 0).commitment()
    proof = claim.proof
    empty = replace(
        proof,
        masks=(identity,) * 8,
        handle_masks=(Handle(identity, identity),) * 2,
        ct0=identity,
        ct1=identity,
        ciphertext_masks=(KEY.n2 - 1,),
        slots=(0,) * len(proof.slots),
        bits=(0,) * len(proof.bits),
        blindings=(0,) * 8,
        tau=0,
        randomness=(0,),
    )
    with pytest.raises(VerificationError):
        verify(KEY, decode_claim(encode_claim(replace(claim, proof=empty), KEY), KEY))
