"""The committee of a data folder is dealt once, is the settings', and comes back as it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from darkpool.committee.certificate import CERTIFICATE
from darkpool.committee.directory import COMMITTEE
from darkpool.committee.home import SEAT, Home
from darkpool.committee.seat import Seat
from darkpool.config import Settings
from darkpool.convening import convened, meeting_of, member_home, member_ports
from darkpool.deployment import VENUE
from darkpool.errors import ConfigError
from tests.encrypted import INSECURE_TEST, seats
from tests.venue_support import key_of

KEY = key_of("operator")
DEALT = seats(INSECURE_TEST, 4)


def settings(**groups: dict[str, Any]) -> Settings:
    return Settings.model_validate({"venue": {"profile": "insecure-test"}, "api": {"port": 20_000}} | groups)


def convene(folder: Path, chosen: Settings | None = None) -> Any:  # noqa: ANN401
    return convened(folder, chosen or settings(), KEY, lambda _: None, DEALT)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    convene(tmp_path)
    return tmp_path


def test_it_is_dealt_once(folder: Path) -> None:
    found = convene(folder)
    assert found.committee == DEALT[0].committee
    for index in range(1, 5):
        home = member_home(folder, index)
        seat = Seat.load(home / SEAT)
        assert (seat.index, seat.signer) == (index, found.signers.addresses[index])
        assert seat.signing_key != DEALT[index - 1].signing_key  # its own
        assert (found.member(index).host, found.member(index).port) == ("127.0.0.1", 20_016 + index)
        assert Home.load(home).port == 20_000 + index
    assert meeting_of(folder, settings()).me == 0
    # Another port of the API moves orders by hand, not what is in committee.json.
    assert convene(folder, settings(api={"port": 30_000})) == found


def test_a_ceremony_that_was_interrupted_begins_again(folder: Path) -> None:
    before = convene(folder).code
    (folder / COMMITTEE).unlink()
    shutil.rmtree(member_home(folder, 4))
    assert convene(folder).code != before
    assert Seat.load(member_home(folder, 4) / SEAT).index == 4


def test_a_committee_elsewhere_is_read_and_nothing_is_made(folder: Path, tmp_path: Path) -> None:
    (other := tmp_path / "other").mkdir()
    chosen = settings(committee={"file": str(folder / COMMITTEE)})
    assert convene(other, chosen) == convene(folder)
    assert not list(other.iterdir())
    with pytest.raises(ConfigError, match=CERTIFICATE):  # it is not the one that members know
        meeting_of(other, chosen)
    with pytest.raises(ConfigError, match="No such file"):
        convene(other, settings(committee={"file": str(other / "nothing.json")}))


def test_a_folder_of_an_earlier_version_is_refused(folder: Path) -> None:
    (folder / COMMITTEE).unlink()
    (folder / VENUE).write_text("{}")
    with pytest.raises(ConfigError, match=r"no committee.json: made by an earlier version") as caught:
        convene(folder)
    assert "new folder" in caught.value.hint
    assert (member_home(folder, 1) / SEAT).exists()


def test_what_contradicts_the_folder_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="5 with threshold 1, but another committee"):
        convene(folder, settings(venue={"profile": "insecure-test", "members": 5}))
    (member_home(folder, 2) / SEAT).unlink()
    with pytest.raises(ConfigError, match="the seats of member-2 are missing"):
        convene(folder)


def test_ports_never_meet() -> None:
    for members in (3, 16):
        chosen = settings(venue={"members": members})
        ports = [20_000, *(p for pair in member_ports(chosen) for p in pair)]
        assert len(set(ports)) == 1 + 2 * members
        assert max(ports) == 20_016 + members
    with pytest.raises(ConfigError, match=r"api.port: 65516 leaves members no ports"):
        member_ports(settings(api={"port": 65_516}))
    assert member_ports(settings(api={"port": 65_515}))[-1] == (65_519, 65_535)
    free = member_ports(settings(api={"port": 0}))
    assert [orders for orders, _ in free] == [0] * 4
    assert len({links for _, links in free}) == 4
