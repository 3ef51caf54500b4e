"""Auditor keys: possession is proven for one context, anything else is refused."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments import auditor_key
from commitments.auditor_key import KeyContext, Registration, SecretKey, register, verify
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.group import Point, using_backend
from commitments.params import CHALLENGE_BITS, GROUP_ORDER, LABEL_AUDITOR_REGISTRATION
from commitments.pedersen import generator_g, generator_h
from tests.commitments_support import corruptions
from tests.transcript_tape import everything_counts

CONTEXT = KeyContext(31_337, b"\x01" * 20, b"\x02" * 32, "Autorité des marchés")
VENUE = (CONTEXT.chain_id, CONTEXT.contract, CONTEXT.venue)
SECRET = SecretKey(123_456_789)
HONEST = register(SECRET, CONTEXT)


def test_a_registration_holds_and_survives_its_encoding() -> None:
    again = Registration.decode(HONEST.encode())
    assert again == HONEST
    assert again.key == generator_h() * SECRET.value
    verify(again, *VENUE)


def test_the_reference_backend_agrees() -> None:
    raw = bytearray(HONEST.encode())
    with using_backend("reference"):
        verify(Registration.decode(bytes(raw)), *VENUE)
        raw[-1] ^= 1
        with pytest.raises(VerificationError, match="possession"):
            verify(Registration.decode(bytes(raw)), *VENUE)


def test_two_registrations_share_no_mask() -> None:
    again = register(SECRET, CONTEXT)
    assert again.mask != HONEST.mask
    assert again.response != HONEST.response


@pytest.mark.parametrize("change", [{"chain_id": 1}, {"contract": b"\x09" * 20}, {"venue": b"\x09" * 32}])
def test_a_registration_elsewhere_is_refused(change: dict[str, Any]) -> None:
    other = register(SECRET, replace(CONTEXT, **change))
    with pytest.raises(VerificationError, match="another chain, contract or venue"):
        verify(other, *VENUE)
    # Nor does saying that it was made here help.
    with pytest.raises(VerificationError, match="possession"):
        verify(replace(other, context=CONTEXT), *VENUE)


def test_nobody_registers_the_key_of_another_under_its_own_name() -> None:
    with pytest.raises(VerificationError, match="possession"):
        verify(replace(HONEST, context=replace(CONTEXT, authority="somebody else")), *VENUE)


def test_a_key_made_of_anothers_is_refused() -> None:
    mine = SecretKey(77)
    with pytest.raises(VerificationError, match="possession"):
        verify(replace(register(mine, CONTEXT), key=mine.public + HONEST.key), *VENUE)


def test_a_multiple_of_another_generator_is_refused() -> None:
    honest = register(SECRET, CONTEXT)
    with pytest.raises(VerificationError, match="possession"):
        verify(replace(honest, key=generator_g() * SECRET.value), *VENUE)


def test_the_identity_is_refused_though_its_proof_would_hold() -> None:
    identity = Point.identity()
    trivial = Registration(CONTEXT, identity, generator_h() * 5, 5)
    with pytest.raises(VerificationError, match="identity"):
        verify(trivial, *VENUE)
    with pytest.raises(DecodeError, match=r"^key: the identity"):
        Registration.decode(trivial.encode())


@pytest.mark.parametrize("name", [f.name for f in fields(Registration) if f.name != "context"])
def test_a_corrupt_field_is_refused(name: str) -> None:
    for value in corruptions(getattr(HONEST, name), mpz(0)):
        with pytest.raises(VerificationError):
            verify(replace(HONEST, **{name: value}), *VENUE)


def test_everything_said_counts() -> None:
    tape = everything_counts(auditor_key, lambda: verify(HONEST, *VENUE))
    assert [label for label, _ in tape.absorbed] == [b"context", b"key", b"mask"]
    assert tape.absorbed[0][1] == CONTEXT.encode()
    assert tape.protocols == [LABEL_AUDITOR_REGISTRATION]
    assert tape.sizes == {b"e": CHALLENGE_BITS}


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_flipped_bit_is_refused(data: st.DataObject) -> None:
    raw = bytearray(HONEST.encode())
    raw[data.draw(st.integers(0, len(raw) - 1), "byte")] ^= 1 << data.draw(st.integers(0, 7), "bit")
    with pytest.raises((DecodeError, VerificationError)):
        verify(Registration.decode(bytes(raw)), *VENUE)


@pytest.mark.parametrize("record, other", [(HONEST, SECRET), (SECRET, HONEST)])
def test_cut_prolonged_or_other_files_are_refused(
    record: Registration | SecretKey, other: Registration | SecretKey
) -> None:
    raw = record.encode()
    for bad in (b"", raw[:3], raw[:-1], raw + b"\0", other.encode()):
        with pytest.raises(DecodeError):
            type(record).decode(bad)


@pytest.mark.parametrize("name", ["", " x", "x ", "a\nb", "a\x1b[2J", "x" * 65, "é" * 33, "\ud800"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ParameterError, match=r"^authority: "):
        register(SECRET, replace(CONTEXT, authority=name))


@pytest.mark.parametrize("name", [b"", b" x", b"a\nb", b"\xff", b"x" * 65])
def test_a_name_that_is_none_is_not_decoded(name: bytes) -> None:
    good = CONTEXT.authority.encode()
    changed = HONEST.encode().replace(
        len(good).to_bytes(4, "big") + good, len(name).to_bytes(4, "big") + name
    )
    with pytest.raises(DecodeError, match=r"^context\.authority: "):
        Registration.decode(changed)


def test_secret_keys_are_drawn_stored_and_hidden() -> None:
    drawn = {SecretKey.generate().value for _ in range(8)}
    assert len(drawn) == 8
    assert SecretKey.decode(SECRET.encode()) == SECRET
    assert str(SECRET.value) not in repr(SECRET)


@pytest.mark.parametrize("value", [0, GROUP_ORDER, -1])
def test_a_secret_key_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(ParameterError, match="1 to r - 1"):
        SecretKey(value)


@pytest.mark.parametrize("value", [0, GROUP_ORDER])
def test_a_stored_secret_key_out_of_range_is_refused(value: int) -> None:
    with pytest.raises(DecodeError, match=r"^secret_key\.value: "):
        SecretKey.decode(SECRET.encode()[:-32] + value.to_bytes(32, "big"))
