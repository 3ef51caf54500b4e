"""introduction.json and committee.json: what they hold is strictly read, verified, and each member is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from commitments.errors import CommitmentsError, DecodeError, VerificationError
from commitments.sealing import BoxKey
from darkpool.committee import certificate
from darkpool.committee.certificate import CERTIFICATE, KEY, Certificate, Identity
from darkpool.committee.directory import COMMITTEE, MAX_DIRECTORY, Directory
from darkpool.committee.introduction import MAX_INTRODUCTION, Introduction
from darkpool.eip712 import address_of, fresh_key
from darkpool.errors import ConfigError
from tests.fellowship import Fellowship, fellowship


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Fellowship:
    return fellowship(tmp_path_factory.mktemp("fellowship"), 3)


def rewritten(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The document with a change, written as its author would have."""
    document = json.loads(data)
    change(document)
    return (json.dumps(document, indent=2) + "\n").encode()


def setting(**fields: object) -> Callable[[dict[str, Any]], object]:
    return lambda document: document.update(fields)


def flipped(name: str) -> Callable[[dict[str, Any]], object]:
    """The last bit of a field in hexadecimal."""
    return lambda d: d.update({name: d[name][:-1] + f"{int(d[name][-1], 16) ^ 1:x}"})


INTRODUCTIONS = {
    "another version": setting(version=2),
    "another host": setting(host="127.0.0.2"),
    "a host that is none": setting(host="a b"),
    "an empty host": setting(host=""),
    "a host with a control character": setting(host="127.0.0.1\n"),
    "another port": lambda d: d.update(port=d["port"] ^ 1),
    "port 0": setting(port=0),
    "port 65536": setting(port=65_536),
    "a port in text": setting(port="80"),
    "another fingerprint": flipped("fingerprint"),
    "a broken certificate": flipped("certificate"),
    "no certificate": setting(certificate=""),
    "a long certificate": setting(certificate="00" * 1_025),
    "another signer": flipped("signer"),
    "a short signer": setting(signer="00" * 19),
    "another box key": lambda d: d.update(box=BoxKey.generate().public.hex()),
    "a box key of low order": setting(box="00" * 32),
    "a changed signature": flipped("signature"),
    "a short signature": setting(signature="00" * 64),
    "upper case": lambda d: d.update(signer=d["signer"].upper()),
    "a further field": setting(note="hello"),
    "no port": lambda d: d.pop("port"),
    "another order": lambda d: d.update(version=d.pop("version")),
}


@pytest.mark.parametrize("name", INTRODUCTIONS)
def test_a_changed_introduction_is_refused(group: Fellowship, name: str) -> None:
    data = group.directory.member(1).encode()
    assert Introduction.parse(data) == group.directory.member(1)
    with pytest.raises(CommitmentsError):
        Introduction.parse(rewritten(data, INTRODUCTIONS[name]))


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b"null", b"\xff", b"[" * 100, b" " * (MAX_INTRODUCTION + 1)]
)
def test_what_is_no_introduction_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Introduction.parse(data)


def test_an_introduction_is_read_from_its_own_bytes_only(group: Fellowship) -> None:
    data = group.directory.member(1).encode()
    for other in (data[:-1], data + b"\n", data.replace(b": ", b":"), b'{"version": 1,' + data[1:]):
        with pytest.raises(DecodeError):
            Introduction.parse(other)


def test_an_introduction_signed_by_another_key_is_refused(group: Fellowship) -> None:
    me = group.directory.member(1)
    other = Introduction.signed(me.host, me.port, me.certificate, me.box, fresh_key())
    with pytest.raises(VerificationError, match="introduction"):
        Introduction.parse(replace(me, signature=other.signature).encode())


