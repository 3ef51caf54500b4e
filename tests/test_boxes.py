"""HPKE boxes against RFC 9180, and everything that must not open."""

from __future__ import annotations

from typing import Any

import pytest
from Crypto.Protocol import HPKE
from Crypto.Protocol.DH import import_x25519_private_key
from Crypto.PublicKey import ECC
from hypothesis import given
from hypothesis import strategies as st

from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.sealing import (
    BOX_OVERHEAD,
    MAX_BOX_BYTES,
    BoxKey,
    box_open,
    box_seal,
    check_public,
)
from tests.published import vectors
from tests.strategies import flip

SEED = bytes(range(32))


@pytest.mark.parametrize("row", vectors("rfc9180-x25519-aes256gcm.json"), ids=lambda _: "base")
def test_hpke_meets_rfc_9180(row: dict[str, Any]) -> None:
    key = BoxKey.derive(bytes.fromhex(row["ikmR"]))
    assert key.public.hex() == row["pkRm"]
    private = import_x25519_private_key(bytes.fromhex(row["skRm"]))
    assert private.public_key().export_key(format="raw") == key.public
    assert BoxKey.derive(bytes.fromhex(row["ikmE"])).public.hex() == row["enc"]
    info, enc = bytes.fromhex(row["info"]), bytes.fromhex(row["enc"])
    first = row["encryptions"][0]
    box = enc + bytes.fromhex(first["ct"])
    assert box_open(key, box, info, bytes.fromhex(first["aad"])).hex() == first["pt"]
    # Our boxes hold one message; the library under them meets the later ones too.
    context = HPKE.new(receiver_key=key.private, aead_id=HPKE.AEAD.AES256_GCM, enc=enc, info=info)
    for encryption in row["encryptions"]:
        opened = context.unseal(bytes.fromhex(encryption["ct"]), bytes.fromhex(encryption["aad"]))
        assert opened.hex() == encryption["pt"]


def test_a_sender_with_the_vectors_ephemeral_key_makes_the_vectors_box(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (row,) = vectors("rfc9180-x25519-aes256gcm.json")
    ephemeral = import_x25519_private_key(bytes.fromhex(row["skEm"]))
    monkeypatch.setattr(ECC, "generate", lambda **_: ephemeral)
    first = row["encryptions"][0]
    box = box_seal(
        bytes.fromhex(row["pkRm"]),
        *(bytes.fromhex(field) for field in (first["pt"], row["info"], first["aad"])),
    )
    assert box.hex() == row["enc"] + first["ct"]


@given(st.binary(max_size=300), st.binary(max_size=20), st.binary(max_size=20))
def test_a_box_opens_to_what_was_sealed(plaintext: bytes, info: bytes, aad: bytes) -> None:
    key = BoxKey.generate()
    sealed = box_seal(key.public, plaintext, info, aad)
    assert len(sealed) == len(plaintext) + BOX_OVERHEAD
    assert box_open(key, sealed, info, aad) == plaintext


@given(st.data())
def test_any_changed_bit_of_a_box_is_refused(data: st.DataObject) -> None:
    key = BoxKey.derive(SEED)
    box = box_seal(key.public, b"grant", b"info", b"aad")
    opener, changed, info, aad = data.draw(
        st.sampled_from(
            [
                (BoxKey.derive(flip(data, SEED)), box, b"info", b"aad"),
                (key, flip(data, box), b"info", b"aad"),
                (key, box, b"inf", b"oaad"),
                (key, box, b"info", flip(data, b"aad")),
                (key, box + b"\x00", b"info", b"aad"),
                (key, box[:-1], b"info", b"aad"),
            ]
        )
    )
    with pytest.raises((VerificationError, DecodeError)):  # a changed enc may be no key at all
        box_open(opener, changed, info, aad)


P = 2**255 - 19
LOW_ORDER = [
    0,
    1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
    P - 1,
    P,
    P + 1,
]


@pytest.mark.parametrize("u", [*LOW_ORDER, *(u + 2**255 for u in LOW_ORDER)])
def test_low_order_keys_are_refused(u: int) -> None:
    public = u.to_bytes(32, "little")
    with pytest.raises(DecodeError, match=r"low order|canonical"):
        check_public(public)
    with pytest.raises(DecodeError):
        box_seal(public, b"", b"", b"")
    with pytest.raises(DecodeError, match="encapsulated key"):
        box_open(BoxKey.derive(SEED), public + bytes(16), b"", b"")


@pytest.mark.parametrize("u", [9 + 2**255, P + 9, 2**256 - 1])
def test_other_spellings_of_a_key_are_refused(u: int) -> None:
    check_public((9).to_bytes(32, "little"))
    with pytest.raises(DecodeError, match="canonical"):
        check_public(u.to_bytes(32, "little"))


def test_box_bounds() -> None:
    key = BoxKey.derive(SEED)
    assert box_open(key, box_seal(key.public, bytes(MAX_BOX_BYTES), b"", b""), b"", b"") == bytes(
        MAX_BOX_BYTES
    )
    with pytest.raises(ParameterError, match="the limit is 65536"):
        box_seal(key.public, bytes(MAX_BOX_BYTES + 1), b"", b"")
    for length in (0, BOX_OVERHEAD - 1, BOX_OVERHEAD + MAX_BOX_BYTES + 1):
        with pytest.raises(DecodeError, match=f"box: {length} bytes"):
            box_open(key, bytes(length), b"", b"")
    for public in (b"", bytes(31), bytes(33)):
        with pytest.raises(DecodeError, match="X25519 key has 32"):
            check_public(public)
    for seed in (b"", bytes(31), bytes(33)):
        with pytest.raises(ParameterError):
            BoxKey.derive(seed)
    for info, aad in ((bytes((1 << 16) + 1), b""), (b"", bytes((1 << 16) + 1))):
        with pytest.raises(ParameterError):
            box_seal(key.public, b"", info, aad)


def test_generated_keys_differ() -> None:
    assert BoxKey.generate().public != BoxKey.generate().public
