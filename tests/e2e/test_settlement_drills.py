"""Settlements through kill -9, reorganisations, a node that goes away, and several who submit at once.

After each the settlement is there exactly once, or not at all; `Ground.settled` sees to the balances.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from darkpool.errors import ChainError
from darkpool.signed_settlement import SignedSettlement
from darkpool.submitter import GWEI
from darkpool.types import PrivateKey
from tests.anvil import running_anvil
from tests.vault_ground import OPERATOR, STRANGER, WINDOW, Ground, Sender, ground

DEATHS = (
    pytest.param("before-nonces", "nothing", marks=pytest.mark.slow),
    ("before-estimate", "nothing"),
    pytest.param("after-sign", "nothing", marks=pytest.mark.slow),
    ("before-post", "nothing"),
    pytest.param("after-post", "nothing", marks=pytest.mark.slow),
    ("after-post", "a block"),
    ("after-post", "a drop"),
)


@pytest.fixture(scope="module")
def shared() -> Iterator[Ground]:
    with ground() as made:
        yield made


@pytest.fixture
def held(shared: Ground) -> Iterator[Ground]:
    """Blocks are made by hand, and nothing waits."""
    shared.hold_blocks()
    yield shared
    shared.rpc("evm_setIntervalMining", 0)
    shared.drop()
    shared.mine()


def started(
    held: Ground, signed: SignedSettlement, folder: Path, key: PrivateKey = OPERATOR, step: str = ""
) -> subprocess.Popen[str]:
    """`darkpool settle submit` as a process, which kills itself at that step."""
    file, secret = folder / "it.settlement", folder / f"{key.hex()[:2]}.key"
    file.write_bytes(signed.encode())
    secret.write_text(key.hex())
    options = ("--rpc", held.url, "--key-file", str(secret), "--bump-seconds", "2", "--timeout", "60")
    return subprocess.Popen(
        [sys.executable, "-m", "tests.submit_process", step, str(file), *options, "--json"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> str:
    """Its output, or the signal that ended it."""
    output, errors = process.communicate(timeout=90)
    if process.returncode == -signal.SIGKILL:
        return "killed"
    assert process.returncode == 0, errors
    return output


@pytest.mark.parametrize("step, between", DEATHS)
def test_killed_at_each_step_and_started_again(held: Ground, tmp_path: Path, step: str, between: str) -> None:
    signed = held.trade()
    assert ended(started(held, signed, tmp_path, step=step)) == "killed"
    assert len(held.waiting()) == (step == "after-post")
    assert not held.settled(signed)
    if between == "a block":
        held.mine()
    if between == "a drop":
        held.drop()
    held.rpc("evm_setIntervalMining", 1)
    again = held.sender(patience=2)  # with no memory, as a process that begins now
    ends = time.monotonic() + 60
    while not again.step(signed).landed:
        assert time.monotonic() < ends
        time.sleep(0.2)
    assert held.settled(signed)


def test_operator_and_stranger_submit_at_once_and_so_does_the_operator_twice(
    held: Ground, tmp_path: Path
) -> None:
    signed = held.trade()
    held.rpc("evm_setIntervalMining", 1)
    processes = [started(held, signed, tmp_path, key) for key in (OPERATOR, STRANGER, OPERATOR)]
    for process in processes:
        ended(process)
    assert held.settled(signed)


@pytest.mark.parametrize("depth", [1, 2])
def test_reorganised_out_twice_it_lands_again(held: Ground, depth: int) -> None:
    sender, signed = held.sender(), held.trade()
    for _ in range(3):
        sender.step(signed)
        held.mine(depth)
        assert sender.step(signed).confirmations == depth
        assert held.settled(signed)
        held.rpc("anvil_reorg", depth, [])
        assert not held.settled(signed)
    assert not sender.step(signed).landed
    held.mine()
    assert sender.step(signed).landed
    assert held.settled(signed)


def test_two_reorganised_out_together_come_back_in_order(held: Ground) -> None:
    sender, first, second = held.sender(), held.trade(), held.trade(ahead=1)
    for signed in (first, second):
        sender.step(signed)
        held.mine()
    held.rpc("anvil_reorg", 2, [])
    assert not held.settled(first)
    for signed in (first, second):
        assert not sender.step(second).landed
        sender.step(signed)
        held.mine()
        assert held.settled(signed)


def test_reorganised_out_until_its_window_has_passed_it_never_lands(tmp_path: Path) -> None:
    with ground() as own:
        own.hold_blocks()
        sender, signed = own.sender(patience=0), own.trade()
        sender.step(signed)
        own.mine()
        own.rpc("anvil_reorg", 1, [])
        own.rpc("evm_setNextBlockTimestamp", signed.settlement.sealed_at + WINDOW + 1)
        own.mine()
        for _ in range(3):
            assert "window has closed" in sender.step(signed).trouble
            own.mine()
            assert not own.settled(signed)
        assert own.waiting() == []
        process = started(own, signed, tmp_path)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "expired" in errors
        following = own.trade()  # the id is given again
        sender.step(following)
        own.mine()
        assert own.settled(following)
        assert "another settlement" in sender.step(signed).trouble


def test_the_node_goes_away_and_comes_back_without_what_waited(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--state", str(tmp_path / "state.json"))
    with running_anvil(*options, port=port) as url:
        own = Ground(url)
        own.hold_blocks()
        sender, signed = own.sender(), own.trade()
        sender.step(signed)
    with pytest.raises(ChainError, match="no answer"):
        sender.step(signed)
    with running_anvil(*options, port=port):
        assert own.waiting() == []
        assert sender.step(signed).landed
        assert own.settled(signed)


RARE = ("drop", "dear", "reorg", "restart")
UNSETTLED = 6


class Storm:
    """An operator with settlements to submit, on a chain where anything may happen."""

    def __init__(self, own: Ground, rng: random.Random) -> None:
        self.own, self.rng = own, rng
        self.trades: list[SignedSettlement] = []
        self.operator, self.stranger = self._fresh(OPERATOR), self._fresh(STRANGER)

    def _fresh(self, key: PrivateKey) -> Sender:
        return self.own.sender(key, patience=self.rng.choice((0, 60)))

    def blow(self) -> str:
        """One random event; its name."""
        own, rng = self.own, self.rng
        name = rng.choice(("trade", "poll", "poll", "poll", "other", "block", "block", *RARE))
        match name:
            case "trade":
                if (ahead := len(self.trades) - own.moved()) < UNSETTLED:
                    self.trades.append(own.trade(ahead))
            case "poll":
                self.poll(self.operator)
            case "other":
                self.poll(self.stranger)
            case "block":
                own.mine()
            case "drop":
                own.drop()
            case "dear":
                own.rpc("anvil_setNextBlockBaseFeePerGas", hex(rng.randrange(1, 90) * GWEI))
                own.mine()
            case "reorg":
                own.rpc("anvil_reorg", rng.randrange(1, 4), [])
            case _:
                self.operator = self._fresh(OPERATOR)
        return name

    def poll(self, sender: Sender) -> None:
        """What a venue does each second: nothing is final before the end."""
        for signed in self.trades[max(self.own.moved() - 1, 0) :]:
            sender.step(signed)

    def calm(self) -> None:
        """No more trouble: everything lands."""
        for _ in range(3 * len(self.trades) + 30):
            self.poll(self.operator)
            self.own.rpc("anvil_setNextBlockBaseFeePerGas", hex(GWEI))
            self.own.mine()
            if self.own.moved() == len(self.trades):
                return
        raise AssertionError("it does not come to an end")


@pytest.mark.timeout(1800)
@pytest.mark.slow  # a short storm may hold no trade at all
@pytest.mark.parametrize("events", [250, 2_000])
def test_whatever_happens_each_lands_once_and_in_order(events: int) -> None:
    seed = int(os.environ.get("DARKPOOL_DRILL_SEED") or secrets.randbits(32))
    print(f"DARKPOOL_DRILL_SEED={seed}")  # noqa: T201 - shown if it fails
    with ground() as own:
        own.hold_blocks()
        own.mine(5)
        storm = Storm(own, random.Random(seed))
        for _ in range(events):
            print(storm.blow(), end=" ")  # noqa: T201 - as above
            own.moved()
        storm.calm()
        assert storm.trades
        assert all(own.settled(signed) for signed in storm.trades)
