"""Key paths, notes, boxes and key commitments: published vectors, round trips, and refusals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from commitments import sealing
from commitments.errors import DecodeError, ParameterError, VerificationError
from commitments.params import MAX_NOTE_BYTES
from commitments.sealing import (
    NOTE_OVERHEAD,
    BoxKey,
    NodeKey,
    box_open,
    derive_path,
    hkdf,
    hmac_commit,
    note_key,
    open_,
    seal,
    verify_hmac_commit,
    view_account,
    view_day,
    view_market,
    view_order,
)
from tests.published import vectors
from tests.strategies import flip

SEED = bytes(range(32))
CONTRACT, ACCOUNT = b"\xc0" * 20, b"\xac" * 20


# --- HKDF and paths ---------------------------------------------------------------------------------


@pytest.mark.parametrize("row", vectors("rfc5869-sha256.json"), ids=lambda row: row["name"])
def test_hkdf_meets_rfc_5869(row: dict[str, Any]) -> None:
    ikm, salt, info = (bytes.fromhex(row[name]) for name in ("ikm", "salt", "info"))
    assert hkdf(ikm, salt, info, row["length"]).hex() == row["okm"]


@pytest.mark.parametrize("length", [0, -1, 8161])
def test_hkdf_output_is_bounded(length: int) -> None:
    with pytest.raises(ParameterError, match="1 to 8160"):
        hkdf(SEED, b"", b"", length)
    with pytest.raises(ParameterError):
        derive_path(SEED).expand(b"label", b"", length)


def leaf(seed: bytes = SEED, market: bytes = b"ETH-USDC", day: int = 20_000, nonce: int = 7) -> NodeKey:
    return view_order(view_day(view_market(view_account(seed, 31337, CONTRACT, ACCOUNT), market), day), nonce)


def test_frozen_paths() -> None:
    (row,) = vectors("sealing-v1.json")
    account = view_account(SEED, 31337, CONTRACT, ACCOUNT)
    market = view_market(account, b"ETH-USDC")
    day = view_day(market, 20_000)
    order = view_order(day, 7)
    assert {
        "root": derive_path(SEED).secret.hex(),
        "account": account.secret.hex(),
        "market": market.secret.hex(),
        "day": day.secret.hex(),
        "order": order.secret.hex(),
        "note_key": note_key(order).hex(),
        "expanded": order.expand(b"test", b"element", 48).hex(),
        "commitment": hmac_commit(order.secret, b"statement").hex(),
        "box_public": BoxKey.derive(SEED).public.hex(),
    } == row["derived"]
    assert open_(note_key(order), bytes.fromhex(row["sealed_note"]), b"associated") == b"a note"
    assert box_open(BoxKey.derive(SEED), bytes.fromhex(row["box"]), b"info", b"aad") == b"a box"


def test_a_node_is_the_documented_hkdf() -> None:
    node = derive_path(SEED)
    assert node.secret == hkdf(SEED, b"darkpool/v1/seed", b"", 32)
    info = b"\x00" + (32).to_bytes(4, "big") + b"\x05label" + (4).to_bytes(4, "big") + b"data"
    assert node.child(b"label", b"data").secret == hkdf(node.secret, b"", info, 32)
    assert derive_path(SEED, (b"label", b"data"), (b"x", b"")) == node.child(b"label", b"data").child(
        b"x", b""
    )


def test_every_level_of_a_view_path_matters() -> None:
    keys = {
        view.secret
        for view in (
            leaf(),
            leaf(seed=bytes(32)),
            leaf(market=b"ETH-USDT"),
            leaf(day=20_001),
            leaf(nonce=8),
            view_account(SEED, 31337, CONTRACT, ACCOUNT),
            view_account(SEED, 31338, CONTRACT, ACCOUNT),
            view_account(SEED, 31337, ACCOUNT, CONTRACT),
            view_account(SEED, 31337, CONTRACT, b"\xad" * 20),
            derive_path(SEED),
        )
    }
    assert len(keys) == 10


def test_a_node_opens_its_cell_and_no_other() -> None:
    # An auditor who holds one day derives that day's orders exactly as the trader does.
    market = view_market(view_account(SEED, 31337, CONTRACT, ACCOUNT), b"ETH-USDC")
    granted = NodeKey(view_day(market, 20_000).secret)
    note = seal(note_key(leaf()), b"buy 5", b"order")
    assert open_(note_key(view_order(granted, 7)), note, b"order") == b"buy 5"
    tomorrow = seal(note_key(leaf(day=20_001)), b"buy 6", b"order")
    for nonce in range(16):
        with pytest.raises(VerificationError):
            open_(note_key(view_order(granted, nonce)), tomorrow, b"order")


@given(
    st.tuples(st.binary(min_size=1, max_size=4), st.binary(max_size=4)),
    st.tuples(st.binary(min_size=1, max_size=4), st.binary(max_size=4)),
)
def test_labels_and_elements_do_not_run_together(
    left: tuple[bytes, bytes], right: tuple[bytes, bytes]
) -> None:
    node = derive_path(SEED)
    assert (node.child(*left) == node.child(*right)) == (left == right)


def test_expanded_bytes_are_no_prefix_of_others_and_no_child() -> None:
    node = derive_path(SEED)
    starts = {node.expand(b"l", b"d", length)[:16] for length in (16, 32, 33, 64)}
    assert len(starts | {node.child(b"l", b"d").secret[:16]}) == 5


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: derive_path(bytes(31)),
        lambda: NodeKey(bytes(33)),
        lambda: derive_path(SEED).child(b"", b"x"),
        lambda: derive_path(SEED).child(b"l" * 256, b"x"),
        lambda: derive_path(SEED).child(b"l", bytes(1025)),
        lambda: view_account(SEED, -1, CONTRACT, ACCOUNT),
        lambda: view_account(SEED, 1 << 256, CONTRACT, ACCOUNT),
        lambda: view_account(SEED, 1, CONTRACT + b"x", ACCOUNT),
        lambda: view_account(SEED, 1, CONTRACT, ACCOUNT[1:]),
        lambda: leaf(market=b""),
        lambda: leaf(market=b"m" * 65),
        lambda: leaf(day=-1),
        lambda: leaf(day=1 << 32),
        lambda: leaf(nonce=-1),
        lambda: leaf(nonce=1 << 64),
    ],
)
def test_bad_path_elements_are_refused(misuse: Callable[[], object]) -> None:
    with pytest.raises(ParameterError):
        misuse()


def test_nothing_secret_is_printed() -> None:
    node, box = leaf(), BoxKey.derive(SEED)
    for shown in (repr(node), str(node), f"{[node]}", repr(box), f"{(box,)}"):
        assert node.secret.hex() not in shown
        assert repr(node.secret)[2:-1] not in shown
    assert repr(node) == "NodeKey(<secret>)"
    assert repr(box) == f"BoxKey(public={box.public.hex()})"
    private = box.private.export_key(format="DER")
    assert private[-32:].hex() not in repr(box)


def test_nodes_compare_by_value() -> None:
    assert leaf() == leaf()
    assert leaf() != leaf(nonce=8)
    assert leaf() != leaf().secret
    assert len({leaf(), leaf(), leaf(nonce=8)}) == 2


# --- notes ------------------------------------------------------------------------------------------


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=MAX_NOTE_BYTES), st.binary(max_size=100))
def test_a_note_opens_to_what_was_sealed(key: bytes, plaintext: bytes, associated: bytes) -> None:
    sealed = seal(key, plaintext, associated)
    assert len(sealed) == len(plaintext) + NOTE_OVERHEAD
    assert open_(key, sealed, associated) == plaintext


@given(st.data())
def test_any_changed_bit_of_a_note_is_refused(data: st.DataObject) -> None:
    sealed = seal(SEED, b"a note of some length", b"associated")
    key, changed, associated = data.draw(
        st.sampled_from(
            [
                (flip(data, SEED), sealed, b"associated"),
                (SEED, flip(data, sealed), b"associated"),
                (SEED, sealed, flip(data, b"associated")),
                (SEED, sealed, b""),
                (SEED, sealed + b"\x00", b"associated"),
                (SEED, sealed[:-1], b"associated"),
            ]
        )
    )
    with pytest.raises(VerificationError):
        open_(key, changed, associated)


def test_notes_are_aes_256_gcm() -> None:
    # McGrew and Viega, "The Galois/Counter Mode of Operation", test case 16, of NIST's GCM submission.
    key = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
    associated = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    plaintext = bytes.fromhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    sealed = bytes.fromhex(
        "cafebabefacedbaddecaf888"
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        "76fc6ece0f4e1768cddf8853bb2d551b"
    )
    assert open_(key, sealed, associated) == plaintext


def test_nonces_are_fresh() -> None:
    assert len({seal(SEED, b"", b"")[:12] for _ in range(100)}) == 100


def test_note_bounds() -> None:
    for length in (0, NOTE_OVERHEAD - 1, NOTE_OVERHEAD + MAX_NOTE_BYTES + 1):
        with pytest.raises(DecodeError, match=f"sealed note: {length} bytes"):
            open_(SEED, bytes(length), b"")
    with pytest.raises(ParameterError, match="the limit is 1024"):
        seal(SEED, bytes(MAX_NOTE_BYTES + 1), b"")
    for key in (b"", bytes(16), bytes(33)):
        with pytest.raises(ParameterError):
            seal(key, b"", b"")
        with pytest.raises(ParameterError):
            open_(key, bytes(NOTE_OVERHEAD), b"")
    with pytest.raises(ParameterError):
        seal(SEED, b"", bytes((1 << 16) + 1))


# --- commitments to a key ---------------------------------------------------------------------------


@given(st.data(), st.binary(min_size=32, max_size=32), st.binary(min_size=1, max_size=64))
def test_a_commitment_binds_key_and_data(data: st.DataObject, key: bytes, message: bytes) -> None:
    commitment = hmac_commit(key, message)
    assert len(commitment) == 32
    verify_hmac_commit(key, message, commitment)
    for wrong in (
        (flip(data, key), message, commitment),
        (key, flip(data, message), commitment),
        (key, message + b"\x00", commitment),
        (key, message, flip(data, commitment)),
        (key, message, commitment[:31]),
        (key, message, b""),
    ):
        with pytest.raises(VerificationError):
            verify_hmac_commit(*wrong)


@pytest.mark.parametrize("length", [0, 31, 33, 64, 65])
def test_commitment_keys_have_one_length(length: int) -> None:
    with pytest.raises(ParameterError):
        hmac_commit(bytes(length), b"")


def test_labels_are_versioned_and_unique() -> None:
    labels = [value for name, value in vars(sealing).items() if name.startswith("LABEL_")]
    assert len(set(labels)) == len(labels) == 7
    assert all(label.startswith(b"darkpool/v1/") for label in labels)
