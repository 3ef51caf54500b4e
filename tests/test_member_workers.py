"""A member whose orders are verified by workers takes and refuses what it would alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from darkpool.config import FILE
from darkpool.errors import ConfigError
from darkpool.message import Message
from darkpool.workers import PRESENT, Processes, of_member
from darkpool.workers_ray import Ray
from tests.member_host import Host, fresh_venue, refusal
from tests.test_admission import broken
from tests.test_workers import Scripted, away, honest
from tests.venue_log import Venue, portrait
from tests.venue_support import buy
from tests.worker_support import KEY


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


@pytest.fixture
def workers() -> Iterator[Scripted]:
    found = Scripted(honest)
    token = PRESENT.set(found)
    yield found
    PRESENT.reset(token)


@pytest.fixture
def venue() -> Venue:
    made = fresh_venue(names=("ada", "ben"))
    for name in ("ada", "ben", "ada"):
        made.place(name, buy(1, 1))
    return made


def test_it_folds_the_same_log(host: Host, venue: Venue, workers: Scripted) -> None:
    host.append(venue.entries)
    assert portrait(host.member.log.state) == portrait(venue.state)
    (request,) = workers.asked
    assert list(Message.decode(request).blobs[1:]) == [order.raw for order in venue.sent.values()]


def test_an_order_that_is_not_proven_is_refused(host: Host, venue: Venue, workers: Scripted) -> None:
    host.append(venue.entries)
    draft = venue.draft("ben", buy(1, 1))
    bad = venue.entry("order", {}, [broken(venue, "ben", draft)]).encode()
    assert "proof" in refusal(host.append([bad], len(venue.entries)))
    assert host.member.log.size == len(venue.entries)
    assert len(workers.asked) == 2


def test_without_anybody_to_verify_it_waits(host: Host, venue: Venue, workers: Scripted) -> None:
    workers._answer = away
    first = next(i for i, data in enumerate(venue.entries) if Message.decode(data).op == "order")
    assert "away" in refusal(host.append(venue.entries), retry=True)
    assert host.member.log.size == first
    workers._answer = honest
    host.follow(venue)
    assert portrait(host.member.log.state) == portrait(venue.state)


def test_a_members_home_names_its_workers(tmp_path: Path) -> None:
    assert of_member(tmp_path, KEY) is None
    (tmp_path / FILE).write_text("[admission]\nworkers = 3\n")
    found = of_member(tmp_path, KEY)
    assert isinstance(found, Processes)
    assert found.at_once == 3
    (tmp_path / FILE).write_text('[workers]\nkind = "ray"\naddress = "auto"\n')
    assert isinstance(of_member(tmp_path, KEY), Ray)
    for wrong in (
        'kind = "ray"',
        'kind = "dask"',
        'kind = "ray"\naddress = "10.0.0.1"',
        'kind = "ray"\naddress = "ray://10.0.0.1:6379"',
        'address = "a b:1"',
        "seconds = 0",
        "count = 3",
    ):
        (tmp_path / FILE).write_text(f"[workers]\n{wrong}\n")
        with pytest.raises(ConfigError, match="workers"):
            of_member(tmp_path, KEY)
