"""A member's seat on disk: for its owner alone, whole or not at all, and never quoted."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from commitments.params import INSECURE_TEST
from commitments.threshold import combine, partial
from darkpool import eip712
from darkpool.committee.seat import Seat, ceremony, seats_from_primes
from darkpool.errors import ConfigError
from tests.commitments_support import primes
from tests.venue_support import seats

SECRETS = 12  # no piece of a secret this long may show


@pytest.fixture
def seat() -> Seat:
    return seats()[1]


@pytest.fixture
def path(seat: Seat, tmp_path: Path) -> Path:
    file = tmp_path / "seat.json"
    seat.save(file)
    return file


def secrets_of(seat: Seat) -> list[str]:
    """Every secret of a seat, as text in the forms it could leak in."""
    keys = [key.hex() for key in seat.masks.keys.values()]
    return [f"{seat.share.value:x}", str(seat.share.value), seat.signing_key.hex(), *keys]


def test_a_seat_is_loaded_as_it_was_saved(seat: Seat, path: Path) -> None:
    assert Seat.load(path) == seat
    assert Seat.load(path).signer == seat.signer


@pytest.mark.parametrize("members,threshold", [(3, 1), (4, 1), (5, 2)])
def test_seats_of_any_committee_survive_the_file(members: int, threshold: int, tmp_path: Path) -> None:
    for seat in seats_from_primes(*primes(), members, threshold):
        seat.save(tmp_path / f"{seat.index}.json")
        assert Seat.load(tmp_path / f"{seat.index}.json") == seat


def test_the_file_is_its_owners_alone(path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_seat_is_never_written_over_another(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="a seat already"):
        seats()[0].save(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644])
def test_a_file_others_may_touch_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others than its owner"):
        Seat.load(path)


def test_a_file_left_half_written_is_not_overwritten(seat: Seat, tmp_path: Path) -> None:
    (tmp_path / "seat.tmp").write_text("half")
    with pytest.raises(FileExistsError):
        seat.save(tmp_path / "seat.json")
    assert not (tmp_path / "seat.json").exists()


def test_no_repr_shows_a_secret(seat: Seat) -> None:
    shown = repr(seat) + repr(seat.share) + repr(seat.masks) + str(seat)
    for secret in secrets_of(seat):
        assert not any(secret[i : i + SECRETS] in shown for i in range(0, len(secret) - SECRETS, SECRETS))


def changed(**fields: Any) -> Callable[[dict[str, Any]], object]:  # noqa: ANN401
    return lambda document: {**document, **fields}


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda document: {k: v for k, v in document.items() if k != name}


def masks(change: Callable[[dict[str, str]], dict[str, object]]) -> Callable[[dict[str, Any]], object]:
    return lambda document: {**document, "masks": change(document["masks"])}


ORDER = f"{eip712.GROUP_ORDER:064x}"
BAD: dict[str, Callable[[dict[str, Any]], object]] = {
    **{
        f"no {name}": without(name)
        for name in (
            "version",
            "modulus",
            "members",
            "threshold",
            "epoch",
            "scale",
            "values",
            "index",
            "share",
            "masks",
            "signing_key",
        )
    },
    "not an object": lambda d: [d],
    "a number": lambda _: 7,
    "another version": changed(version=1),
    "a later version": changed(version=3),
    "version as text": changed(version="2"),
    "modulus of another type": changed(modulus=5),
    "modulus too small": changed(modulus="f"),
    "modulus even": lambda d: {**d, "modulus": d["modulus"][:-1] + "0"},
    "modulus negative": lambda d: {**d, "modulus": "-" + d["modulus"]},
    "modulus in capitals": lambda d: {**d, "modulus": d["modulus"].upper()},
    "modulus with a prefix": lambda d: {**d, "modulus": "0x" + d["modulus"]},
    "members as text": changed(members="3"),
    "members as a fraction": changed(members=3.0),
    "members true": changed(members=True),
    "too few members": changed(members=2),
    "too many members": changed(members=17),
    "threshold zero": changed(threshold=0),
    "threshold too high": changed(threshold=2),
    "epoch as text": changed(epoch="0"),
    "epoch true": changed(epoch=True),
    "epoch negative": changed(epoch=-1),
    "epoch too high": changed(epoch=1 << 16),
    "scale of no epoch": changed(scale=1),
    "scale as text": changed(scale="0"),
    "no values": changed(values=[]),
    "values null": changed(values=None),
    "values by name": lambda d: {**d, "values": dict(enumerate(d["values"]))},
    "a value missing": lambda d: {**d, "values": d["values"][:2]},
    "a value too many": lambda d: {**d, "values": [*d["values"], "4"]},
    "values turned": lambda d: {**d, "values": [*d["values"][1:], d["values"][0]]},
    "a value of another share": lambda d: {**d, "values": [d["values"][0], "4", d["values"][2]]},
    "a value as a number": lambda d: {**d, "values": [d["values"][0], 4, d["values"][2]]},
    "a value zero": lambda d: {**d, "values": ["0", *d["values"][1:]]},
    "a value in capitals": lambda d: {**d, "values": [v.upper() for v in d["values"]]},
    "a value of the modulus": lambda d: {**d, "values": [d["modulus"], *d["values"][1:]]},
    "index zero": changed(index=0),
    "index of nobody": changed(index=4, masks={}),
    "index of another": changed(index=1),
    "share zero": changed(share="0"),
    "share of another": lambda d: {**d, "share": f"{int(d['share'], 16) + 1:x}"},
    "share negative": lambda d: {**d, "share": "-" + d["share"]},
    "share as a number": changed(share=12_345),
    "share not hexadecimal": changed(share="secret"),
    "no mask": changed(masks={}),
    "masks a list": changed(masks=[1, 2]),
    "a mask missing": masks(lambda m: dict(list(m.items())[:1])),
    "a mask of others": masks(lambda m: {**m, "1,3": "00" * 32}),
    "a mask short": masks(lambda m: {**m, "1,2": "00" * 31}),
    "a mask of text": masks(lambda m: {**m, "1,2": "secret"}),
    "a mask of a number": masks(lambda m: {**m, "1,2": 5}),
    "a mask with a space": masks(lambda m: {**m, "1,2": "00 " + "00" * 31}),
    "a set of text": masks(lambda m: {**m, "a,b": "00" * 32}),
    "signing key zero": changed(signing_key="00" * 32),
    "signing key the order": changed(signing_key=ORDER),
    "signing key short": changed(signing_key="01" * 31),
    "signing key of text": changed(signing_key="secret"),
    "signing key null": changed(signing_key=None),
}


@pytest.mark.parametrize("name", BAD)
def test_a_corrupted_file_is_refused_without_being_quoted(name: str, seat: Seat, path: Path) -> None:
    path.write_text(json.dumps(BAD[name](json.loads(path.read_text()))))
    refused_quietly(path, seat)


def refused_quietly(path: Path, seat: Seat) -> None:
    with pytest.raises(ConfigError) as caught:
        Seat.load(path)
    text = f"{caught.value.rendered()}{caught.value!r}{caught.value.__cause__!r}"
    assert path.name in text
    assert "secret" not in text
    assert caught.value.__suppress_context__
    for secret in secrets_of(seat):
        assert not any(secret[i : i + SECRETS] in text for i in range(0, len(secret) - SECRETS, SECRETS))


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff\xfe\xfd", b"[" * 100_000, b'{"version": 1', b" " * ((1 << 20) + 1), b"\0" * 64],
)
def test_what_is_no_json_is_refused(data: bytes, seat: Seat, path: Path) -> None:
    path.write_bytes(data)
    refused_quietly(path, seat)


def test_every_truncation_is_refused(seat: Seat, path: Path) -> None:
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        refused_quietly(path, seat)


def test_an_oversize_file_is_refused_though_its_beginning_is_right(seat: Seat, path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" " * (1 << 20))
    refused_quietly(path, seat)


def test_a_missing_file_or_a_directory_is_a_configuration_error(tmp_path: Path) -> None:
    for place in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ConfigError, match="not a member's seat"):
            Seat.load(place)


def test_a_ceremony_deals_seats_that_decrypt_together() -> None:
    counts: list[int] = []
    made = ceremony(INSECURE_TEST, 3, 1, counts.append)
    committee = made[0].committee
    assert committee.key.bits == INSECURE_TEST.modulus_bits
    assert counts == sorted(counts)
    ciphertext = committee.key.encrypt(12_345, 678)
    for pair in ((0, 1), (0, 2), (1, 2)):
        partials = {made[i].index: partial(committee, made[i].share, ciphertext) for i in pair}
        assert combine(committee, ciphertext, partials).plaintext == 12_345
    assert len({seat.signer for seat in made}) == 3


def test_mask_keys_are_shared_by_exactly_their_sets() -> None:
    for seat in seats():
        assert all(seat.index in members for members in seat.masks.keys)
    for one in seats():
        for other in seats():
            common = set(one.masks.keys) & set(other.masks.keys)
            assert all(one.masks.keys[a] == other.masks.keys[a] for a in common)
