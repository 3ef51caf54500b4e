"""A backup gives back exactly the home it was made of, or refuses and leaves nothing."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from commitments.resharing import Change, deal, next_committee, next_share
from darkpool.committee import backup as module
from darkpool.committee.backup import FILES, Summary, backup, restore
from darkpool.committee.seat import Seat
from darkpool.committee.staging import stage
from darkpool.errors import ConfigError, DarkpoolError
from darkpool.keystore import INSECURE_TEST, KeystoreError
from tests.venue_support import seats

PASSPHRASE = "correct horse battery staple"
SEATS = seats(4, 1)


def refreshed() -> Seat:
    """Member 2's seat one epoch later."""
    change = Change(SEATS[0].committee, (), (1, 2, 3, 4))
    dealt = {s.index: deal(change, s.share) for s in SEATS}
    committee = next_committee(change, [d for d, _ in dealt.values()])
    share = next_share(change, 2, {i: subs[2] for i, (_, subs) in dealt.items()}, SEATS[1].share)
    return replace(SEATS[1], committee=committee, share=share)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    SEATS[1].save(folder / "seat.json")
    for name in FILES[1:]:
        (folder / name).write_text(f"{name} of member 2, secret or not")
    (folder / "member.db").write_text("its copy of the log")
    return folder


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    path = tmp_path / "backup.json"
    backup(home, path, PASSPHRASE, cost=INSECURE_TEST)
    return path


def restored(file: Path, home: Path, passphrase: str = PASSPHRASE, epoch: int = 0) -> Summary:
    return restore(file, home, passphrase, epoch=epoch, allow_insecure_test=True)


def refused(file: Path, tmp_path: Path, match: str, passphrase: str = PASSPHRASE) -> None:
    """Nothing is left, and nothing quoted."""
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(DarkpoolError, match=match) as caught:
        restored(file, tmp_path / "new", passphrase)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert sorted(p.name for p in tmp_path.iterdir()) == before
    share = f"{SEATS[1].share.value:x}"
    assert share[:12] not in caught.value.rendered()
    assert PASSPHRASE not in caught.value.rendered()