MEMBERS: dict[str, Callable[[Introduction, Introduction], Introduction]] = {
    "certificate": lambda a, b: Introduction.signed(b.host, b.port, a.certificate, b.box, fresh_key()),
    "box": lambda a, b: Introduction.signed(b.host, b.port, b.certificate, a.box, fresh_key()),
    "host and port": lambda a, b: Introduction.signed(a.host, a.port, b.certificate, b.box, fresh_key()),
    "signer": lambda a, b: replace(b, signer=a.signer),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_two_members_that_are_one_are_no_committee(group: Fellowship, name: str) -> None:
    first, second, third = group.directory.members
    with pytest.raises(VerificationError, match=f"{name}: two"):
        replace(group.directory, members=(first, MEMBERS[name](first, second), third))


def test_the_coordinator_is_no_member(group: Fellowship) -> None:
    with pytest.raises(VerificationError, match="certificate: two"):
        replace(group.directory, coordinator=group.directory.member(2).certificate)


COMMITTEES = {
    "another version": setting(version=2),
    "another threshold": setting(threshold=2),
    "threshold 0": setting(threshold=0),
    "an even modulus": setting(modulus="10"),
    "a modulus in capitals": lambda d: d.update(modulus=d["modulus"].upper()),
    "a modulus that is none": setting(modulus="xyz"),
    "a long modulus": setting(modulus="f" * 2_049),
    "a signed modulus": lambda d: d.update(modulus="-" + d["modulus"]),
    "one value less": lambda d: d["values"].pop(),
    "one value more": lambda d: d["values"].append("2"),
    "value 0": lambda d: d["values"].__setitem__(0, "0"),
    "a broken coordinator": flipped("coordinator"),
    "a short dealer": setting(dealer="00"),
    "one member less": lambda d: d["members"].pop(),
    "no members": setting(members={}),
    "too many members": lambda d: d.update(members=d["members"] * 10),
    "a changed member": lambda d: d["members"][1].update(port=1),
    "a member of another kind": lambda d: d["members"].__setitem__(1, 7),
    "a further field": setting(note="hello"),
    "another order": lambda d: d.update(version=d.pop("version")),
}


@pytest.mark.parametrize("name", COMMITTEES)
def test_a_changed_committee_is_refused(group: Fellowship, name: str, tmp_path: Path) -> None:
    data = group.directory.encode()
    assert Directory.parse(data) == group.directory
    changed = rewritten(data, COMMITTEES[name])
    with pytest.raises(CommitmentsError):
        Directory.parse(changed)
    (tmp_path / COMMITTEE).write_bytes(changed)
    with pytest.raises(ConfigError, match=COMMITTEE):
        Directory.load(tmp_path / COMMITTEE)


CHANGES: dict[str, Callable[[Directory], Directory]] = {
    "another dealer": lambda d: replace(d, dealer=address_of(fresh_key())),
    "members in another order": lambda d: replace(d, members=d.members[::-1]),
    "another value": lambda d: replace(d, committee=replace(d.committee, values=d.committee.values[::-1])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_is_well_formed_and_another_committee_has_another_code(group: Fellowship, name: str) -> None:
    changed = Directory.parse(CHANGES[name](group.directory).encode())
    assert changed.code != group.directory.code


def test_a_directory_without_a_file_or_with_a_long_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Directory.load(tmp_path / COMMITTEE)
    (tmp_path / COMMITTEE).write_bytes(b" " * (MAX_DIRECTORY + 1))
    with pytest.raises(ConfigError, match="at most"):
        Directory.load(tmp_path / COMMITTEE)


def of_another_kind(kind: str) -> bytes:
    """A certificate that is valid, and not of ours."""
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
    key = rsa.generate_private_key(65_537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    name = x509.Name([])
    other = ec.generate_private_key(ec.SECP256R1())
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(other.public_key() if kind == "signed by another" else key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("kind", ["rsa", "P-384", "signed by another"])
def test_certificates_of_another_kind_are_refused(kind: str) -> None:
    der = of_another_kind(kind)
    assert len(der) < certificate.MAX_CERTIFICATE
    with pytest.raises(DecodeError, match=r"P-256|signed by itself"):
        Certificate.parse(der)


def test_bytes_around_a_certificate_are_refused(group: Fellowship) -> None:
    der = group.directory.member(1).certificate.der
    for other in (b"", der[:-1], der + b"\0", b"\0" + der):
        with pytest.raises(DecodeError):
            Certificate.parse(other)


def test_an_identity_is_its_owners_alone(tmp_path: Path) -> None:
    made = Identity.create(tmp_path)
    assert (tmp_path / KEY).stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigError, match="already"):
        Identity.create(tmp_path)
    for mode in (0o640, 0o604, 0o660):
        (tmp_path / KEY).chmod(mode)
        with pytest.raises(ConfigError, match="others may read it"):
            Identity.load(tmp_path)
    (tmp_path / KEY).chmod(0o600)
    assert Identity.load(tmp_path) == made
    (tmp_path / "other").mkdir()
    Identity.create(tmp_path / "other")
    (tmp_path / KEY).write_bytes((tmp_path / "other" / KEY).read_bytes())
    with pytest.raises(ConfigError, match="not the key of"):
        Identity.load(tmp_path).client()
    (tmp_path / CERTIFICATE).write_text("garbage")
    with pytest.raises(ConfigError, match="not a certificate"):
        Identity.load(tmp_path)
