"""The Fiat-Shamir transcript of a sealed order: all that is said is in it, any change moves a challenge."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from commitments import order_statement
from commitments.errors import VerificationError
from commitments.order_proof import BLINDINGS
from commitments.order_verify import verify
from commitments.params import CHALLENGE_BITS, LABEL_ORDER_PROOF, POWERS_CHALLENGE_BITS
from tests.commitments_equations import challenges
from tests.commitments_support import a_sample, published_key
from tests.transcript_tape import Tape, taped

KEY = published_key()
ORDER = a_sample(levels=9, auditors=2)  # three ciphertexts


def verify_taped(monkeypatch: pytest.MonkeyPatch, tape: Tape) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(order_statement, "Transcript", taped(tape))
        verify(KEY, ORDER.claim)


@pytest.fixture(scope="module")
def honest() -> Tape:
    tape = Tape()
    with pytest.MonkeyPatch.context() as patched:
        verify_taped(patched, tape)
    return tape


def test_what_is_absorbed_and_in_which_order(honest: Tape) -> None:
    points = ["c_q", "c_h", "c_bits", "c_base", "c_quote", "c_m"]
    handles = ["handle_q/0", "handle_m/0", "handle_q/1", "handle_m/1"]
    ciphertexts = [f"ciphertext/{j}" for j in range(3)]
    before_y = ["modulus", "statement", *points, *handles, *ciphertexts]
    masks = [f"mask/{n}" for n in (*BLINDINGS, *handles)]
    before_e = [*masks, "ct0", "ct1", *(f"mask/{c}" for c in ciphertexts)]
    assert [label.decode() for label, _ in honest.absorbed] == [*before_y, *before_e]
    assert honest.protocols == [LABEL_ORDER_PROOF]
    assert honest.sizes == {b"y": POWERS_CHALLENGE_BITS, b"e": CHALLENGE_BITS}
    assert honest.at_challenge == {b"y": len(before_y), b"e": len(before_y) + len(before_e)}


def test_every_byte_sent_before_a_challenge_is_absorbed_before_it(honest: Tape) -> None:
    said = [data for _, data in honest.absorbed]
    first, last = honest.at_challenge[b"y"], honest.at_challenge[b"e"]
    assert said[0] == KEY.encode()
    assert b"".join(said[1:first]) == ORDER.statement.encode() + ORDER.sent.encode(KEY)
    answers = len(ORDER.proof.slots) * 31 + (160 + 8 + 1) * 32 + len(ORDER.proof.randomness) * 67
    assert b"".join(said[first:last]) == ORDER.proof.encode(KEY)[:-answers]


def test_the_challenges_are_those_of_an_independent_transcript(honest: Tape) -> None:
    assert (honest.challenges[b"y"], honest.challenges[b"e"]) == challenges(KEY, ORDER.claim)


def elements() -> range:
    count = 2 + len(ORDER.sent.elements(KEY)) + len(ORDER.proof.first_move(KEY))
    return range(count)


@pytest.mark.parametrize("index", elements())
@pytest.mark.parametrize("where", [0, 20, -1])
def test_flipping_a_bit_of_any_element_moves_the_challenges(
    honest: Tape, monkeypatch: pytest.MonkeyPatch, index: int, where: int
) -> None:
    tape = Tape(flip=index, where=where)
    with pytest.raises(VerificationError):
        verify_taped(monkeypatch, tape)
    assert tape.absorbed == honest.absorbed
    assert (tape.challenges[b"y"] != honest.challenges[b"y"]) == (index < honest.at_challenge[b"y"])
    assert tape.challenges[b"e"] != honest.challenges[b"e"]


def test_every_byte_of_the_statement_moves_the_challenges(
    honest: Tape, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {honest.challenges[b"y"]}
    size = len(ORDER.statement.encode())
    for where in range(size):
        tape = Tape(flip=1, where=where)
        monkeypatch.setattr(order_statement, "Transcript", taped(tape))
        opened = order_statement.open_transcript(LABEL_ORDER_PROOF, KEY, ORDER.statement, ORDER.sent)
        seen.add(opened.challenge(b"y", POWERS_CHALLENGE_BITS))
    assert len(seen) == 1 + size


@pytest.mark.parametrize("index", elements())
def test_labels_count(monkeypatch: pytest.MonkeyPatch, index: int) -> None:
    with pytest.raises(VerificationError):
        verify_taped(monkeypatch, Tape(relabel=index))


def test_the_protocol_name_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerificationError):
        verify_taped(monkeypatch, Tape(rename=True))


def test_the_statement_encodes_every_field() -> None:
    statement = ORDER.statement
    names = [name for name in type(statement).__slots__ if name != "leaf_commitment"]
    encoded = {statement.encode()}
    for name in names:
        value = getattr(statement, name)
        if isinstance(value, int):
            other: Any = value + 1
        elif isinstance(value, bytes):
            other = value[:-1] + b"\xff"
        elif isinstance(value, tuple):
            other = value[:1]
        else:
            other = value + value
        changed = replace(statement, **{name: other})
        encoded.add(changed.encode())
        assert changed.encode_without_leaf() != statement.encode_without_leaf()
    encoded.add(replace(statement, leaf_commitment=bytes(32)).encode())
    assert len(encoded) == len(names) + 2
