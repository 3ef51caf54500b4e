"""The keystore file: round trips, permissions, never overwriting, and every way to spoil it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkpool import keystore as module
from darkpool.errors import DarkpoolError
from darkpool.keystore import INSECURE_TEST, STANDARD, Keystore, KeystoreError, ScryptCost
from darkpool.types import address_hex

PASSPHRASE = "correct horse battery staple"
KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
ADDRESS = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"  # the well-known first development account
SEED = bytes(range(32))
FROZEN = Path(__file__).parent / "vectors" / "keystore-v1.json"


@pytest.fixture
def made(tmp_path: Path) -> Keystore:
    path = tmp_path / "alice.json"
    return Keystore.create(path, PASSPHRASE, private_key=KEY, seed=SEED, cost=INSECURE_TEST)


def reopened(path: Path, passphrase: str = PASSPHRASE) -> Keystore:
    return Keystore.open(path, passphrase, allow_insecure_test=True)


def rewrite(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def test_a_keystore_opens_to_what_was_stored(made: Keystore) -> None:
    opened = reopened(made.path)
    assert (opened.private_key, opened.seed, opened.address) == (KEY, SEED, made.address)
    assert address_hex(opened.address) == ADDRESS
    assert opened.path == made.path


def test_the_standard_cost_is_the_default_and_opens(tmp_path: Path) -> None:
    made = Keystore.create(tmp_path / "k.json", PASSPHRASE)
    kdf = json.loads(made.path.read_text("ascii"))["kdf"]
    assert (kdf["cost"], kdf["n"], kdf["r"], kdf["p"]) == ("standard", 131072, 8, 1)
    assert STANDARD.n == 1 << 17
    opened = Keystore.open(made.path, PASSPHRASE)
    assert (opened.private_key, opened.seed) == (made.private_key, made.seed)


def test_fresh_keystores_share_nothing(tmp_path: Path) -> None:
    stores = [Keystore.create(tmp_path / f"{i}", PASSPHRASE, cost=INSECURE_TEST) for i in range(3)]
    for shared in ("private_key", "seed", "address"):
        assert len({getattr(store, shared) for store in stores}) == 3
    files = [json.loads(store.path.read_text("ascii")) for store in stores]
    assert len({file["kdf"]["salt"] for file in files}) == len({file["sealed"] for file in files}) == 3


def test_the_frozen_file_opens(tmp_path: Path) -> None:
    # Written by version 1; never regenerate.
    path = tmp_path / "frozen.json"
    rewrite(path, FROZEN.read_bytes())
    opened = reopened(path)
    assert (opened.private_key, opened.seed) == (KEY, SEED)


def test_the_cheap_cost_must_be_asked_for(made: Keystore) -> None:
    with pytest.raises(KeystoreError, match="protects nothing"):
        Keystore.open(made.path, PASSPHRASE)


# --- passphrases ------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["correct horse battery stapl", "Correct horse battery staple", "x"])
def test_a_wrong_passphrase_is_refused_with_a_hint(made: Keystore, wrong: str) -> None:
    with pytest.raises(KeystoreError, match="this passphrase does not open it") as refusal:
        reopened(made.path, wrong)
    assert "keyboard layout" in refusal.value.hint
    assert isinstance(refusal.value, DarkpoolError)
    assert refusal.value.exit_code == 2


def test_a_passphrase_has_one_spelling(tmp_path: Path) -> None:
    made = Keystore.create(tmp_path / "k", "caf\u00e9 au lait", cost=INSECURE_TEST)
    assert reopened(made.path, "cafe\u0301 au lait").seed == made.seed


@pytest.mark.parametrize("passphrase", ["", "7 bytes", "x" * 1025, "\ud800" * 8])
def test_bad_passphrases_are_refused_before_anything_is_written(tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(KeystoreError, match="passphrase"):
        Keystore.create(tmp_path / "k", passphrase, cost=INSECURE_TEST)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("passphrase", ["", "x" * 1025, "\ud800"])
def test_impossible_passphrases_are_refused_on_opening(made: Keystore, passphrase: str) -> None:
    with pytest.raises(KeystoreError, match="passphrase"):
        reopened(made.path, passphrase)


# --- secrets ----------------------------------------------------------------------------------------


def test_nothing_secret_is_printed_or_stored_in_clear(made: Keystore) -> None:
    shown = f"{made!r} {made} {[made]}"
    assert ADDRESS in shown
    text = made.path.read_bytes()
    for secret in (KEY, SEED, PASSPHRASE.encode()):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        assert secret not in text
        assert secret.hex().encode() not in text.lower()


def order_of_secp256k1() -> bytes:
    return bytes.fromhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")


@pytest.mark.parametrize("key", [b"", bytes(31), bytes(32), order_of_secp256k1(), b"\xff" * 32, bytes(33)])
def test_only_a_private_key_is_stored(tmp_path: Path, key: bytes) -> None:
    with pytest.raises(KeystoreError, match="private key") as refusal:
        Keystore.create(tmp_path / "k", PASSPHRASE, private_key=key, cost=INSECURE_TEST)
    assert key == b"" or key.hex() not in str(refusal.value)
    assert not list(tmp_path.iterdir())


def test_the_largest_key_is_stored(tmp_path: Path) -> None:
    key = (int.from_bytes(order_of_secp256k1(), "big") - 1).to_bytes(32, "big")
    made = Keystore.create(tmp_path / "k", PASSPHRASE, private_key=key, cost=INSECURE_TEST)
    assert reopened(made.path).private_key == key


@pytest.mark.parametrize("length", [0, 31, 33])
def test_only_a_seed_is_stored(tmp_path: Path, length: int) -> None:
    with pytest.raises(KeystoreError, match=f"seed: {length} bytes"):
        Keystore.create(tmp_path / "k", PASSPHRASE, seed=bytes(length), cost=INSECURE_TEST)


# --- the file itself --------------------------------------------------------------------------------


def test_only_the_owner_can_read_it_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = Keystore.create(tmp_path / "k", PASSPHRASE, cost=INSECURE_TEST)
    finally:
        os.umask(before)
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_file_others_can_reach_is_refused(made: Keystore, mode: int) -> None:
    made.path.chmod(mode)
    with pytest.raises(KeystoreError, match=f"mode {mode:04o}") as refusal:
        reopened(made.path)
    assert "chmod 600" in refusal.value.hint


def test_a_keystore_is_never_overwritten(made: Keystore, tmp_path: Path) -> None:
    before = made.path.read_bytes()
    with pytest.raises(KeystoreError, match="never overwritten"):
        Keystore.create(made.path, PASSPHRASE, cost=INSECURE_TEST)
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeystoreError, match="never overwritten"):
        Keystore.create(dangling, PASSPHRASE, cost=INSECURE_TEST)
    assert made.path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["alice.json", "dangling"]


def test_nor_if_the_name_is_taken_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k"
    stretch = module.stretch

    def slow(secret: bytes, salt: bytes, cost: ScryptCost) -> bytes:
        path.write_bytes(b"somebody else's")
        return stretch(secret, salt, cost)

    monkeypatch.setattr(module, "stretch", slow)
    with pytest.raises(KeystoreError, match="never overwritten"):
        Keystore.create(path, PASSPHRASE, cost=INSECURE_TEST)
    assert path.read_bytes() == b"somebody else's"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "link"])
def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(KeystoreError, match="cannot be written: No space left"):
        Keystore.create(tmp_path / "k", PASSPHRASE, cost=INSECURE_TEST)
    assert not list(tmp_path.iterdir())


def test_paths_that_cannot_hold_a_keystore(tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="cannot be written"):
        Keystore.create(tmp_path / "missing" / "k", PASSPHRASE, cost=INSECURE_TEST)
    with pytest.raises(KeystoreError, match="cannot be read: No such file"):
        reopened(tmp_path / "k")
    with pytest.raises(KeystoreError, match="not a regular file"):
        reopened(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(KeystoreError, match="not a regular file"):
        reopened(tmp_path / "pipe")


# --- the file's form --------------------------------------------------------------------------------


def put(fields: dict[str, Any], name: str, value: object) -> None:
    *outer, last = name.split(".")
    for part in outer:
        fields = fields[part]
    fields[last] = value


WRONG: list[tuple[str, object]] = [
    ("format", "geth"),
    ("format", None),
    ("version", 2),
    ("version", True),
    ("version", "1"),
    ("version", 1.0),
    ("cipher", "aes-128-gcm"),
    ("kdf", None),
    ("kdf", []),
    ("kdf.name", "pbkdf2"),
    ("kdf.cost", "standard"),
    ("kdf.cost", "free"),
    ("kdf.cost", None),
    ("kdf.cost", []),
    ("kdf.n", 2),
    ("kdf.n", 1 << 40),
    ("kdf.n", -16),
    ("kdf.n", "16"),
    ("kdf.r", 1),
    ("kdf.p", True),
    ("kdf.p", 10**400),
    ("kdf.salt", ""),
    ("kdf.salt", "0" * 62),
    ("kdf.salt", "0" * 66),
    ("kdf.salt", "g" * 64),
    ("kdf.salt", "A" * 64),
    ("kdf.salt", " " * 64),
    ("kdf.salt", 0),
    ("kdf.salt", "\u0660" * 64),
    ("kdf.extra", 1),
    ("address", ADDRESS[2:]),
    ("address", ADDRESS.lower()),
    ("address", ADDRESS.replace("f39F", "f39f")),
    ("address", None),
    ("sealed", ""),
    ("sealed", "00" * 91),
    ("sealed", "00" * 93),
    ("sealed", None),
    ("extra", 1),
]


@pytest.mark.parametrize("name,value", WRONG)
def test_a_field_that_is_not_as_written_is_refused(made: Keystore, name: str, value: object) -> None:
    fields = json.loads(made.path.read_text("ascii"))
    put(fields, name, value)
    rewrite(made.path, json.dumps(fields).encode())
    with pytest.raises(KeystoreError) as refusal:
        reopened(made.path)
    assert "does not open" not in str(refusal.value)  # refused for its form, before any passphrase work
    assert refusal.value.hint


@pytest.mark.parametrize(
    "name", ["format", "version", "address", "kdf", "cipher", "sealed", "kdf.n", "kdf.salt"]
)
def test_a_missing_field_is_refused(made: Keystore, name: str) -> None:
    fields = json.loads(made.path.read_text("ascii"))
    outer, _, inner = name.partition(".")
    del (fields[outer] if inner else fields)[inner or outer]
    rewrite(made.path, json.dumps(fields).encode())
    with pytest.raises(KeystoreError, match="exactly the fields"):
        reopened(made.path)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda data: data[:-10],
        lambda data: data + b"x",
        lambda data: data + data,
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"{", b'{"version": 1,', 1),
        lambda data: data.replace(b'"version": 1', b'"version": 1e0'),
        lambda data: data.replace(b'"version": 1', b'"version": NaN'),
        lambda data: data.replace(b"darkpool", "darkpo\u00f6l".encode()),
        lambda _: b"[" * 4000,
        lambda _: b"1" * 4096,
        lambda _: b'"text"',
        lambda _: bytes(range(256)),
    ],
)
def test_a_file_that_is_no_keystore_is_refused(made: Keystore, change: Callable[[bytes], bytes]) -> None:
    rewrite(made.path, change(made.path.read_bytes()))
    with pytest.raises(KeystoreError):
        reopened(made.path)


def test_a_long_file_is_refused_unread(made: Keystore) -> None:
    rewrite(made.path, made.path.read_bytes() + b" " * 4096)
    with pytest.raises(KeystoreError, match="over 4096 bytes"):
        reopened(made.path)


@pytest.mark.parametrize("name", ["kdf.salt", "sealed"])
def test_changed_secrets_are_refused(made: Keystore, name: str) -> None:
    fields = json.loads(made.path.read_text("ascii"))
    outer, _, inner = name.partition(".")
    text = fields[outer][inner] if inner else fields[outer]
    put(fields, name, f"{int(text[0], 16) ^ 1:x}" + text[1:])
    rewrite(made.path, json.dumps(fields).encode())
    with pytest.raises(KeystoreError, match="does not open it"):
        reopened(made.path)


def test_another_address_is_refused(made: Keystore, tmp_path: Path) -> None:
    other = Keystore.create(tmp_path / "other", PASSPHRASE, cost=INSECURE_TEST)
    fields = json.loads(made.path.read_text("ascii"))
    fields["address"] = address_hex(other.address)
    rewrite(made.path, json.dumps(fields).encode())
    with pytest.raises(KeystoreError, match="does not open it"):
        reopened(made.path)


@given(data=st.data())
def test_no_single_byte_can_change_unnoticed(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    original = FROZEN.read_bytes()
    at = data.draw(st.integers(0, len(original) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != original[at]))
    path = tmp_path_factory.mktemp("k") / "k"
    rewrite(path, original[:at] + bytes([byte]) + original[at + 1 :])
    try:
        opened = reopened(path)
    except KeystoreError:
        return
    # Only white space between the fields means nothing.
    assert chr(original[at]).isspace()
    assert chr(byte).isspace()
    assert (opened.private_key, opened.seed) == (KEY, SEED)
