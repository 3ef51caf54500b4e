"""Members apart, at a venue that goes on: one is replaced, shares are made anew, the key rotates.

Everything is done by the commands that owners and operator have.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from commitments.errors import VerificationError
from commitments.threshold import combine, partial
from darkpool.chain import Chain
from darkpool.committee.directory import COMMITTEE, Directory
from darkpool.committee.home import SEAT
from darkpool.committee.joining import INTRODUCTION
from darkpool.committee.seat import Seat
from darkpool.deployment import Deployment
from darkpool.errors import ConfigError, DarkpoolError
from darkpool.tenure_file import FIRST, NEXT
from darkpool.vault import DEFAULT_COMMITTEE_DELAY
from tests.anvil import running_anvil
from tests.e2e.test_exit import rpc
from tests.e2e.test_members_apart import SECONDS, Apart, darkpool
from tests.e2e.test_two_traders import Desk
from tests.fellowship import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ERIN = 9  # the home of whoever comes for member 3


@pytest.fixture
def behind() -> int:
    """Seconds that the chain's clock is late."""
    return 0


@pytest.fixture
def venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: int) -> Iterator[Apart]:
    """Four members who follow a chain."""
    with running_anvil("--timestamp", str(int(time.time()) - behind)) as url:
        rpc(url, "evm_setIntervalMining", 1)
        monkeypatch.setenv("DARKPOOL_CHAIN__RPC_URL", url)
        with (
            Apart(tmp_path / "venue", chain_url=url, indices=range(1, 5)) as found,
            found.members(),
        ):
            found.wait()
            yield found


def committee(venue: Apart, *words: str | Path) -> dict[str, Any]:
    return darkpool("operator", "committee", *words, "--data", venue.folder)


def refused(venue: Apart, *words: str | Path) -> str:
    with pytest.raises(DarkpoolError) as caught:
        committee(venue, *words)
    return caught.value.message


def is_so(what: Callable[[], object]) -> None:
    """Wait until it is, while what is asked may be down."""
    ends = time.monotonic() + SECONDS
    while True:
        try:
            if what():
                return
        except DarkpoolError:
            pass
        assert time.monotonic() < ends, what()
        time.sleep(0.1)


def status(venue: Apart, home: int) -> dict[str, Any]:
    return darkpool("member", "status", venue.home(home))


def restart(venue: Apart, *homes: int) -> None:
    for home in homes:
        assert venue.end(home, signal.SIGTERM) == 0
        venue.serve(home)


def adopted(venue: Apart, file: Path) -> None:
    """The venue has that committee.json, and has been started again with it."""
    shutil.copy(file, venue.folder.parent / "dealt" / COMMITTEE)
    (before,) = venue.processes()["venue"]
    venue.kill(before)
    is_so(lambda: before not in venue.processes()["venue"] and venue.ready())


def seats(venue: Apart, homes: Sequence[int]) -> list[Seat]:
    """All of one sharing, and nothing staged beside them."""
    for home in homes:
        assert {path.name for path in venue.home(home).glob("seat*")} == {SEAT}
    found = [Seat.load(venue.home(home) / SEAT) for home in homes]
    assert len({seat.committee.digest for seat in found}) == 1
    return found


def desks(venue: Apart, folder: Path) -> tuple[Desk, Desk]:
    ada, ben = (Desk(venue, folder / name) for name in ("ada", "ben"))
    for desk in (ada, ben):
        desk.funded()
    return ada, ben


def assert_apart(new: Seat, other: Seat, old: Seat) -> None:
    """Two of the new seats decrypt; an old one with a new one does not, though it is of the same key."""
    public, c = new.committee, new.committee.key.encrypt(5, 7)
    found = {s.index: partial(public, s.share, c) for s in (new, other)}
    assert combine(public, c, found).plaintext == 5
    with pytest.raises(VerificationError):
        combine(public, c, {new.index: found[new.index], old.index: partial(public, old.share, c)})


def agreed(venue: Apart, folder: Path) -> tuple[Path, Path]:
    """Another comes for member 3, at another address, and the others agree; committee.json and plan."""
    place = ("--host", "127.0.0.9", "--port", str(free_ports(1)[0]))
    darkpool("member", "init", venue.home(ERIN), *place)
    file, plan, began = (folder / name for name in (COMMITTEE, NEXT, FIRST))
    dealt = venue.folder.parent / "dealt" / COMMITTEE
    words = (dealt, "3", venue.home(ERIN) / INTRODUCTION)
    code = darkpool("operator", "committee", "replace", *words, "--out", file)["code"]
    assert committee(venue, "plan", plan, "--committee", file)["next"] == "propose, activate, change"
    assert "has no plan for another one" in refused(venue, "propose", plan)
    for home in (1, 2, 4):
        assert darkpool("member", "agree", venue.home(home), file, plan)["code"] == code
    committee(venue, "first", began)
    assert darkpool("member", "succeed", venue.home(ERIN), file, began)["member"] == 3
    venue.follow(ERIN)
    return file, plan