def test_a_home_comes_back_as_it_was(home: Path, file: Path, tmp_path: Path) -> None:
    new = tmp_path / "elsewhere" / "new"
    summary = restored(file, new)
    assert summary == Summary.of(SEATS[1])
    assert Seat.load(new / "seat.json") == SEATS[1]
    assert {p.name for p in new.iterdir()} == set(FILES)  # not the database
    for name in FILES:
        assert (new / name).read_bytes() == (home / name).read_bytes()
        assert stat.S_IMODE((new / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(new.stat().st_mode) == 0o700
    assert [p.name for p in new.parent.iterdir()] == ["new"]


def test_a_seat_alone_is_a_home(tmp_path: Path) -> None:
    SEATS[0].save(tmp_path / "seat.json")
    backup(tmp_path, tmp_path / "b", PASSPHRASE, cost=INSECURE_TEST)
    (tmp_path / "empty").mkdir()
    restored(tmp_path / "b", tmp_path / "empty")
    assert [p.name for p in (tmp_path / "empty").iterdir()] == ["seat.json"]


def test_what_is_public_is_readable_and_the_rest_is_not(file: Path) -> None:
    text = file.read_text("ascii")
    fields = json.loads(text)
    committee = SEATS[1].committee
    assert (fields["member"], fields["members"], fields["threshold"], fields["epoch"]) == (2, 4, 1, 0)
    assert fields["signer"] == SEATS[1].signer.hex()
    assert fields["key_id"] == committee.key.key_id.hex()
    assert fields["sharing"] == committee.digest.hex()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for secret in (f"{SEATS[1].share.value:x}", SEATS[1].signing_key.hex(), b"keys.json of member".hex()):
        assert secret not in text


def test_two_backups_share_nothing(home: Path, file: Path, tmp_path: Path) -> None:
    backup(home, tmp_path / "other", PASSPHRASE, cost=INSECURE_TEST)
    one, two = (json.loads(p.read_text()) for p in (file, tmp_path / "other"))
    assert one["kdf"]["salt"] != two["kdf"]["salt"]
    assert one["sealed"][:24] != two["sealed"][:24]


def test_the_standard_cost_is_the_default(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "standard"
    backup(home, path, PASSPHRASE)
    assert json.loads(path.read_text())["kdf"]["cost"] == "standard"
    restore(path, tmp_path / "new", PASSPHRASE)


# --- what is not backed up --------------------------------------------------------------------------


def test_a_home_about_to_change_is_not_backed_up(home: Path, tmp_path: Path) -> None:
    stage(refreshed(), home / "seat.json")
    with pytest.raises(ConfigError, match="change of shares is under way"):
        backup(home, tmp_path / "late", PASSPHRASE, cost=INSECURE_TEST)
    assert not (tmp_path / "late").exists()


def test_homes_that_cannot_be_backed_up(home: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"seat\.json"):
        backup(tmp_path, tmp_path / "b", PASSPHRASE, cost=INSECURE_TEST)
    (home / "member.json").write_bytes(bytes(module.MAX_FILE + 1))
    with pytest.raises(ConfigError, match=f"over {module.MAX_FILE} bytes"):
        backup(home, tmp_path / "b", PASSPHRASE, cost=INSECURE_TEST)


@pytest.mark.parametrize("passphrase", ["", "short", "x" * 1_025, "\ud800" * 9])
def test_passphrases_that_are_none(home: Path, tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(KeystoreError, match="passphrase"):
        backup(home, tmp_path / "b", passphrase, cost=INSECURE_TEST)
    assert not (tmp_path / "b").exists()


def test_nothing_is_written_over(home: Path, file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(KeystoreError, match="never overwritten"):
        backup(home, file, PASSPHRASE, cost=INSECURE_TEST)
    assert file.read_bytes() == before
    for place in (home, file):
        with pytest.raises(ConfigError, match="there is something already"):
            restored(file, place)
    assert Seat.load(home / "seat.json") == SEATS[1]
    assert not (tmp_path / "new").exists()


# --- what is not restored ---------------------------------------------------------------------------


def test_an_older_epoch_is_refused_when_told_so(home: Path, file: Path, tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="of epoch 0, and the committee is in 1") as caught:
        restored(file, tmp_path / "new", epoch=1)
    assert "replacing this member" in caught.value.hint
    assert not (tmp_path / "new").exists()
    restored(file, tmp_path / "new", epoch=0)
    (home / "seat.json").unlink()
    refreshed().save(home / "seat.json")
    backup(home, tmp_path / "later", PASSPHRASE, cost=INSECURE_TEST)
    assert restored(tmp_path / "later", tmp_path / "newer", epoch=1).epoch == 1


@pytest.mark.parametrize("passphrase", ["wrong horse battery staple", PASSPHRASE.upper(), PASSPHRASE + " "])
def test_a_wrong_passphrase(file: Path, tmp_path: Path, passphrase: str) -> None:
    refused(file, tmp_path, "this passphrase does not open it", passphrase)


def test_a_cheap_one_is_not_trusted_outside_tests(file: Path, tmp_path: Path) -> None:
    with pytest.raises(KeystoreError, match="protects nothing"):
        restore(file, tmp_path / "new", PASSPHRASE)


def test_every_byte_of_the_file_counts(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    for at in [*range(data.index(b"sealed") + 12), *range(len(data) - 40, len(data)), len(data) // 2]:
        file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        refused(file, tmp_path, r"backup\.json")


def test_every_truncation_is_refused(file: Path, tmp_path: Path) -> None:
    data = file.read_bytes()
    for length in range(0, len(data), 97):
        file.write_bytes(data[:length])
        refused(file, tmp_path, r"backup\.json")
    file.write_bytes(data + b"\n")
    refused(file, tmp_path, "not as version 1")


def changed(**fields: Any) -> Callable[[dict[str, Any]], object]:  # noqa: ANN401
    return lambda document: {**document, **fields}


def kdf(**fields: Any) -> Callable[[dict[str, Any]], object]:  # noqa: ANN401
    return lambda document: {**document, "kdf": {**document["kdf"], **fields}}


BAD: dict[str, Callable[[dict[str, Any]], object]] = {
    "format": changed(format="darkpool-keystore"),
    "version": changed(version=2),
    "member": changed(member=1),
    "members": changed(members=5),
    "threshold": changed(threshold=2),
    "epoch": changed(epoch=1),
    "epoch as text": changed(epoch="0"),
    "signer": changed(signer="11" * 20),
    "signer short": changed(signer="11" * 19),
    "key_id": changed(key_id="11" * 32),
    "sharing": changed(sharing="11" * 32),
    "cipher": changed(cipher="none"),
    "kdf no object": changed(kdf=[]),
    "cost": kdf(cost="free"),
    "cost of another": kdf(cost="standard"),
    "n": kdf(n=1 << 30),
    "p": kdf(p=2),
    "salt": kdf(salt="11" * 32),
    "salt short": kdf(salt="11" * 31),
    "another kdf": kdf(name="pbkdf2"),
    "one more field": changed(note="x"),
    "sealed empty": changed(sealed=""),
    "sealed a number": changed(sealed=5),
    "sealed in capitals": lambda d: {**d, "sealed": d["sealed"].upper()},
    "no sealed": lambda d: {k: v for k, v in d.items() if k != "sealed"},
    "a list": lambda d: [d],
}


@pytest.mark.parametrize("name", BAD)
def test_each_field_counts(name: str, file: Path, tmp_path: Path) -> None:
    document = BAD[name](json.loads(file.read_text()))
    file.write_text(json.dumps(document, indent=2) + "\n")
    refused(file, tmp_path, r"backup\.json")


def test_files_that_are_no_backup(file: Path, tmp_path: Path) -> None:
    file.chmod(0o644)
    refused(file, tmp_path, "others can read")
    file.chmod(0o600)
    file.write_bytes(b"[" * 100_000)
    refused(file, tmp_path, "nested")
    file.write_bytes(bytes(module.MAX_BACKUP + 1))
    refused(file, tmp_path, f"over {module.MAX_BACKUP} bytes")
    refused(tmp_path / "none", tmp_path, "cannot be read")


def test_a_seat_other_than_the_file_says(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Sealed by whoever knows the passphrase, with a public part that is not the seat's.
    path = tmp_path / "forged.json"
    with monkeypatch.context() as patch:
        patch.setattr(module.Summary, "of", staticmethod(lambda seat: replace(REAL(seat), epoch=7)))
        backup(home, path, PASSPHRASE, cost=INSECURE_TEST)
    refused(path, tmp_path, "not the one the backup names")


REAL = Summary.of
