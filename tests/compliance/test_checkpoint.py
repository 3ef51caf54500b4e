"""Signed notes and checkpoints: answers known from elsewhere, and bytes of strangers."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.merkle import EMPTY_ROOT, MAX_SIZE
from compliance import signed_note
from compliance.checkpoint import Checkpoint
from compliance.signed_note import Note, NoteSigner, NoteVerifier
from tests.compliance.log_support import OTHER, SIGNER
from tests.strategies import flip

# Known answers of golang.org/x/mod/sumdb/note.
PETER_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SECRET = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH_KEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
PETER = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6Ry"
    "yBwJnAM=\n"
)
ENOCH = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvM"
    "c+QQ=\n"
)
# The example of c2sp.org/signed-note.
EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Y"
    "u72IneyaQM=\n"
)
# That of c2sp.org/tlog-checkpoint.
TLOG = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"


def opened(note: str, key: str) -> str:
    read = Note.read(note.encode())
    NoteVerifier.read(key).check(read)
    return read.text


def test_known_notes_open() -> None:
    assert opened(TEXT + "\n" + PETER, PETER_KEY) == TEXT
    assert opened(TEXT + "\n" + PETER + ENOCH, ENOCH_KEY) == TEXT
    assert opened(TEXT + "\n" + PETER + PETER + ENOCH, PETER_KEY) == TEXT
    assert opened(EXAMPLE, EXAMPLE_KEY) == "This is an example message.\n"


def test_a_known_key_signs_the_known_note() -> None:
    signer = NoteSigner("PeterNeumann", base64.b64decode(PETER_SECRET)[1:])
    assert signer.verifier.vkey == PETER_KEY
    assert signer.sign(TEXT) == TEXT + "\n" + PETER


@pytest.mark.parametrize("key", [PETER_KEY, ENOCH_KEY, EXAMPLE_KEY, SIGNER.verifier.vkey])
def test_a_verifier_key_has_one_text(key: str) -> None:
    assert NoteVerifier.read(key).vkey == key
    wrong = [key[i:j] for i in range(len(key)) for j in range(i, len(key) + 1) if (i, j) != (0, len(key))]
    wrong += [key[:i] + chr(ord(c) + 1) + key[i + 1 :] for i, c in enumerate(key)]
    wrong += [key + "=", key + "\n", " " + key, key.replace("+", " ", 1)]
    for text in wrong:
        with pytest.raises(DecodeError):
            NoteVerifier.read(text)


@pytest.mark.parametrize(
    "key",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",  # too long, id adjusted
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",  # another algorithm
        PETER_KEY.replace("c74f20a3", "C74F20A3"),
        PETER_KEY.replace("c74f20a3", "c74f20a4"),
        PETER_KEY.replace("PeterNeumann", "Peter Neumann"),
        "+" + PETER_KEY,
        "a" * 100_000,
        "",
    ],
)
def test_a_wrong_verifier_key_is_refused(key: str) -> None:
    with pytest.raises(DecodeError):
        NoteVerifier.read(key)


def test_a_key_that_is_no_point_is_refused() -> None:
    points = 0
    for y in range(2, 40):
        try:
            NoteVerifier("name", bytes([y]) + bytes(31))
        except DecodeError:
            continue
        points += 1
    assert 0 < points < 38  # about half of all numbers are none


@pytest.mark.parametrize(
    "note",
    [
        TEXT,
        TEXT + "\n",
        TEXT + "\n" + PETER[:-1],
        "\x01" + TEXT + "\n" + PETER,
        TEXT + "\r\n" + PETER,
        TEXT + "\n" + "— Bad Name x08go/ZJkuA=\n",
        TEXT + "\n" + PETER + "Unexpected line.\n",
        TEXT + "\n" + PETER.replace("—", "-"),
        TEXT + "\n" + PETER.replace("— ", "—"),
        TEXT + "\n" + PETER.replace(" x08", "  x08"),
        TEXT + "\n" + PETER.replace("PeterNeumann", "Peter+Neumann"),
        TEXT + "\n" + PETER.replace("PeterNeumann", "Peter\u2003Neumann"),
        TEXT + "\n" + PETER.replace("PeterNeumann", "a" * 257),
        TEXT + "\n" + PETER.replace("AM=", "AN="),  # bits behind the end
        TEXT + "\n" + PETER.replace("AM=", "AM"),
        TEXT + "\n" + "— PeterNeumann x08gow==\n",  # a key id and no signature
        TEXT + "\n" + "— PeterNeumann " + "AAAA" * 4_000 + "\n",
        TEXT + "\n" + PETER * 17,
        TEXT + "\n\n" + PETER + "\n",
        "\n\n" + PETER,
        "",
        "\n",
        "\n\n\n",
    ],
)
def test_a_malformed_note_is_refused(note: str) -> None:
    with pytest.raises(DecodeError):
        Note.read(note.encode())


@pytest.mark.parametrize(
    "data",
    [
        b"\xff" + TEXT.encode() + b"\n" + PETER.encode(),
        b"a" * (signed_note.MAX_NOTE_BYTES + 1),
        b"\xe2\x80",
    ],
)
def test_bytes_that_are_no_text_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Note.read(data)


def test_sixteen_signatures_are_read_and_the_text_may_have_empty_lines() -> None:
    text = "a\n\nb\n"
    note = SIGNER.sign(text) + ENOCH * 15
    assert opened(note, SIGNER.verifier.vkey) == text


def test_signatures_of_others_are_ignored_and_a_false_one_of_ours_is_not() -> None:
    assert opened(TEXT + "\n" + ENOCH.replace("5n2t", "5n2u") + PETER, PETER_KEY) == TEXT
    for lines in (ENOCH, ENOCH + PETER.replace("PeterNeumann", "PeterNeuman")):
        with pytest.raises(VerificationError, match="there is none by PeterNeumann"):
            opened(TEXT + "\n" + lines, PETER_KEY)
    for lines in (PETER.replace("NIuG", "NIuH"), PETER + PETER.replace("NIuG", "NIuH")):
        with pytest.raises(VerificationError, match="does not hold"):
            opened(TEXT + "\n" + lines, PETER_KEY)
    with pytest.raises(VerificationError, match="does not hold"):
        opened(TEXT.replace("answer", "Answer") + "\n" + PETER, PETER_KEY)


def test_a_key_of_the_same_name_and_id_that_did_not_sign() -> None:
    """A key id has 32 bits, and whoever looks for one finds another key of it: that proves nothing."""
    (line,) = Note.read(OTHER.sign(TEXT).encode()).signatures
    claimed = base64.b64encode(SIGNER.verifier.key_id + line.signature).decode()
    forged = f"{TEXT}\n— {SIGNER.name} {claimed}\n"
    with pytest.raises(VerificationError, match="does not hold"):
        opened(forged, SIGNER.verifier.vkey)


@given(st.binary(max_size=300))
@settings(max_examples=200)
def test_hostile_bytes_are_refused_by_name(data: bytes) -> None:
    for whole in (data, TEXT.encode() + b"\n" + data, (TEXT + "\n— ").encode() + data + b"\n"):
        try:
            NoteVerifier.read(PETER_KEY).check(Note.read(whole))
        except CommitmentsError:
            continue
        raise AssertionError(whole)


@given(st.data())
def test_no_changed_bit_passes(data: st.DataObject) -> None:
    changed = flip(data, (TEXT + "\n" + PETER).encode())
    with pytest.raises(CommitmentsError):
        NoteVerifier.read(PETER_KEY).check(Note.read(changed))


@pytest.mark.parametrize("text", ["", "\n", "a", "a\tb\n", "a\x00\n"])
def test_a_text_no_note_may_have_is_not_signed(text: str) -> None:
    with pytest.raises(DecodeError):
        SIGNER.sign(text)


@pytest.mark.parametrize("name", ["", " ", "a b", "a+b", "a\n", "a\u00a0b", "a" * 257])
def test_a_name_no_key_may_have(name: str) -> None:
    with pytest.raises(DecodeError, match="name"):
        NoteSigner(name, bytes(32))


def test_a_signer_shows_no_secret() -> None:
    assert (b"\x11" * 32).hex() not in repr(SIGNER)
    assert "\\x11" not in repr(SIGNER)
    with pytest.raises(DecodeError, match="seed: 31 bytes"):
        NoteSigner("name", bytes(31))


class TestCheckpoints:
    def test_the_example_of_the_specification(self) -> None:
        found = Checkpoint.read(TLOG)
        assert (found.origin, found.size) == ("example.com/behind-the-sofa", 20_852_163)
        assert found.text == TLOG

    def test_a_signed_one_opens(self) -> None:
        for size, root in ((0, EMPTY_ROOT), (7, hashlib.sha256(b"7").digest()), (MAX_SIZE, bytes(32))):
            found = Checkpoint(SIGNER.name, size, root)
            assert Checkpoint.opened(found.signed(SIGNER).encode(), SIGNER.verifier) == found
            assert found.signed(SIGNER).startswith(f"{SIGNER.name}\n{size}\n")

    def test_further_lines_are_kept(self) -> None:
        assert Checkpoint.read(TLOG + "more\nand more\n").extensions == ("more", "and more")

    def test_of_another_key_or_another_log(self) -> None:
        mine = Checkpoint(SIGNER.name, 7, bytes(32))
        with pytest.raises(VerificationError, match="signature: there is none by"):
            Checkpoint.opened(mine.signed(OTHER).encode(), SIGNER.verifier)
        named = NoteSigner("another/log", SIGNER.seed)
        with pytest.raises(VerificationError, match="not another/log"):
            Checkpoint.opened(mine.signed(named).encode(), named.verifier)
        other = Checkpoint("another/log", 7, bytes(32))
        with pytest.raises(VerificationError, match="origin: another/log, not"):
            Checkpoint.opened(other.signed(SIGNER).encode(), SIGNER.verifier)

    def test_a_changed_size_or_root_is_not_what_was_signed(self) -> None:
        mine = Checkpoint(SIGNER.name, 7, bytes(32)).signed(SIGNER)
        for old, new in (("\n7\n", "\n8\n"), ("AAAA=", "AAAE="), ("\n\n", "\nmore\n\n")):
            assert mine.count(old) == 1
            with pytest.raises(VerificationError, match="signature"):
                Checkpoint.opened(mine.replace(old, new).encode(), SIGNER.verifier)

    @pytest.mark.parametrize(
        "old, new, field",
        [
            ("20852163", "020852163", "size"),
            ("20852163", "00", "size"),
            ("20852163", "-1", "size"),
            ("20852163", "+1", "size"),
            ("20852163", " 1", "size"),
            ("20852163", "1_0", "size"),
            ("20852163", "²", "size"),
            ("20852163", str(MAX_SIZE + 1), "size"),
            ("20852163", "9" * 5_000, "size"),
            ("20852163", "", "checkpoint"),
            ("example.com/behind-the-sofa", "", "checkpoint"),
            ("example.com/behind-the-sofa", "a b", "origin"),
            ("example.com/behind-the-sofa", "a" * 257, "origin"),
            ("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "AAAA", "root"),
            ("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "CsUY", "root"),
            ("q2I=", "q2J=", "root"),
            ("q2I=", "q2I", "root"),
            ("q2I=\n", "q2I=\n" + "more\n" * 14, "checkpoint"),
            ("q2I=\n", "q2I=\n\nmore\n", "checkpoint"),
            ("\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=", "", "checkpoint"),
        ],
    )
    def test_a_malformed_one_is_refused_by_its_line(self, old: str, new: str, field: str) -> None:
        assert TLOG.count(old) == 1
        with pytest.raises(DecodeError) as refused:
            Checkpoint.read(TLOG.replace(old, new))
        assert refused.value.field == field