@pytest.mark.parametrize("behind", [DEFAULT_COMMITTEE_DELAY])  # so that what is proposed now is ready now
def test_a_member_whose_host_is_lost_is_replaced(venue: Apart, tmp_path: Path) -> None:
    ada, ben = desks(venue, tmp_path)
    bought = ada.json("order", "submit", "buy", "0.50", "2000.05")
    before = seats(venue, (1, 2, 3, 4))
    venue.end(3, signal.SIGKILL)
    venue.home(3).rename(tmp_path / "stolen")

    file, plan = agreed(venue, tmp_path)
    restart(venue, 1, 2, 4)
    adopted(venue, file)

    # With the successor away nothing changes, nor before the vault has it in office.
    is_so(lambda: "member 3: does not listen" in (venue.ready() or {})["committee"])
    assert "member 3" in refused(venue, "change", plan)
    assert seats(venue, (1, 2, 4)) == [before[0], before[1], before[3]]
    venue.serve(ERIN)
    links = {"coordinator", *(f"member {i}" for i in (1, 2, 4))}
    is_so(lambda: set(status(venue, ERIN)["links"].items()) == {(name, "connected") for name in links})
    is_so(lambda: "member 3 waits for its share" in (venue.ready() or {})["committee"])
    assert "has another one in office" in refused(venue, "change", plan)
    assert seats(venue, (1, 2, 4)) == [before[0], before[1], before[3]]
    assert not any(venue.home(ERIN).glob("seat*"))

    # First the vault, then the log.
    proposed = committee(venue, "propose", plan)
    chain = Chain.rpc(venue.chain_url, 0)
    rpc(venue.chain_url, "evm_increaseTime", proposed["ready_at"] - chain.now())
    rpc(venue.chain_url, "evm_mine")
    assert committee(venue, "activate")["epoch"] == 2
    done = committee(venue, "change", plan)
    assert (done["key_epoch"], done["released"]) == (1, 0)
    is_so(lambda: status(venue, ERIN).get("size", 0) > done["sequence"])
    venue.wait()
    after = seats(venue, (1, 2, ERIN, 4))
    assert [(seat.index, seat.committee.epoch) for seat in after] == [(i, 1) for i in (1, 2, 3, 4)]
    assert_apart(after[0], after[2], before[2])

    # Its order stands, and the next round is cleared with the successor: three are left, and three it takes.
    assert ada.until("order", "status", id=bought["id"])["state"] == "standing"
    venue.end(4, signal.SIGTERM)
    sold = ben.json("order", "submit", "sell", "0.30")
    ben.until("fills", id=sold["id"], state="settled")
    assert status(venue, ERIN)["players"] == [1, 2, 3]

    # Whoever found the old member's disk gets no link.
    (tmp_path / "stolen").rename(venue.home(3))
    venue.serve(3)
    is_so(lambda: len(status(venue, 3)["links"]) == 4)
    is_so(lambda: status(venue, 3)["links"]["member 1"] not in {"connected", "has not connected"})
    assert "connected" not in status(venue, 3)["links"].values()
    is_so(lambda: status(venue, 1)["strangers"] > 0)
    assert status(venue, 1)["links"]["member 3"] == "connected"


def test_shares_are_refreshed_and_then_the_key_rotates(venue: Apart, tmp_path: Path) -> None:
    ada, ben = desks(venue, tmp_path)
    ada.json("order", "submit", "buy", "0.50", "2000.05")
    old = seats(venue, (1, 2, 3, 4))
    assert committee(venue, "refresh")["key_epoch"] == 1
    is_so(lambda: [status(venue, i)["key_epoch"] for i in venue.indices] == [1] * 4)
    new = seats(venue, (1, 2, 3, 4))
    assert_apart(new[0], new[1], old[1])
    sold = ben.json("order", "submit", "sell", "0.30")
    ben.until("fills", id=sold["id"], state="settled")
    stands = ada.json("order", "submit", "buy", "0.10", "1999.00")

    # A key dealt for another epoch than comes next, and one that not all have joined.
    plan, files = tmp_path / NEXT, [venue.home(i) / INTRODUCTION for i in venue.indices]
    profile = ("--profile", "insecure-test")
    for epoch in ("1", "2"):
        committee(venue, "deal", *files, "--out", tmp_path / epoch, "--epoch", epoch, *profile)
    committee(venue, "plan", plan, "--committee", tmp_path / "2" / COMMITTEE)

    def join(index: int, epoch: str = "2") -> None:
        out = tmp_path / epoch
        darkpool("member", "join", venue.home(index), out / f"seat-{index}.sealed", out / COMMITTEE)

    with pytest.raises(ConfigError, match="of key epoch 1, the present is 1"):
        join(1, "1")
    for index in (1, 2, 3):
        join(index)
    assert "member 4" in refused(venue, "change", plan)
    join(4)
    done = committee(venue, "change", plan)
    assert (done["key_epoch"], done["released"]) == (2, 1)
    is_so(lambda: [status(venue, i)["key_epoch"] for i in venue.indices] == [2] * 4)
    after = seats(venue, (1, 2, 3, 4))
    assert after[0].committee == Directory.load(tmp_path / "2" / COMMITTEE).committee
    is_so(lambda: "expected" in (venue.ready() or {})["committee"])  # it still says the key before
    adopted(venue, tmp_path / "2" / COMMITTEE)
    venue.wait()

    # What stood is released with the reason; new orders go to the new key, and clear.
    assert ada.until("order", "status", id=stands["id"])["state"] == "released"
    findings = [row["finding"] for row in ada.json("receipt", "check", stands["id"])]
    assert any("because the committee has a new key" in finding for finding in findings)
    ada.json("order", "submit", "buy", "0.20", "2000.05")
    sold = ben.json("order", "submit", "sell", "0.20")
    ben.until("fills", id=sold["id"], state="settled")
    deployment = Deployment.load(venue.folder)
    assert deployment is not None
    assert deployment.key != after[0].committee.key
